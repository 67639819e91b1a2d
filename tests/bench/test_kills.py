"""``bench/kills.py``: its judge finds what is planted, and Openline's side loses and doubles nothing."""

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "bench"))
try:
    import kills
    from kills_judge import Counts, judge, judge_lines
finally:
    sys.path.remove(str(ROOT / "bench"))

Event = dict[str, Any]


def seen(*words: str) -> list[Event]:
    """``a join``, ``a 1`` (got), ``a cut``, ``a new``, ``a other``, ``a back``; ``p +1`` (acknowledged), ``p ?1``."""
    events: list[Event] = []

    def note(who: str, what: str, **more: Any) -> None:
        events.append({"at": float(len(events)), "who": who, "what": what, "room": "r", **more})

    for word in words:
        who, what = word.split()
        if what[0] in "+?":
            note(who, "said", number=int(what[1:]))
            note(who, "acknowledged" if what[0] == "+" else "unknown", number=int(what[1:]))
        elif what == "new":
            note(who, "connected", recovered=False)
            note(who, "joined")
        elif what == "other":
            note(who, "connected", recovered=False)
        elif what == "back":
            note(who, "connected", recovered=True)
            note(who, "kept")
        elif what.isdigit():
            note(who, "got", number=int(what), publisher="p")
        else:
            note(who, {"join": "joined"}.get(what, what))
    return events


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("a join, p +1, a 1, p +2, a 2", Counts(acknowledged=2, due=2)),
        # In the middle, at the end, from the beginning: nobody said that anything was missing.
        ("a join, p +1, p +2, p +3, a 1, a 3", Counts(acknowledged=3, due=3, lost_untold=1)),
        ("a join, p +1, p +2, p +3, a 1, a 2", Counts(acknowledged=3, due=3, lost_untold=1)),
        ("a join, p +1, p +2, a 2", Counts(acknowledged=2, due=2, lost_untold=1)),
        # It was told, at the right place and at a wrong one.
        ("a join, p +1, a 1, a cut, p +2, a new, p +3, a 3", Counts(acknowledged=3, due=3, lost_told=1)),
        ("a join, p +1, a 1, a cut, p +2, a other, p +3, a 3, a join", Counts(acknowledged=3, due=3, lost_told=1)),
        ("a join, p +1, p +2, p +3, a 1, a 3, a cut, a new", Counts(acknowledged=3, due=3, lost_untold=1)),
        ("a join, p +1, a cut, p +2, a back, a 1", Counts(acknowledged=2, due=2, lost_untold=1)),
        ("a join, p +1, a 1, a cut, p +2, a back, a 2", Counts(acknowledged=2, due=2)),
        ("a join, p +1, a 1, a cut, a new, a 1", Counts(acknowledged=1, due=1, doubled=1)),
        ("a join, p +1, p +2, a 2, a 1", Counts(acknowledged=2, due=2, reordered=1)),
        # What nobody acknowledged may be missing, and may not come twice.
        ("a join, p ?1, p +2, a 2", Counts(acknowledged=1, unknown=1, due=1)),
        ("a join, p ?1, p +2, a 1, a 1, a 2", Counts(acknowledged=1, unknown=1, due=1, doubled=1)),
        ("p +1, a join, p +2, a 2", Counts(acknowledged=2, due=1)),
    ],
)
def test_the_judge_finds_what_is_planted(words: str, found: Counts) -> None:
    assert judge(seen(*words.split(", ")), "p") == found


def test_who_came_back_as_what_and_when() -> None:
    words = ["a join", "b join", "a cut", "b cut", "b new", "a back", "a cut", "a cut", "a new"]
    found = judge_lines(seen(*words))
    assert (found.recovered, found.anew, found.away) == (1, 2, [2.0, 5.0, 3.0])


def test_a_script_depends_on_its_seed_alone_and_leaves_two_nodes_standing() -> None:
    assert kills.script(7, 20.0) == kills.script(7, 20.0) != kills.script(8, 20.0)
    for seed in range(50):
        down: set[str] = set()
        for deed in kills.script(seed, 20.0):
            (down.add if deed.kind == "kill" else down.discard)(deed.whom if deed.kind != "cut" else "")
            assert len(down) <= 1
        assert not down


@pytest.mark.redis
@pytest.mark.haproxy
async def test_openline_loses_and_doubles_nothing_while_nodes_are_killed() -> None:
    """The peers are installed by the benchmark; what belongs to the project is tried here."""
    trial = await kills.hold("openline", 3, 3.0, ROOT / "node_modules", quiet=1.0)
    assert trial.kills >= 1
    assert not kills.is_bad(trial), kills.table([trial])
    assert all(found.acknowledged > 10 and found.due > found.acknowledged for found in trial.publishers.values())
    assert trial.lines.recovered
    assert not trial.lines.anew
