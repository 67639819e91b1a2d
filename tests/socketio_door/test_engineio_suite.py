"""Every case of the published Engine.IO 4 suite, against a real server whose sessions echo what they are told.

What breaks the protocol is answered within 250 ms.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from openline import Openline, Settings, SocketIoSettings
from openline.protocol.engineio import text_frame
from openline.protocol.websocket import Opcode, encode_frame
from openline.transports.engineio import Session
from tests.server import Served
from tests.socketio_door.hands import PATIENT, SUITE, Polled, Spoken, polled, spoken
from tests.socketio_door.hosts import HOSTS

#: The suite has short times of its own.
pytestmark = pytest.mark.alone

AT_ONCE = 0.25


class Echo:
    """Says what it hears."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def opened(self) -> None: ...

    def text(self, data: bytes) -> None:
        self._session.write(text_frame(b"4" + data))

    def binary(self, data: bytes) -> None:
        self._session.write(encode_frame(Opcode.BINARY, data))

    def closes(self, code: int, reason: str) -> None: ...

    def ended(self, reason: str) -> None: ...


@asynccontextmanager
async def echoing(host: str, settings: SocketIoSettings) -> AsyncIterator[Served]:
    line = Openline(settings=Settings(socketio=settings))
    async with HOSTS[host](line) as served:
        line.doors.socketio.engine.make_peer = Echo
        yield served


@pytest.fixture(params=HOSTS)
async def served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with echoing(request.param, PATIENT) as served:
        yield served


