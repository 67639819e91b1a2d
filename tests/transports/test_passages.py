"""What a node remembers of the requests that it has passed on: which answers got lost, of so many and for so long."""

import pytest

from openline.transports import passages as module
from openline.transports.passages import Passage, Passages
from tests.rig import Rig


def lost(passages: Passages, *some: Passage) -> list[bool]:
    return [passages._tell(passage.number).result() is False for passage in some]


def test_an_answer_is_lost_where_its_passage_ends_before_it_is_through() -> None:
    rig = Rig()
    passages = Passages(rig.hub)
    under_way, through, ended = (passages.begin() for _ in range(3))
    passages.through(through)
    for passage in (through, ended, ended):
        passages.end(passage)
    assert lost(passages, under_way, through, ended) == [True, False, True]
    rig.clock.advance(61)
    # Its client may wait for as long as it likes.
    later = passages.begin()
    passages.end(later)
    assert lost(passages, under_way, ended, later) == [True, False, True]


def test_however_many_are_lost_at_once_no_more_than_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_LOST", 3)
    passages = Passages(Rig().hub)
    waiting, *ended = (passages.begin() for _ in range(6))
    for passage in reversed(ended):
        passages.end(passage)
    assert lost(passages, waiting, *ended) == [True, True, True, True, False, False]
    assert len(passages._lost) == 3
