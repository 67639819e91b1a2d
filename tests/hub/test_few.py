"""A small mapping does what a dict does, whatever is done to it."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.hub.few import Few

KEYS = st.integers(0, 12)
STEPS = st.lists(st.tuples(KEYS, st.none() | st.integers()), max_size=60)


@given(STEPS)
def test_a_small_mapping_does_what_a_dict_does(steps: list[tuple[int, int | None]]) -> None:
    few: Few[int, int] = Few()
    known: dict[int, int] = {}
    for key, value in steps:
        if value is None:
            assert few.pop(key, None) == known.pop(key, None)
        else:
            few[key] = known[key] = value
        assert list(few.items()) == list(known.items())
        assert len(few) == len(known)
        assert (key in few, few.get(key)) == (key in known, known.get(key))


@pytest.mark.parametrize("size", [0, 3, 20])
def test_what_is_not_there_is_a_key_error(size: int) -> None:
    few: Few[int, int] = Few()
    few.update(zip(range(size), range(size), strict=True))
    with pytest.raises(KeyError):
        few[99]
    with pytest.raises(KeyError):
        del few[99]


def test_two_entries_take_less_than_they_take_in_a_dict() -> None:
    few: Few[str, int] = Few()
    few.update(a=1, b=2)
    assert sys.getsizeof(few) + sys.getsizeof(few._entries) < sys.getsizeof(dict(few))
