"""What is said to a connection before it is in."""

import pytest

from tests.rig import Rig


def test_it_is_said_when_it_is_in_and_never_where_it_does_not_come_in() -> None:
    rig = Rig()
    connection = rig.line().connection
    connection.emit("early", 1)
    assert rig.hub.early._said
    rig.hub.lifecycle.end(connection, "disconnected")
    assert not rig.hub.early._said


def test_what_is_said_early_is_bounded_and_checked() -> None:
    rig = Rig()
    connection = rig.line().connection
    with pytest.raises(ValueError, match="1048576 bytes at most before it is in"):
        for _ in range(5):
            rig.hub.emit(connection, "much", "x" * 250_000)
    with pytest.raises(ValueError, match="type"):
        rig.hub.emit(connection, "$mine", 1)
    with pytest.raises(TypeError):
        rig.hub.emit(connection, "bad", object())
