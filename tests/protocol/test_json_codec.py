"""The JSON protocol's codec: whatever comes in becomes commands or a refusal, and what goes out is always JSON."""

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.effort import seed, times
from tests.protocol.values import MAX, TEXTS, VALUES

from openline.errors import CommandError, ErrorCode
from openline.model import Publication
from openline.protocol.json_codec import JsonCodec, decode_command, push_json, read_id, split_batch
from openline.protocol.strict_json import encode_json
from openline.protocol.websocket import Opcode, encode_frame

TYPES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=128)
IDS = st.integers(0, MAX) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
NAMES = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_\-.~:@]{0,30}\Z")
CODEC = JsonCodec(lambda text: text)


def refusal(data: bytes) -> CommandError:
    with pytest.raises(CommandError) as caught:
        decode_command(data)
    return caught.value


def command(**fields: Any) -> bytes:
    return json.dumps({"type": "a", **fields}).encode()


# -- out


@given(
    TYPES,
    NAMES | st.sampled_from(["$all", "$user:ada", "$connection:1"]),
    VALUES | st.binary(max_size=50),
    st.integers(0, MAX),
    st.none() | st.dictionaries(TEXTS, VALUES, max_size=3),
    st.none() | IDS.filter(lambda it: isinstance(it, str)),
)
def test_every_push_is_json_with_the_fields_that_it_has_and_no_others(
    type: str, channel: str, payload: Any, stamp: int, sender: Any, ask: Any
) -> None:
    binary = isinstance(payload, bytes)
    publication = Publication(
        channel,
        type,
        payload if binary else encode_json(payload),
        binary=binary,
        epoch="e-1",
        stamp=stamp,
        sender=None if sender is None else encode_json(sender),
        exclude=frozenset({"not told"}),
        subject="not told",
        ask=ask,
    )
    expected: dict[str, Any] = {"type": type, "payload": payload}
    if binary:
        expected |= {"payload": base64.b64encode(payload).decode(), "encoding": "base64"}
    if not channel.startswith("$"):
        expected["channel"] = channel
    if stamp:
        expected["position"] = f"e-1.{stamp}"
    if sender is not None:
        expected["from"] = sender
    if ask is not None:
        expected["id"] = ask
    assert json.loads(push_json(publication)) == expected
    assert CODEC.publication(publication) == push_json(publication)
    assert JsonCodec().publication(publication) == encode_frame(Opcode.TEXT, push_json(publication))


@given(IDS, VALUES)
def test_every_reply_carries_the_id_as_it_came(command_id: int | str, payload: Any) -> None:
    found = json.loads(CODEC.reply(command_id, encode_json(payload)))
    assert found == {"type": "$reply", "id": command_id, "payload": payload}
    assert json.loads(CODEC.pong(command_id)) == {"type": "$pong", "id": command_id}
    assert json.loads(CODEC.pong(None)) == {"type": "$pong"}
    assert json.loads(CODEC.ping()) == {"type": "$ping"}


@given(st.none() | NAMES, VALUES)
def test_every_notice_is_json(channel: str | None, payload: Any) -> None:
    place = {} if channel is None else {"channel": channel}
    found = json.loads(CODEC.notice("$joined", channel, encode_json(payload)))
    assert found == {"type": "$joined", "payload": payload, **place}


@given(st.none() | IDS, TEXTS, TEXTS, st.none() | TEXTS, st.booleans())
def test_every_error_is_json_with_the_fields_that_it_has(
    command_id: Any, code: str, message: str, field: str | None, retry: bool
) -> None:
    expected: dict[str, Any] = {"type": "$error", "code": code, "message": message}
    if command_id is not None:
        expected["id"] = command_id
    if field is not None:
        expected["field"] = field
    if retry:
        expected["retry"] = True
    assert json.loads(CODEC.error(command_id, CommandError(code, message, field=field, retry=retry))) == expected


def test_an_error_whose_text_is_no_text_is_told_all_the_same() -> None:
    error = CommandError("no\udcff", "cannot open caf\udce9", field="\ud800")
    found = json.loads(CODEC.error(1, error))
    assert found == {"type": "$error", "id": 1, "code": "no?", "message": "cannot open caf?", "field": "?"}


# -- in


