"""What the hub says, as Socket.IO's clients read it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.errors import CommandError
from openline.model import Publication
from openline.protocol.socketio import Kind, PacketReader
from openline.protocol.socketio_codec import Encoded, SocketIoCodec, encode_arguments, read_offset
from openline.protocol.websocket import FrameReader, Opcode


def messages(frames: bytes) -> list[str | bytes]:
    items = FrameReader(max_message=2**30, masked=False).feed(frames)
    return [payload.decode() if opcode is Opcode.TEXT else payload for opcode, payload in items]


def said(publication: Publication, namespace: str = "/", **options: Any) -> list[str | bytes]:
    return messages(SocketIoCodec(namespace, **options).publication(publication))


def test_a_publication_is_an_event_with_its_payload_as_the_one_argument() -> None:
    assert said(Publication("chat:1", "said", b'{"a":1}', stamp=7, epoch="e")) == ['42["said",{"a":1}]']
    assert said(Publication("admin~:x", "said", b'"a"'), "/admin") == ['42/admin,["said","a"]']


def test_a_payload_of_null_is_an_event_without_arguments_and_several_are_spread() -> None:
    assert said(Publication("c", "e", b"null")) == ['42["e"]']
    assert said(Publication("c", "e", b"[]", spread=True)) == ['42["e"]']
    assert said(Publication("c", "e", b'[1,"b",null]', spread=True)) == ['42["e",1,"b",null]']
    assert said(Publication("c", "e", b"[1,2]")) == ['42["e",[1,2]]']


def test_bytes_are_attachments() -> None:
    plain = '451-["e",{"_placeholder":true,"num":0}]'
    assert said(Publication("c", "e", b"\x00\xff", binary=True)) == [plain, b"\x00\xff"]
    nested = Publication(
        "c", "e", b'{"a":{"_placeholder":true,"num":0},"b":{"_placeholder":true,"num":1}}', attachments=(b"x", b"")
    )
    assert said(nested) == [
        '452-["e",{"a":{"_placeholder":true,"num":0},"b":{"_placeholder":true,"num":1}}]',
        b"x",
        b"",
    ]


def test_with_recovery_every_event_carries_the_position_volatile_ones_that_of_the_one_before() -> None:
    stamped = Publication("c", "e", b"1", epoch="abc", stamp=7)
    assert said(stamped, recovery=True) == ['42["e",1,"abc.7"]']
    assert said(Publication("c", "e", b"null", epoch="abc", stamp=7), recovery=True) == ['42["e","abc.7"]']
    assert said(Publication("c", "e", b'"last"', epoch="abc", previous=6), recovery=True) == ['42["e","last","abc.6"]']
    assert said(stamped) == ['42["e",1]']


def test_what_waits_for_an_acknowledgement_has_an_id_and_no_position() -> None:
    asked = Publication("$connection:x", "e", b"1", epoch="abc", stamp=7, ask="42")
    assert said(asked, recovery=True) == ['4242["e",1]']
    binary = Publication("$connection:x", "e", b"z", binary=True, ask="42")
    assert said(binary, "/n") == ['451-/n,42["e",{"_placeholder":true,"num":0}]', b"z"]


@pytest.mark.parametrize("name", ["connect", "disconnect", "connect_error", "newListener", "removeListener"])
def test_an_event_that_clients_keep_for_themselves_is_not_told_because_it_would_end_them(name: str) -> None:
    assert said(Publication("c", name, b"1")) == []


def test_a_spelling_tells_one_publication_under_several_names() -> None:
    spellings = {"lobby": lambda p: [("message", p.payload), ("chat message", p.payload)]}
    codec = SocketIoCodec("/", recovery=True, spellings=spellings)
    frames = codec.publication(Publication("lobby", "said", b'"hi"', epoch="e", stamp=3))
    assert messages(frames) == ['42["message","hi","e.3~1"]', '42["chat message","hi","e.3"]']
    assert messages(codec.publication(Publication("other", "said", b'"hi"'))) == ['42["said","hi"]']
    # A volatile one is not repeated, in whole or in part.
    frames = codec.publication(Publication("lobby", "said", b'"hi"', epoch="e", previous=3))
    assert messages(frames) == ['42["message","hi","e.3"]', '42["chat message","hi","e.3"]']


@given(st.lists(st.sampled_from(["message", "text", "connect"]), max_size=4), st.integers(1, 9))
def test_wherever_a_spelled_publication_is_cut_its_rest_is_what_did_not_come(names: list[str], stamp: int) -> None:
    spellings = {"lobby": lambda p: [(name, p.payload) for name in names]}
    codec = SocketIoCodec("/", recovery=True, spellings=spellings)
    publication = Publication("lobby", "said", b'"hi"', epoch="e", stamp=stamp)
    frames = messages(codec.publication(publication))
    for count, frame in enumerate(frames, start=1):
        position, told = read_offset(json.loads(str(frame)[2:])[-1])
        assert position == publication.position
        rest = messages(codec.rest(publication, told)) if told else []
        assert frames[:count] + rest == frames


@pytest.mark.parametrize("text", ["", "~", "e.1~", "e.1~0", "e.1~-1", "e.1~1~1", "e.1~\u0661", "~1", "e.1~1234567"])
def test_what_no_event_carries_is_no_offset(text: str) -> None:
    with pytest.raises(CommandError):
        read_offset(text)


def test_the_protocols_own_packets() -> None:
    codec, admin = SocketIoCodec("/"), SocketIoCodec("/admin")
    assert messages(codec.connected("x", None)) == ['40{"sid":"x"}']
    assert messages(admin.connected("x", "secret")) == ['40/admin,{"sid":"x","pid":"secret"}']
    assert messages(admin.refused("Invalid namespace")) == ['44/admin,{"message":"Invalid namespace"}']
    assert messages(codec.refused("no", {"a": 1})) == ['44{"message":"no","data":{"a":1}}']
    assert messages(admin.goodbye()) == ["41/admin,"]
    assert messages(admin.acknowledge(7, Encoded(b"[1]"))) == ["43/admin,7[1]"]
    assert messages(codec.acknowledge(7, encode_arguments([b"a"]))) == ['461-7[{"_placeholder":true,"num":0}]', b"a"]
    assert messages(codec.reply(7, b"1")) == ["437[1]"]


def test_notices_and_errors_are_not_told() -> None:
    codec = SocketIoCodec("/")
    assert codec.notice("$joined", "c", b"{}") == codec.pong(1) == codec.error(1, CommandError("x")) == b""


@pytest.mark.parametrize("value", [float("nan"), "\ud800", 2**60, object()])
def test_arguments_that_json_cannot_hold_are_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        encode_arguments([value])


LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5) | st.binary(max_size=5)


@given(st.lists(st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=3), max_size=3))
def test_what_is_sent_is_what_a_reader_of_socketio_packets_finds(arguments: list[Any]) -> None:
    encoded = encode_arguments(arguments)
    publication = Publication("c", "e", encoded.arguments, spread=True, attachments=encoded.attachments)
    reader, packet = PacketReader(2**20), None
    for message in said(publication):
        packet = reader.text(message[1:].encode()) if isinstance(message, str) else reader.binary(message)
    assert packet is not None
    assert (packet.kind, packet.values()) == (Kind.EVENT, ["e", *arguments])