@pytest.fixture(params=HOSTS)
async def strict(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    """One that takes the suite's times to the letter."""
    async with echoing(request.param, SUITE) as served:
        yield served


@asynccontextmanager
async def session(served: Served) -> AsyncIterator[Polled]:
    async with polled(served) as client:
        await client.open()
        yield client


@asynccontextmanager
async def socket(served: Served, query: str = "EIO=4&transport=websocket") -> AsyncIterator[Spoken]:
    async with spoken(served, query) as client:
        if "sid" not in query:
            assert str(await client.hear()).startswith("0")
        yield client


async def refused(served: Served, query: str) -> int:
    try:
        async with spoken(served, query):
            raise AssertionError("it was let in")
    except InvalidStatus as error:
        return error.response.status_code


def upgrade_of(client: Polled) -> str:
    return f"EIO=4&transport=websocket&sid={client.sid}"


# -- handshake


async def test_a_polled_session_is_opened(strict: Served) -> None:
    async with polled(strict) as client:
        told = await client.open()
        assert isinstance(told.pop("sid"), str)
        assert told == {"upgrades": ["websocket"], "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000}


@pytest.mark.parametrize("query", [{"EIO": ""}, {"EIO": "abc"}, {"transport": ""}, {"transport": "abc"}])
async def test_a_handshake_that_names_no_version_or_transport_of_ours_is_refused(
    served: Served, query: dict[str, str]
) -> None:
    async with polled(served, **query) as client:
        answer = await client.get()
        assert answer.status_code == 400
        assert answer.json()["code"] == (5 if "EIO" in query else 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_handshake_is_a_get(served: Served, method: str) -> None:
    async with polled(served) as client:
        answer = await client.http.request(method, client.url, params=client.query)
        assert (answer.status_code, answer.json()) == (400, {"code": 2, "message": "Bad handshake method"})


async def test_a_session_is_opened_over_websocket(strict: Served) -> None:
    async with spoken(strict) as client:
        handshake = str(await client.hear())
        told = httpx.Response(200, text=handshake[1:]).json()
        assert isinstance(told.pop("sid"), str)
        assert told == {"upgrades": [], "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000}


@pytest.mark.parametrize(
    "query",
    ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc", "EIO=4&transport=polling"],
)
async def test_a_websocket_that_names_no_version_or_transport_of_ours_is_refused(served: Served, query: str) -> None:
    assert await refused(served, query) == 400


# -- messages


@pytest.mark.parametrize("body", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA=="])
async def test_a_payload_comes_back(served: Served, body: str) -> None:
    async with session(served) as client:
        await client.say(*body.split("\x1e"))
        assert (await client.get()).text == body


async def test_a_malformed_payload_closes_the_session_at_once(served: Served) -> None:
    async with session(served) as client:
        begun = time.monotonic()
        assert (await client.post("abc")).status_code == 400
        answer = await client.get()
        assert time.monotonic() - begun < AT_ONCE
        assert (answer.status_code, answer.json()) == (400, {"code": 1, "message": "Session ID unknown"})


async def test_two_polls_at_once_close_the_session(served: Served) -> None:
    async with session(served) as client:
        first = asyncio.ensure_future(client.get())  # noqa: TID251  a test's own
        await asyncio.sleep(0.02)
        second = await client.get()
        assert second.status_code == 400
        assert ((await first).status_code, (await first).text) == (200, "1")
        assert (await client.get()).status_code == 400


async def test_a_poll_that_the_client_aborts_closes_the_session(served: Served) -> None:
    async with session(served) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get(timeout=0.05)
        assert (await client.get()).status_code == 400


async def test_text_and_bytes_come_back_over_websocket(served: Served) -> None:
    async with socket(served) as client:
        for message in ("4hello", b"\x01\x02\x03\x04", "4", "4é\u2028"):
            await client.say(message)
            assert await client.hear() == message


@pytest.mark.parametrize("message", ["abc", "", "2", "2probe", "5", "0", "7"])
async def test_a_malformed_packet_closes_the_websocket_at_once(served: Served, message: str) -> None:
    async with socket(served) as client:
        await client.say(message)
        assert await client.ended(AT_ONCE) == 1002


# -- heartbeat


async def test_a_polled_client_is_pinged_again_and_again(served: Served) -> None:
    async with session(served) as client:
        for _ in range(3):
            assert (await client.get()).text == "2"
            await client.say("3")


async def test_a_polled_client_that_does_not_answer_is_gone_after_interval_and_timeout(strict: Served) -> None:
    async with session(strict) as client:
        await asyncio.sleep(0.5)
        assert (await client.get()).status_code == 400


async def test_a_client_over_websocket_is_pinged_again_and_again(served: Served) -> None:
    async with socket(served) as client:
        for _ in range(3):
            assert await client.hear() == "2"
            await client.say("3")


async def test_a_client_over_websocket_that_does_not_answer_is_closed(strict: Served) -> None:
    async with socket(strict) as client:
        begun = time.monotonic()
        assert await client.ended(2.0) is not None
        assert 0.4 < time.monotonic() - begun < 1.0


# -- close


async def test_a_goodbye_ends_the_poll_that_waits_with_a_noop(served: Served) -> None:
    async with session(served) as client:
        poll = asyncio.ensure_future(client.get())  # noqa: TID251  a test's own
        await asyncio.sleep(0.02)
        await client.say("1")
        assert ((await poll).status_code, (await poll).text) == (200, "6")
        assert (await client.get()).status_code == 400
        assert (await client.post("4x")).json()["code"] == 1


async def test_a_goodbye_ends_the_websocket(served: Served) -> None:
    async with socket(served) as client:
        await client.say("1")
        assert await client.ended(AT_ONCE) == 1000


# -- upgrade


async def test_a_polled_session_goes_on_over_websocket(served: Served) -> None:
    async with session(served) as client, spoken(served, upgrade_of(client)) as line:
        await line.say("2probe")
        assert await line.hear() == "3probe"
        answer = await client.get()
        assert (answer.status_code, answer.text) == (200, "6")
        await line.say("5", "4hello")
        assert await line.past_pings() == "4hello"


async def test_the_poll_that_waits_is_let_go_by_the_probe(served: Served) -> None:
    async with session(served) as client, spoken(served, upgrade_of(client)) as line:
        poll = asyncio.ensure_future(client.get())  # noqa: TID251  a test's own
        await asyncio.sleep(0.02)
        await line.say("2probe")
        assert await line.hear() == "3probe"
        assert (await poll).text == "6"


async def test_requests_with_the_id_of_an_upgraded_session_are_refused_and_cost_it_nothing(served: Served) -> None:
    async with session(served) as client, spoken(served, upgrade_of(client)) as line:
        await line.say("2probe")
        await line.hear()
        await line.say("5", "4upgraded")
        assert await line.past_pings() == "4upgraded"
        for answer in (await client.get(), await client.post("4x")):
            assert (answer.status_code, answer.json()) == (400, {"code": 3, "message": "Bad request"})
        await line.say("4hello")
        assert await line.past_pings() == "4hello"


async def test_a_second_websocket_for_an_upgraded_session_is_accepted_and_closed(served: Served) -> None:
    async with session(served) as client, spoken(served, upgrade_of(client)) as line:
        await line.say("2probe")
        await line.hear()
        await line.say("5")
        await line.say("4upgraded")
        assert await line.past_pings() == "4upgraded"
        async with spoken(served, upgrade_of(client)) as second:
            assert await second.ended(AT_ONCE) is not None
        await line.say("4hello")
        assert await line.past_pings() == "4hello"


async def test_a_websocket_for_a_session_that_nobody_knows_is_refused(served: Served) -> None:
    assert await refused(served, "EIO=4&transport=websocket&sid=abc") == 400


async def test_only_the_websocket_that_probed_takes_the_session(served: Served) -> None:
    async with (
        session(served) as client,
        spoken(served, upgrade_of(client)) as one,
        spoken(served, upgrade_of(client)) as two,
    ):
        await one.say("2probe")
        assert await one.hear() == "3probe"
        await two.say("5")
        assert await two.ended() == 1002
        async with spoken(served, upgrade_of(client)) as third:
            assert await third.ended() == 1008
        # The others that came and went have left the probe alone.
        await one.say("5", "4still here")
        assert await one.past_pings() == "4still here"


async def test_of_two_websockets_the_first_that_probes_carries_on(served: Served) -> None:
    async with (
        session(served) as client,
        spoken(served, upgrade_of(client)) as one,
        spoken(served, upgrade_of(client)) as two,
    ):
        await two.say("2probe")
        assert await two.hear() == "3probe"
        await one.say("2probe")
        assert await one.ended() == 1008
        await two.say("5", "4still here")
        assert await two.past_pings() == "4still here"


async def test_the_probe_of_a_websocket_that_went_is_no_probe_of_another(served: Served) -> None:
    async with session(served) as client, spoken(served, upgrade_of(client)) as other:
        async with spoken(served, upgrade_of(client)) as one:
            await one.say("2probe")
            assert await one.hear() == "3probe"
        await other.say("2probe")
        assert await other.hear() == "3probe"
        await other.say("5", "4still here")
        assert await other.past_pings() == "4still here"


async def test_a_probe_that_goes_wrong_leaves_the_session_polled(served: Served) -> None:
    async with session(served) as client:
        async with spoken(served, upgrade_of(client)) as line:
            await line.say("4hello")
            assert await line.ended(AT_ONCE) == 1002
        async with spoken(served, upgrade_of(client)) as line:
            await line.say("2probe")
            await line.hear()
        with suppress(ConnectionClosed):
            await client.say("4still here")
        while (answer := (await client.get()).text) in ("6", "2"):
            await client.say("3")
        assert answer == "4still here"


async def test_what_is_said_during_an_upgrade_comes_once_and_in_order(served: Served) -> None:
    async with session(served) as client, spoken(served, upgrade_of(client)) as line:
        await client.say(*(f"4{n}" for n in range(40)))
        await line.say("2probe")
        assert await line.hear() == "3probe"
        came = (await client.get()).text.split("\x1e")
        assert len(came) == 16
        await line.say("5", "4end")
        while came[-1] != "4end":
            came.append(str(await line.past_pings()))
        assert came == [*(f"4{n}" for n in range(40)), "4end"]
