"""Between being let in and being told so: nothing is said to the client, and nothing is lost."""

from typing import Any

import pytest

from openline.hub.welcome import Welcome
from tests.rig import Client, Rig


class Newcomer(Client):
    """A client that is in, and has not been told."""

    def __init__(self, rig: Rig) -> None:
        super().__init__(rig)
        self.told = 0
        self.welcome = Welcome(rig.hub, self.connection, self._tell)
        self.connect()

    def _tell(self) -> None:
        self.told += 1
        self.rig.hub.tick.to_wire(self.wire, b'{"type":"in"}')

    def types(self) -> list[Any]:
        return [frame["payload"] if frame["type"] == "said" else frame["type"] for frame in self.pushes()]


async def test_what_is_said_meanwhile_comes_behind_the_word_and_then_what_is_live() -> None:
    rig = Rig()
    client = Newcomer(rig)
    await rig.hub.put_into(client.connection, "a")
    rig.hub.emit(client.connection, "said", 1)
    rig.say("a", 2)
    rig.hub.publish_directly("$all", "said", 3)
    assert client.types() == ["$subscribed"]
    client.welcome.accept()
    rig.say("a", 4)
    client.welcome.accept()
    assert client.types() == ["in", 1, 2, 3, 4]
    assert client.told == 1


async def test_what_excludes_it_and_what_it_has_left_is_not_told() -> None:
    rig = Rig()
    client = Newcomer(rig)
    for channel in ("a", "b"):
        await rig.hub.put_into(client.connection, channel)
    rig.say("a", 1, exclude=[client.connection.id])
    rig.say("b", 2)
    rig.hub.take_out(client.connection, "b")
    rig.say("a", 3)
    client.pushes()
    client.welcome.accept()
    assert client.types() == ["in", 3]


async def test_a_question_lets_it_in_at_once_because_the_answer_would_never_come() -> None:
    rig = Rig()
    client = Newcomer(rig)
    rig.hub.emit(client.connection, "said", 1)
    answer = rig.hub.question(client.connection, "question", 2, 5.0)
    assert client.types() == ["in", 1, "question"]
    rig.pass_time(6.0)
    with pytest.raises(TimeoutError):
        answer.result()


async def test_too_much_ends_the_line_instead_of_filling_the_memory() -> None:
    rig = Rig()
    client = Newcomer(rig)
    await rig.hub.put_into(client.connection, "a")
    for _ in range(20):
        rig.say("a", "x" * 100_000)
    client.welcome.accept()
    assert client.wire.closed is not None
    assert (client.wire.closed[0], client.told) == (4500, 0)


async def test_a_line_that_is_lost_meanwhile_is_told_nothing() -> None:
    rig = Rig()
    client = Newcomer(rig)
    client.wire.lose()
    client.welcome.accept()
    assert client.told == 0
    assert client.connection.stage.value == "detached"
