"""How connections begin and end: once each, for one reason, and nothing of them stays."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from openline.app.handlers import Handlers
from openline.errors import BrokerError, CloseCode, CommandError
from openline.hub.connection import Connection, State
from openline.hub.outcome import Outcome
from openline.model import User
from openline.protocol.raw_codec import RawCodec
from openline.testing import FakeWire
from tests.rig import WINDOW_SECONDS, Rig, open_to_all, with_presence


def watched(**options: Any) -> tuple[Rig, list[str]]:
    """A rig that notes why connections end."""
    handlers, reasons = Handlers(), []
    handlers.add_disconnect(lambda connection, reason: reasons.append(reason), thread=False)
    return Rig(with_presence(), handlers=handlers, **options), reasons


def test_a_clean_end_is_closed() -> None:
    rig, reasons = watched()
    client = rig.join("a")
    client.lose(clean=True)
    assert reasons == ["closed"]
    assert rig.leftovers == {}


def test_a_lost_line_is_the_end_only_after_the_window() -> None:
    rig, reasons = watched()
    client = rig.join("a")
    client.lose()
    rig.pass_time(WINDOW_SECONDS - 1)
    assert reasons == []
    rig.pass_time(2)
    assert reasons == ["lost"]
    assert rig.leftovers == {}


def test_a_lost_line_without_a_connect_is_the_end_at_once() -> None:
    rig, reasons = watched()
    client = rig.line()
    client.call(type="$subscribe", channel="a")
    client.lose()
    assert reasons == ["lost"]
    assert rig.leftovers == {}


def test_who_comes_while_the_server_stops_is_told_that_it_restarts() -> None:
    rig, reasons = watched()
    rig.hub.lifecycle.close()
    client = rig.line()
    client.send(type="$connect")
    assert (client.wire.closed, client.heard()) == ((CloseCode.RESTART, "The server restarts."), [])
    assert (reasons, rig.leftovers) == ([], {})


@pytest.mark.parametrize("resumes", [False, True])
async def test_who_is_being_let_in_while_the_server_stops_is_told_that_it_restarts(resumes: bool) -> None:
    handlers, go = Handlers(), asyncio.Event()

    async def who(token: str | None, request: Any) -> str:
        await go.wait()
        return "ada"

    handlers.set_authenticate(who)
    rig = Rig(handlers=handlers)
    client = rig.line(token="t")
    if resumes:
        go.set()
        client.send(type="$connect")
        await rig.run(client.heard)
        go.clear()
        client.lose()
        client.open()
    client.send(type="$connect", resume=client.resume, since=client.position)
    await rig.run()
    rig.hub.lifecycle.close()
    go.set()
    await rig.run(lambda: client.wire.closed)
    assert (client.wire.closed, client.heard()) == ((CloseCode.RESTART, "The server restarts."), [])
    assert rig.leftovers == {}


def test_whom_the_application_ends_while_others_are_written_to_still_gets_what_was_queued() -> None:
    handlers, ended = Handlers(), list[Any]()
    rig = Rig(open_to_all(), handlers=handlers)
    slow = rig.line(outbox_bytes=100)
    slow.call(type="$subscribe", channel="a")
    other = rig.join("a")
    # The end of the one, in the middle of the flush, is the reason for the end of the other.
    handlers.add_disconnect(lambda connection: ended.append(other.connection.disconnect("no more")), thread=False)
    slow.wire.stall()
    rig.say("a", "x" * 200)
    rig.say("b", 1)
    rig.say("a", 2)
    assert other.payloads() == ["x" * 200, 2]
    assert other.wire.closed == (CloseCode.DISCONNECTED, "no more")
    assert len(ended) == 2
    assert rig.leftovers == {}


def test_the_application_ends_a_connection_once_with_its_words() -> None:
    rig, reasons = watched()
    client = rig.join("a")
    client.connection.disconnect("enough")
    client.connection.disconnect("again")
    assert client.wire.closed == (CloseCode.DISCONNECTED, "enough")
    assert reasons == ["disconnected"]
    assert rig.leftovers == {}


@pytest.mark.parametrize("code", [5, 0, 999, 1005, 1006, 1015, 2999, 5000])
def test_a_close_code_that_cannot_be_sent_is_the_programs_mistake_and_ends_nothing(code: int) -> None:
    rig, reasons = watched()
    client = rig.join("a")
    with pytest.raises(ValueError, match="close code"):
        client.connection.disconnect("enough", code)
    assert (client.wire.closed, reasons) == (None, [])
    client.connection.disconnect("enough", 4321)
    assert client.wire.closed == (4321, "enough")


def test_what_was_queued_goes_out_before_the_close() -> None:
    rig, _ = watched()
    client = rig.join("a")
    client.connection.emit("bye", 1)
    client.connection.disconnect()
    assert client.payloads() == [1]


def test_a_connection_that_is_away_can_be_ended() -> None:
    rig, reasons = watched()
    client = rig.join("a")
    connection = client.connection
    client.lose()
    connection.disconnect()
    assert reasons == ["disconnected"]
    client.open()
    assert client.call(type="$connect", resume=client.resume)["resumed"] is False


def test_a_shutdown_ends_everybody_also_those_who_are_away() -> None:
    rig, reasons = watched()
    here, away = rig.join("a"), rig.join("a")
    away.lose()
    rig.hub.lifecycle.close()
    assert here.wire.closed == (CloseCode.RESTART, "The server restarts.")
    assert reasons == ["shutdown", "shutdown"]
    assert rig.leftovers == {}


def test_a_connection_whose_last_words_are_too_much_for_its_line_ends_once() -> None:
    """The flush before its end was its end already."""
    rig, reasons = watched()
    client = rig.line(outbox_bytes=2000)
    client.call(type="$subscribe", channel="a")
    client.wire.stall()
    for number in range(50):
        rig.say("a", number)
    client.connection.disconnect()
    assert reasons == ["lost"]
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.SLOW
    assert rig.leftovers == {}


def refusing(error: Exception) -> tuple[Rig, list[str]]:
    handlers, reasons = Handlers(), []

    def refuse(connection: Connection) -> None:
        raise error

    handlers.add_connect(refuse, thread=False)
    handlers.add_disconnect(lambda connection, reason: reasons.append(reason), thread=False)
    return Rig(handlers=handlers), reasons


def test_a_connect_handler_may_refuse_and_its_client_learns_why() -> None:
    rig, reasons = refusing(CommandError("full", "Nobody may come in any more."))
    client = rig.line()
    client.send(type="$connect")
    error = client.heard()[-1]
    assert (error["type"], error["code"], error["message"]) == ("$error", "full", "Nobody may come in any more.")
    assert client.wire.closed == (CloseCode.FORBIDDEN, "Nobody may come in any more.")
    assert reasons == ["disconnected"]
    assert rig.leftovers == {}


@pytest.mark.parametrize("trouble", [lambda: CommandError("busy", retry=True), lambda: BrokerError("gone")])
def test_who_is_refused_for_the_moment_by_a_connect_handler_is_to_come_back(trouble: Callable[[], Exception]) -> None:
    rig, _ = refusing(trouble())
    client = rig.line()
    client.send(type="$connect")
    assert client.heard()[-1]["retry"] is True
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.TRY_LATER


@pytest.mark.parametrize("frame", [{"type": "said", "channel": "a"}, {"type": "$subscribe", "channel": "a"}])
def test_the_first_command_of_a_client_that_is_refused_is_not_carried_out(frame: dict[str, Any]) -> None:
    rig, _ = refusing(CommandError("full"))
    before = rig.memory.position
    client = rig.line()
    client.send(**frame)
    rig.clock.advance()
    assert client.wire.closed is not None
    assert rig.memory.position == before
    assert rig.leftovers == {}


def test_a_raw_client_that_is_refused_is_not_put_into_its_channel() -> None:
    rig, _ = refusing(CommandError("full"))
    wire = FakeWire(RawCodec(), hub=rig.hub)
    rig.hub.lifecycle.open(wire)
    rig.dispatch.enter(wire, "a")
    assert wire.closed is not None
    assert wire.closed[0] == CloseCode.FORBIDDEN
    assert rig.leftovers == {}


def test_a_connect_handler_that_fails_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    rig, _ = refusing(ValueError("secret"))
    client = rig.line()
    client.send(type="$connect")
    rig.clock.advance()
    assert client.wire.closed == (CloseCode.INTERNAL_ERROR, "The server failed to handle this.")
    assert len(caplog.records) == 1


async def test_who_leaves_while_its_token_is_looked_at_was_never_in() -> None:
    handlers, known, go = Handlers(), [], asyncio.Event()

    async def authenticate(token: Any, request: Any) -> User:
        await go.wait()
        return User("ada")

    handlers.set_authenticate(authenticate)
    handlers.add_connect(known.append, thread=False)
    handlers.add_disconnect(lambda connection, reason: known.append(reason), thread=False)
    rig = Rig(handlers=handlers)
    client = rig.line(token="t")
    client.send(type="$connect")
    client.wire.lose()
    go.set()
    await rig.run()
    assert known == []
    assert client.connection.stage is State.ENDED
    assert rig.leftovers == {}


def test_an_engine_that_fails_while_somebody_comes_in_lets_nobody_half_in(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, reasons = watched()
    monkeypatch.setattr(rig.memory, "subscribe", lambda channel: Outcome.failed(BrokerError("down")))
    client = rig.line()
    client.send(type="$connect")
    assert client.heard()[-1]["code"] == "unavailable"
    assert client.wire.closed is not None
    assert client.wire.closed[0] == CloseCode.TRY_LATER
    assert reasons == []
    assert rig.leftovers == {}


async def test_a_disconnect_handler_that_fails_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    handlers = Handlers()

    async def fail(connection: Connection, reason: str) -> None:
        raise ValueError("secret")

    handlers.add_disconnect(fail, thread=False)
    rig = Rig(handlers=handlers)
    rig.join("a").lose(clean=True)
    await rig.run()
    assert len(caplog.records) == 1
    assert "disconnect" in caplog.text
    assert rig.leftovers == {}


def test_a_user_is_reached_on_all_connections_and_forgotten_with_the_last() -> None:
    handlers = Handlers()
    handlers.set_authenticate(lambda token, request: User("ada"))
    rig = Rig(handlers=handlers)
    one, other = rig.join(token="t"), rig.join(token="t")
    rig.hub.publish_directly("$user:ada", "said", 1)
    assert one.payloads() == other.payloads() == [1]
    one.lose(clean=True)
    rig.hub.publish_directly("$user:ada", "said", 2)
    assert other.payloads() == [2]
    other.lose(clean=True)
    assert rig.leftovers == {}


def test_everybody_is_reached_but_those_who_are_excluded() -> None:
    rig = Rig(open_to_all())
    one, other = rig.join(), rig.join()
    rig.hub.publish_directly("$all", "said", 1, exclude=[one.connection.id])
    assert (one.payloads(), other.payloads()) == ([], [1])


def test_sending_to_somebody_who_is_gone_returns_a_verdict() -> None:
    rig = Rig()
    client = rig.join()
    connection = client.connection
    client.lose(clean=True)
    assert connection.emit("said", object()).result() is None
    assert connection.alive is False
    connection.disconnect()
    connection.unsubscribe("a")
    assert connection.subscribe("a").result() is None
    assert rig.leftovers == {}


def test_a_line_that_is_gone_keeps_nobody_until_all_that_is_queued_has_left() -> None:
    rig, reasons = watched()
    stays, goes = rig.join("a"), rig.join("a")
    rig.clock.advance()
    heard = len(stays.wire.written)
    rig.hub.publish("a", "said", b"1")
    goes.wire.lose(clean=True)
    assert reasons == ["closed"]
    assert len(stays.wire.written) == heard, "it leaves at the end of the turn, as always"
    rig.clock.advance()
    assert [b"said" in frame for frame in stays.wire.written[heard:]] == [True]
