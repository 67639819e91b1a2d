"""A head that came in one piece is read as the server's own HTTP would read it, or left to that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.accelerator import native
from openline.errors import RequestRefused
from openline.protocol.handshake import read_upgrade
from openline.transports.admission import join_headers
from openline.transports.whole_head import WholeHead, read_asked, split_target
from tests.clients import upgrade_head


def test_an_upgrade_in_one_piece_is_read_and_what_follows_it_is_left() -> None:
    head = upgrade_head("/openline?x=1", "Origin: http://a.example", "X-Much: 1", "X-Much: 2")
    found = WholeHead.read(head + b"\x81\x80mask")
    assert found is not None
    assert (found.method, found.version, found.target, found.size) == ("GET", "1.1", b"/openline?x=1", len(head))
    assert found.headers[-3:] == [(b"origin", b"http://a.example"), (b"x-much", b"1"), (b"x-much", b"2")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /websocket HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX: websocket\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nX: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + upgrade_head(),
        b"\x16\x03\x01 websocket",
        upgrade_head().replace(b"Host", b"Ho st"),
    ],
)
def test_everything_else_is_left_to_the_servers_own_http(data: bytes) -> None:
    assert WholeHead.read(data) is None


@given(st.integers(0, len(upgrade_head()) - 1))
def test_a_head_that_is_not_whole_is_left_to_the_servers_own_http(size: int) -> None:
    assert WholeHead.read(upgrade_head()[:size]) is None


@pytest.mark.parametrize(
    ("target", "parts"),
    [(b"/", ("/", "")), (b"/raw/a%20b?echo=1&x", ("/raw/a%20b", "echo=1&x")), (b"http://h/p?q", ("/p", "q"))],
)
def test_a_target_is_a_path_and_a_query(target: bytes, parts: tuple[str, str]) -> None:
    assert split_target(target) == parts


def test_a_target_that_is_none_is_refused() -> None:
    with pytest.raises(RequestRefused, match="malformed"):
        split_target(b"http://")


def asked_in_python(data: bytes) -> object:
    """What the twin of the native part makes of ``data``."""
    head = WholeHead.read(data)
    if head is None:
        return None
    try:
        upgrade = read_upgrade(head.method, head.version, head.headers)
        path, query = split_target(head.target)
        return (path, query, join_headers(head.headers), upgrade, head.size)
    except RequestRefused as error:
        return error.status


LINES = st.sampled_from(
    [
        "Host: a.example:8000", "host:b", "Host: a b", "Upgrade: websocket", "UPGRADE:  WebSocket \t", "Upgrade: h2c",
        "Upgrade: h2c, websocket", "Connection: keep-alive, Upgrade", "Connection: close", "Connection: upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: short", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Version: 8", "Origin: http://a.example", "Origin: a b", "Sec-WebSocket-Protocol: openline.v1, x",
        "Sec-WebSocket-Protocol: a, a", "Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked",
        "Cookie: a=1", "Cookie: b=2", "X-Empty:", "X-Odd: \u00e9\t,", "X-Bad\x01: 1", "X-Bad: \x01", " folded",
        "Expect: 100-continue",
    ]
)  # fmt: skip
GOOD = ["Host: a", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
REQUESTS = st.sampled_from(
    ["GET /openline HTTP/1.1", "GET /raw/a%20b?echo=1?x HTTP/1.1", "POST / HTTP/1.1", "GET / HTTP/1.0",
     "GET //h/p HTTP/1.1",
     "GET http://h/p HTTP/1.1", "GET /a#b HTTP/1.1", "GET  / HTTP/1.1", "GET /a b HTTP/1.1"]
)  # fmt: skip


@pytest.mark.skipif(native is None, reason="there is no native part")
@given(REQUESTS, st.lists(LINES, max_size=4), st.permutations([*GOOD, KEY]), st.sampled_from([b"", b"\x81\x80mask"]))
def test_what_the_native_part_finds_good_is_what_its_twin_reads(
    request: str, more: list[str], good: list[str], behind: bytes
) -> None:
    for lines in (more + good, good + more, good[1:] + more):
        data = "\r\n".join([request, *lines, "", ""]).encode("latin-1") + behind
        found = native.read_head(data)
        if found is not None:
            target, headers, size = found
            path, _, query = target.partition("?")
            twin = asked_in_python(data)
            if not isinstance(twin, tuple):
                # Subprotocols are for Python to read, whoever has read the rest.
                assert "sec-websocket-protocol" in headers
                with pytest.raises(RequestRefused, match="different tokens"):
                    read_asked(data)
                continue
            assert (path, query, headers, size) == (twin[0], twin[1], twin[2], twin[4])
            asked = read_asked(data)
            assert asked is not None
            assert asked.upgrade == twin[3]


@pytest.mark.skipif(native is None, reason="there is no native part")
def test_a_plain_head_is_read_natively() -> None:
    data = "\r\n".join(["GET /openline?a=%20 HTTP/1.1", *GOOD, KEY, "X: 1", "", ""]).encode()
    target, headers, size = native.read_head(data + b"rest")
    assert (target, headers["x"], size) == ("/openline?a=%20", "1", len(data))
    for cut in range(len(data)):
        assert native.read_head(data[:cut]) is None
