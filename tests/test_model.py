"""Values: positions that go out and come back, and users that are fit to be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.errors import CommandError
from openline.model import Position, Publication, User

EPOCHS = st.from_regex(r"\A[A-Za-z0-9_-]{1,32}\Z")


@given(EPOCHS, st.integers(0, 2**53 - 1))
def test_a_position_comes_back_from_its_text(epoch: str, stamp: int) -> None:
    assert Position.parse(str(Position(epoch, stamp))) == Position(epoch, stamp)


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z_-]{0,33}\.?[0-9]{0,18}", fullmatch=True))
def test_a_text_is_a_position_only_where_it_is_the_text_of_one(text: str) -> None:
    try:
        position = Position.parse(text)
    except CommandError as error:
        code = error.code
        assert code == "bad_position"
    else:
        assert str(position) == text
        assert 1 <= len(position.epoch) <= 32
        assert 0 <= position.stamp < 2**53


@pytest.mark.parametrize(
    "text",
    ["", ".", "e", "e.", ".1", "e.-1", "e.01", "e.1\n", "e.1.2", "e.9007199254740992", "e.１", "é.1", "e" * 33 + ".1"],
)
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(CommandError):
        Position.parse(text)


def test_a_volatile_publication_has_no_position() -> None:
    assert Publication("a", "b", b"1").position is None
    assert Publication("a", "b", b"1", epoch="e", stamp=3).position == Position("e", 3)


def test_a_publication_costs_at_least_what_it_carries() -> None:
    assert Publication("chan", "type", b"12345", sender=b"{}").size >= 4 + 4 + 5 + 2


@pytest.mark.parametrize("id", ["ada", "a" * 128, "Ädä 1", "😀"])
def test_a_user_s_id_is_printable(id: str) -> None:
    assert User(id).id == id


@pytest.mark.parametrize("id", ["", "a" * 129, "a\n", "a\x00", "\u202eada", "\ud800", "a\u2028"])
def test_a_user_s_id_that_cannot_be_shown_is_refused(id: str) -> None:
    with pytest.raises(CommandError) as refusal:
        User(id)
    assert refusal.value.code == "unauthorized"