@given(
    TYPES,
    VALUES,
    st.fixed_dictionaries(
        {},
        optional={
            "id": IDS,
            "channel": TEXTS,
            "key": st.text("abc", min_size=1, max_size=64),
            "volatile": st.booleans(),
            "echo": st.booleans(),
            "since": TEXTS,
            "before": TEXTS,
            "last": st.integers(0, MAX),
            "limit": st.integers(0, MAX),
            "presence": st.booleans(),
            "token": TEXTS,
            "resume": TEXTS,
            "code": TEXTS,
            "message": TEXTS,
        },
    ),
    st.dictionaries(st.sampled_from(["x", "Type", "from", "position"]), VALUES, max_size=2),
)
def test_a_good_command_has_what_was_sent_and_means_something_and_the_rest_left_out(
    type: str, payload: Any, fields: dict[str, Any], unknown: dict[str, Any]
) -> None:
    found = decode_command(json.dumps({**unknown, "type": type, "payload": payload, **fields}).encode())
    assert (found.type, json.loads(found.payload), found.binary) == (type, payload, False)
    if not type.startswith("$"):
        own = ("id", "channel", "key", "volatile", "echo")
        fields = {name: value for name, value in fields.items() if name in own}
    for name in ("id", "channel", "key", "since", "before", "last", "limit", "token", "resume", "code", "message"):
        assert getattr(found, name) == fields.get(name)
    assert (found.volatile, found.presence) == (fields.get("volatile", False), fields.get("presence", False))
    assert found.echo == fields.get("echo", True)
    assert found.size > len(found.payload)


def test_null_stands_for_left_out() -> None:
    names = ["id", "channel", "payload", "encoding", "key", "volatile", "echo", "since", "before", "last", "limit"]
    found = decode_command(command(**dict.fromkeys([*names, "presence", "token", "resume", "code", "message"])))
    assert found == decode_command(b'{"type":"a"}'.ljust(found.size - 400))
    assert (found.payload, found.echo, found.volatile) == (b"null", True, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", 1),
        ("type", ""),
        ("type", "x" * 129),
        ("type", "a\x00"),
        ("type", "a\n"),
        ("type", "a\x9f"),
        ("type", None),
        ("id", -1),
        ("id", 2**53),
        ("id", 1.5),
        ("id", True),
        ("id", ""),
        ("id", "x" * 65),
        ("id", [1]),
        ("channel", 1),
        ("channel", {}),
        ("key", ""),
        ("key", "x" * 65),
        ("key", 1),
        ("volatile", 1),
        ("volatile", "true"),
        ("echo", 0),
        ("since", 7),
        ("before", []),
        ("last", -1),
        ("last", "1"),
        ("last", 2**53),
        ("limit", 1.5),
        ("presence", "yes"),
        ("token", 1),
        ("token", "x" * 16_385),
        ("resume", False),
        ("code", 1),
        ("message", 1),
        ("encoding", 1),
    ],
)
def test_a_field_that_does_not_fit_is_named(field: str, value: Any) -> None:
    found = refusal(command(**{field: value}))
    assert (found.code, found.field) == (ErrorCode.BAD_FIELD, field)
    assert "$" not in found.message


def test_a_command_without_a_type_is_told_so() -> None:
    for data in (b"{}", b'{"id":1}', b'{"Type":"a"}', b'{"x":"`type`"}'):
        assert (refusal(data).code, refusal(data).field) == (ErrorCode.BAD_FIELD, "type")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"1",
        b"null",
        b'"type"',
        b"[]",
        b"[1]",
        b"{",
        b'{"type":"a"',
        b'{"type":"a"}}',
        b'{"type":"a"} {"type":"a"}',
        b'{"type":"a",}',
        b"{'type':'a'}",
        b'{type:"a"}',
        b'{"type":"a"}\x00',
        b'\xef\xbb\xbf{"type":"a"}',
        b'{"type":"a","payload":NaN}',
        b'{"type":"a","payload":Infinity}',
        b'{"type":"a","payload":-Infinity}',
        b'{"type":"a","payload":01}',
        b'{"type":"a","payload":+1}',
        b'{"type":"a","payload":.5}',
        b'{"type":"a","payload":0x10}',
        b'{"type":"a","payload":"\x01"}',
        b'{"type":"a","payload":"\\x41"}',
        b'{"type":"a","payload":undefined}',
        b'{"type":"a","payload":1e400}',
        b'{"type":"a","payload":9007199254740992}',
        b'{"type":"a","payload":[-9007199254740992]}',
        b'{"type":"a","payload":"\\ud800"}',
        b'{"type":"a","payload":{"\\udc00":1}}',
        b'{"type":"\\ud800"}',
        b'{"type":"a","key":"\\udfff"}',
        b'{"type":"a","payload":' + b"[" * 65 + b"]" * 65 + b"}",
        b'{"type":"a","payload":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":"a","payload":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
        b'{"type":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"type":"a","payload":{"a":' + b"[" * 65 + b"]" * 65 + b',"a":1}}',
    ],
)
def test_what_is_no_json_object_within_the_limits_is_a_bad_message(data: bytes) -> None:
    assert refusal(data).code == ErrorCode.BAD_MESSAGE


