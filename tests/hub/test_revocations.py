"""What was revoked of a user is known to whoever asked before, and told to whoever watches."""

from hypothesis import given
from hypothesis import strategies as st

from openline import User
from openline.hub import revocations
from openline.hub.revocations import Revocations

ADA, BOB = User("ada"), User("bob")
USERS = st.sampled_from(["ada", "bob"])
CHANNELS = st.sampled_from(["", "a", "b"])


@given(before=st.lists(st.tuples(USERS, CHANNELS)), behind=st.lists(st.tuples(USERS, CHANNELS)), asked=CHANNELS)
def test_what_came_behind_a_mark_counts_and_nothing_else(
    before: list[tuple[str, str]], behind: list[tuple[str, str]], asked: str
) -> None:
    kept = Revocations()
    for user, channel in before:
        kept.revoke(user, channel)
    mark = kept.number
    for user, channel in behind:
        kept.revoke(user, channel)
    assert kept.came(ADA, mark, asked) == (("ada", "") in behind or ("ada", asked) in behind)
    assert kept.came(None, mark, asked) is False


def test_of_what_is_forgotten_it_may_have_come() -> None:
    kept = Revocations()
    kept.revoke("ada")
    mark = kept.number
    for n in range(revocations._MOST):
        kept.revoke(f"user-{n}")
    assert kept.came(ADA, 0)
    assert not kept.came(ADA, mark)
    kept.revoke("one more")
    assert kept.came(ADA, mark)
    assert not kept.came(ADA, kept.number - 1)
    assert len(kept._last) == revocations._MOST


def test_who_watches_is_told_until_it_ends_also_when_it_ends_while_it_is_told() -> None:
    kept = Revocations()
    told: list[object] = []
    ends = [kept.watch(ADA, lambda channel: told.append(channel)) for _ in range(2)]
    own = kept.watch(ADA, lambda channel: own())
    bob = kept.watch(BOB, lambda channel: told.append("bob"))
    kept.revoke("ada", "a")
    assert told == ["a", "a"]
    ends.pop()()
    kept.revoke("ada")
    assert told == ["a", "a", ""]
    for end in (*ends, *ends, own, bob):
        end()
    kept.revoke("ada")
    kept.revoke("bob")
    assert told == ["a", "a", ""]
    assert kept._watching == {}
    kept.watch(None, told.append)()
    assert kept._watching == {}
