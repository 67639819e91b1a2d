"""Whatever is published, an event stream carries it as one event, and no name or payload forges a field."""

import json
import re
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openline.errors import CommandError
from openline.model import Position, Publication
from openline.protocol.channel_name import check_event
from openline.protocol.commands import Word
from openline.protocol.sse import COMMENT, SseCodec, data_event, farewell, retry, standing

PLAIN, NAMED = SseCodec(), SseCodec(named=True)


class Event(NamedTuple):
    type: str
    data: str
    id: str


class Reader:
    """The interpretation of a stream, step by step as the standard says (section 9.2.6)."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.last_id = ""
        self.reconnection_time: int | None = None

    def read(self, stream: bytes) -> list[Event]:
        type, data = "", ""
        for line in re.split("\r\n|\r|\n", stream.decode()):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not line:
                if data:
                    self.events.append(Event(type or "message", data.removesuffix("\n"), self.last_id))
                type, data = "", ""
            elif name == "event":
                type = value
            elif name == "data":
                data += value + "\n"
            elif name == "id" and "\0" not in value:
                self.last_id = value
            elif name == "retry" and re.fullmatch("[0-9]+", value):
                self.reconnection_time = int(value)
        return self.events


def publication(type: str = "said", payload: bytes = b"1", **fields: Any) -> Publication:
    return Publication("chat:1", type, payload, **fields)


@pytest.mark.parametrize("codec", [PLAIN, NAMED])
def test_a_publication_is_one_event_whose_data_is_the_push_and_whose_id_is_its_position(codec: SseCodec) -> None:
    sender = b'{"connection":"c"}'
    [event] = Reader().read(codec.publication(publication(epoch="e", stamp=7, sender=sender)))
    assert event.type == ("message" if codec is PLAIN else "said")
    assert event.id == "e.7"
    assert json.loads(event.data) == {
        "type": "said",
        "channel": "chat:1",
        "payload": 1,
        "position": "e.7",
        "from": {"connection": "c"},
    }


def test_the_id_stands_before_the_data() -> None:
    frame = NAMED.publication(publication(epoch="e", stamp=7))
    assert frame.startswith(b"event: said\nid: e.7\ndata: {")
    assert frame.endswith(b"}\n\n")
    assert frame.count(b"\n") == 4


def test_a_volatile_publication_leaves_the_client_where_it_stands() -> None:
    reader = Reader()
    events = reader.read(standing(Position("e", 3)) + PLAIN.publication(publication()))
    assert [event.id for event in events] == ["e.3"]


@pytest.mark.parametrize("type", ["error", "open"])
def test_no_event_passes_for_one_of_the_browsers_own(type: str) -> None:
    [event] = Reader().read(NAMED.publication(publication(type)))
    assert event.type == "message"
    assert json.loads(event.data)["type"] == type


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    type=st.text(min_size=1, max_size=20),
    value=json_values,
    indent=st.sampled_from([None, 2]),
    newline=st.sampled_from(["\n", "\r", "\r\n"]),
    ascii=st.booleans(),
    stamp=st.integers(0, 9),
)
@example("said", {"a": "x\r\ndata: forged\n\n"}, 2, "\r", True, 1)
@example("id: 7", ["event: x"], 2, "\r\n", False, 0)
@example("said", "\u2028\u0085\0", None, "\n", False, 1)
def test_whatever_is_published_comes_out_as_it_went_in(
    type: str, value: Any, indent: int | None, newline: str, ascii: bool, stamp: int
) -> None:
    try:
        check_event(type)
    except CommandError:
        type = "said"
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=ascii).replace("\n", newline).encode()
    except UnicodeEncodeError:
        return
    said = publication(type, text, epoch="e", stamp=stamp)
    for codec in (PLAIN, NAMED):
        [event] = Reader().read(codec.publication(said))
        assert json.loads(event.data)["payload"] == value
        assert json.loads(event.data)["type"] == type
        assert event.id == (f"e.{stamp}" if stamp else "")
        assert event.type == (type if codec is NAMED and type not in ("error", "open") else "message")


@pytest.mark.parametrize("type", ["a\nb", "a\rb", "a\0b", "a\x85b", "\ud800"])
def test_a_name_that_could_forge_a_field_is_no_name(type: str) -> None:
    with pytest.raises(CommandError):
        check_event(type)


def test_a_gap_with_a_position_is_passed_with_it_so_that_it_is_told_once() -> None:
    reader = Reader()
    reader.read(PLAIN.notice(Word.GAP, "chat:1", b'{"position":"e.9"}'))
    assert reader.last_id == "e.9"
    assert json.loads(reader.events[0].data) == {"type": "$gap", "channel": "chat:1", "payload": {"position": "e.9"}}


def test_a_gap_of_a_slow_client_and_other_notices_leave_the_client_where_it_stands() -> None:
    reader = Reader()
    reader.read(PLAIN.notice(Word.GAP, "chat:1", b'{"lost":3}') + NAMED.notice(Word.SUBSCRIBED, None, b"{}"))
    assert reader.last_id == ""
    assert [event.type for event in reader.events] == ["message", "$subscribed"]


def test_what_is_no_event_fires_none() -> None:
    reader = Reader()
    assert reader.read(COMMENT + retry(1.5) + standing(Position("e", 3)) + COMMENT) == []
    assert (reader.reconnection_time, reader.last_id) == (1500, "e.3")


def test_a_farewell_says_why_and_cannot_forge_a_field() -> None:
    [event] = Reader().read(farewell(4410, "go\n\ndata: away"))
    assert json.loads(event.data) == {"type": "$closed", "payload": {"code": 4410, "reason": "go\n\ndata: away"}}
    [named] = Reader().read(farewell(4410, "go\n\ndata: away", named=True))
    assert (event.type, named.type, named.data) == ("message", "$closed", event.data)


def test_a_line_break_between_tokens_is_a_blank() -> None:
    assert data_event(b'{"a":\r\n\n1}') == b'data: {"a": 1}\n\n'


def test_a_listener_is_told_no_answers() -> None:
    assert PLAIN.reply(1, b"{}") == PLAIN.pong(None) == PLAIN.error(1, CommandError("x")) == b""