def test_64_levels_of_payload_are_taken_as_they_are() -> None:
    deep = b"[" * 64 + b"]" * 64
    assert decode_command(b'{"type":"a","payload":' + deep + b"}").payload == deep


def test_space_around_a_payload_is_not_part_of_it() -> None:
    assert decode_command(b' { "type" : "a" , "payload" : \n "x" \t } \r\n').payload == b'"x"'


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    found = decode_command(b'{"type":"a","id":1,"type":"b","payload":1,"id":2,"payload":2}')
    assert (found.type, found.id, found.payload) == ("b", 2, b"2")


@given(st.binary(max_size=100))
def test_bytes_travel_as_base64(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    found = decode_command(command(payload=text, encoding="base64"))
    assert (found.payload, found.binary) == (data, True)


@pytest.mark.parametrize("payload", [1, None, ["aGk="], "aGk", "a Gk=", "aGk=\n", "aG_k", "é", "====", "aGk=aGk="])
def test_what_is_no_base64_is_a_bad_payload_field(payload: Any) -> None:
    found = refusal(command(payload=payload, encoding="base64"))
    assert (found.code, found.field) == (ErrorCode.BAD_FIELD, "payload")


def test_another_encoding_is_a_bad_field() -> None:
    found = refusal(command(payload="aGk=", encoding="rot13"))
    assert (found.code, found.field) == (ErrorCode.BAD_FIELD, "encoding")


@given(IDS)
def test_the_id_of_a_refused_command_is_read_where_it_can_be(command_id: int | str) -> None:
    for fields in ({"type": 1}, {"type": "a", "channel": 7}, {"type": "a", "payload": 2**60}, {}):
        assert read_id(json.dumps({"id": command_id, **fields}).encode()) == command_id
        assert read_id(json.dumps({**fields, "id": command_id}).encode()) == command_id


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"1", b"[]", b'{"id":-1}', b'{"id":1.5}', b'{"id":""}', b'{"id":1', b'{"id":[1]}', b'{"x":' * 100_000],
)
def test_where_there_is_no_id_to_read_there_is_none(data: bytes) -> None:
    assert read_id(data) is None


# -- hostile input

SEEDS = [
    b'{"type":"$connect","id":1,"token":"secret","resume":"r","since":"e.1"}',
    b'{"type":"message","channel":"chat:lobby","payload":{"a":[1,-2.5e3,null,true,"\\u00e9\\ud83d\\ude00"]},"key":"k","id":"x"}',
    b'[{"type":"$ping"},{"type":"a","payload":"aGk=","encoding":"base64","volatile":true,"echo":false}]',
    b'{"type":"$history","channel":"c","before":"e.9007199254740991","limit":1000,"id":9007199254740991}',
    b'[{"type":"$error","id":0,"code":"c","message":"m"},{"type":"x","payload":12345678901234567890e-3}]',
]
PIECES = [
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b"\\u",
    b"\\ud800",
    b"1e999",
    b"9" * 20,
    b"null",
    b":",
    b",",
    b"\x00",
    b"\xff",
    b"-",
]


def mutated(source: random.Random) -> bytes:
    data = bytearray(source.choice(SEEDS))
    for _ in range(source.randrange(1, 6)):
        at = source.randrange(len(data) + 1)
        match source.randrange(5):
            case 0:
                data[at : at + 1] = bytes([source.randrange(256)])
            case 1:
                del data[at : at + source.randrange(1, 9)]
            case 2:
                data[at:at] = source.choice(PIECES) * source.choice([1, 1, 2, 70])
            case 3:
                data[at:at] = source.choice(SEEDS)[at:]
            case _:
                data = data[:at] or data
    return bytes(data)


def test_a_hundred_thousand_mutated_messages_are_commands_or_command_errors() -> None:
    begun = seed()
    print(f"seed {begun}")
    source = random.Random(begun)
    taken = refused = 0
    for _ in range(times(100_000)):
        data = mutated(source)
        try:
            for part in split_batch(data):
                found = decode_command(part)
                taken += 1
                # What is taken can go out again, and be read by a strict parser of another make.
                if found.payload.isascii() and not found.binary:
                    json.loads(push_json(Publication("c", found.type, found.payload)))
        except CommandError as error:
            refused += 1
            CODEC.error(read_id(data), error)
    assert min(taken, refused) > times(100_000) // 20
