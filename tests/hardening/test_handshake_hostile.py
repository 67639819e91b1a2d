"""Upgrade requests made to hurt: 10⁵ mutated heads, and values whose check must take linear time.

A failing head names its seed; ``OPENLINE_SEED`` runs that seed again.
"""

import random
import tracemalloc

import pytest
from tests.effort import seed, times

from openline.errors import RequestRefused
from openline.protocol.handshake import read_upgrade, refusal, switching_protocols

SEED = seed()
GOOD = [
    (b"host", b"localhost:8000"),
    (b"upgrade", b"websocket"),
    (b"connection", b"keep-alive, Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-protocol", b"openline.v1, openline.token.abc"),
    (b"origin", b"http://localhost:8000"),
]
PIECES = [b",", b", ", b"\r\n", b"\x00", b"\xff", b"=", b" ", b"\t", b"upgrade", b"websocket", b"13", b"a" * 300, b""]
ADDED = [b"content-length", b"transfer-encoding", b"host", b"connection", b"x-other"]


def mutate(rng: random.Random) -> list[tuple[bytes, bytes]]:
    headers = list(GOOD)
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(headers) + 1)
        match rng.randrange(5):
            case 0:
                headers[place:place] = rng.choices(GOOD)
            case 1:
                del headers[place : place + 1]
            case 2:
                headers.append((rng.choice(ADDED), rng.choice(PIECES)))
            case _ if place < len(headers):
                name, value = headers[place]
                cut = rng.randrange(len(value) + 1)
                end = rng.randrange(cut, len(value) + 1)
                headers[place] = (name, value[:cut] + rng.choice([*PIECES, rng.randbytes(3)]) + value[end:])
    return headers


def test_no_mutated_head_raises_anything_but_a_refusal() -> None:
    rng = random.Random(SEED)
    taken = 0
    for number in range(times(100_000)):
        headers = mutate(rng)
        try:
            upgrade = read_upgrade("GET", "1.1", headers)
            taken += 1
            # What was taken can be answered, and the answer is what it was meant to be.
            chosen = upgrade.subprotocols[0] if upgrade.subprotocols else None
            assert switching_protocols(upgrade.key, chosen).count(b"\r\n") == (5 if chosen is None else 6)
        except RequestRefused as error:
            head = refusal(error).partition(b"\r\n\r\n")[0]
            assert head.startswith((b"HTTP/1.1 400 Bad Request\r\n", b"HTTP/1.1 426 Upgrade Required\r\n"))
        except Exception as error:
            raise AssertionError(f"seed {SEED}, head {number}: {headers}") from error
    assert 0 < taken < 100_000


def verdict(headers: list[tuple[bytes, bytes]]) -> str:
    try:
        read_upgrade("GET", "1.1", headers)
    except RequestRefused as error:
        return error.reason
    return ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"sec-websocket-protocol", b" " * 1_000_000 + b"\x00"),
        (b"sec-websocket-protocol", b"a" * 1_000_000 + b"("),
        (b"sec-websocket-protocol", b"a, " * 300_000),
        (b"sec-websocket-protocol", b"," * 1_000_000),
        (b"connection", b"upgrade," + b"\t \t " * 250_000 + b"x"),
        (b"upgrade", b" ,\t" * 300_000),
        (b"sec-websocket-key", b"=" * 1_000_000),
        (b"host", b"[" * 1_000_000 + b"@"),
        (b"origin", b"a" * 1_000_000 + b" b"),
    ],
)
def test_a_value_of_a_megabyte_is_decided_in_memory_that_is_a_small_multiple(name: bytes, value: bytes) -> None:
    headers = [*(field for field in GOOD if field[0] != name), (name, value)]
    tracemalloc.start()
    try:
        reason = verdict(headers)
        assert tracemalloc.get_traced_memory()[1] < 100 * len(value)
    finally:
        tracemalloc.stop()
    assert (reason == "") is (name == b"connection")
    assert len(reason) < 200
