"""Who is in a channel: exact counts, and pages that hold still while people come and go."""

import json

from hypothesis import given
from hypothesis import strategies as st

from openline.hub.presence import Members


def page(members: Members, limit: int, after: int = 0) -> dict:
    return json.loads(members.as_json(limit, after))


@given(st.integers(0, 60), st.integers(1, 9), st.lists(st.integers(0, 80), max_size=20))
def test_pages_show_everybody_who_stays_once_in_order_of_arrival(size: int, limit: int, churn: list[int]) -> None:
    members = Members()
    for number in range(size):
        members.add(f"c{number}", b'"c%d"' % number)
    gone: set[str] = set()
    seen: list[str] = []
    after: int | None = 0
    moves = iter(churn)
    while after is not None:
        got = page(members, limit, after)
        assert got["count"] == len(members)
        assert len(got["members"]) <= limit
        seen += got["members"]
        after = got.get("next")
        leaver = f"c{next(moves, -1)}"
        if members.remove(leaver) is not None:
            gone.add(leaver)
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen, key=lambda name: int(name[1:]))
    assert {f"c{number}" for number in range(size)} - gone <= set(seen)


def test_who_is_in_already_is_not_counted_again_and_who_left_can_come_back() -> None:
    members = Members()
    assert members.add("a", b"1")
    assert not members.add("a", b"2")
    assert page(members, 10) == {"count": 1, "members": [1]}
    assert members.remove("a") == b"1"
    assert members.remove("a") is None
    assert members.add("a", b"2")
    assert page(members, 10) == {"count": 1, "members": [2]}


def test_a_limit_of_nobody_still_counts() -> None:
    members = Members()
    members.add("a", b"1")
    assert page(members, 0) == {"count": 1, "members": []}
