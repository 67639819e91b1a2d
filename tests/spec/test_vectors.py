"""What ``spec/vectors/`` says about names, positions, commands and pushes holds for the server."""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from openline.client import frames
from openline.errors import CommandError, SettingsError
from openline.model import Position, Publication
from openline.protocol.channel_name import best_pattern, check_channel, check_event, check_pattern
from openline.protocol.json_codec import JsonCodec, decode_command, push_json, read_id, split_batch
from openline.protocol.raw_codec import RawCodec
from openline.protocol.websocket import Opcode

FOLDER = Path(__file__).parents[2] / "spec" / "vectors"


def vectors(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


NAMES, POSITIONS = vectors("names"), vectors("positions")
COMMANDS, PUSHES = vectors("commands")["commands"], vectors("pushes")["pushes"]
BATCHES, ANSWERS = vectors("commands")["batches"], vectors("pushes")["answers"]
JSON_CODEC = JsonCodec(lambda text: text)


def raw_message(opcode: Opcode, data: bytes) -> Any:
    return {"text": data.decode()} if opcode is Opcode.TEXT else {"binary": base64.b64encode(data).decode()}


def put_together(text: str | list[Any]) -> bytes:
    pieces = [text] if isinstance(text, str) else text
    return "".join(piece if isinstance(piece, str) else piece[0] * piece[1] for piece in pieces).encode()


def test_every_file_says_what_it_holds() -> None:
    assert all(vectors(path.stem)["about"] for path in FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", NAMES["names"])
def test_a_channel_name_is_one(name: str) -> None:
    assert check_channel(name) == name
    assert check_pattern(name) == name


@pytest.mark.parametrize("name", NAMES["no_names"])
def test_what_is_no_channel_name_is_refused(name: str) -> None:
    with pytest.raises(CommandError, match="bad_channel"):
        check_channel(name)


@pytest.mark.parametrize("pattern", NAMES["patterns"])
def test_a_pattern_is_one(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", NAMES["no_patterns"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(SettingsError):
        check_pattern(pattern)


@pytest.mark.parametrize("case", NAMES["best"], ids=lambda case: f"{case['name']} of {case['patterns']}")
def test_a_name_falls_under_the_best_pattern(case: dict[str, Any]) -> None:
    assert best_pattern(case["name"], case["patterns"]) == case["best"]
    assert best_pattern(case["name"], reversed(case["patterns"])) == case["best"]


def test_an_event_s_type_is_one_or_is_refused() -> None:
    for type in NAMES["types"]:
        assert check_event(type) == type
    for type in NAMES["no_types"]:
        with pytest.raises(CommandError, match="bad_field"):
            check_event(type)


@pytest.mark.parametrize("case", POSITIONS["positions"], ids=lambda case: case["text"])
def test_a_position_has_an_epoch_and_a_stamp(case: dict[str, Any]) -> None:
    position = Position.parse(case["text"])
    assert (position.epoch, position.stamp, str(position)) == (case["epoch"], case["stamp"], case["text"])


@pytest.mark.parametrize("text", POSITIONS["no_positions"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="bad_position"):
        Position.parse(text)


@pytest.mark.parametrize("case", POSITIONS["order"], ids=lambda case: f"{case['one']} {case['other']}")
def test_positions_are_compared_within_an_epoch(case: dict[str, Any]) -> None:
    one, other = Position.parse(case["one"]), Position.parse(case["other"])
    assert (one.epoch == other.epoch) == case["same_epoch"]
    assert (one.epoch == other.epoch and other.stamp <= one.stamp) == case["covers"]
    assert frames.same_epoch(case["one"], case["other"]) == case["same_epoch"]
    assert frames.covers(case["one"], case["other"]) == case["covers"]


@pytest.mark.parametrize("case", [c for c in COMMANDS if "command" in c], ids=lambda case: str(case["text"])[:60])
def test_a_command_is_read(case: dict[str, Any]) -> None:
    assert_reads(put_together(case["text"]), case["command"])


def assert_reads(data: bytes, expected: dict[str, Any]) -> None:
    command = decode_command(data)
    for field, value in expected.items():
        if field == "base64":
            assert command.binary
            assert command.payload == base64.b64decode(value)
        elif field == "payload":
            assert not command.binary
            assert json.loads(command.payload) == value
        else:
            assert getattr(command, field) == value


@pytest.mark.parametrize("case", [c for c in COMMANDS if "error" in c], ids=lambda case: str(case["text"])[:60])
def test_what_is_no_command_is_refused_by_code_field_and_id(case: dict[str, Any]) -> None:
    assert_refuses(put_together(case["text"]), case["error"])


def assert_refuses(data: bytes, expected: dict[str, Any]) -> None:
    with pytest.raises(CommandError) as caught:
        decode_command(data)
    assert caught.value.code == expected["code"]
    if expected["code"] == "bad_field":
        assert caught.value.field == expected["field"]
    assert read_id(data) == expected.get("id")


@pytest.mark.parametrize("case", BATCHES, ids=lambda case: case["text"][:60])
def test_several_commands_in_one_message_are_judged_one_by_one(case: dict[str, Any]) -> None:
    data = put_together(case["text"])
    if "error" in case:
        with pytest.raises(CommandError, match=case["error"]["code"]):
            split_batch(data)
        return
    for part, item in zip(split_batch(data), case["are"], strict=True):
        if "error" in item:
            assert_refuses(part, item["error"])
        else:
            assert_reads(part, item["command"])


@pytest.mark.parametrize("case", PUSHES, ids=lambda case: f"{case['push']['type']} of {case['publication']['channel']}")
def test_a_publication_is_said_on_each_door_and_is_an_event_for_a_client(case: dict[str, Any]) -> None:
    said = publication_of(case["publication"])
    text = push_json(said)
    assert json.loads(text) == case["push"]
    assert RawCodec(raw_message).publication(said) == case["raw"]  # type: ignore[arg-type]
    assert event_of(text.decode()) == case["event"]


def publication_of(fields: dict[str, Any]) -> Publication:
    fields = dict(fields)
    binary = "base64" in fields
    payload = base64.b64decode(fields.pop("base64")) if binary else written(fields.pop("payload"))
    sender = fields.pop("sender", None)
    return Publication(**fields, payload=payload, binary=binary, sender=None if sender is None else written(sender))


def written(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def event_of(text: str) -> dict[str, Any]:
    """What the client in Python makes of a push, in the words of the vectors."""
    frame = frames.read(text)
    assert frame is not None
    event = frames.event_of(frame)
    binary = isinstance(event.payload, bytes)
    found = {"base64": base64.b64encode(event.payload).decode()} if binary else {"payload": event.payload}
    sender = event.sender and {k: v for k, v in msgspec.to_builtins(event.sender).items() if v is not None}
    others = {"type": event.type, "channel": event.channel, "position": event.position, "from": sender}
    return found | {name: value for name, value in others.items() if value is not None}


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: next(iter(case)))
def test_an_answer_is_said(case: dict[str, Any]) -> None:
    assert json.loads(answer_of(case)) == case["frame"]


def answer_of(case: dict[str, Any]) -> bytes:
    match case:
        case {"reply": told}:
            return JSON_CODEC.reply(told["id"], written(told["payload"]))
        case {"pong": told}:
            return JSON_CODEC.pong(told.get("id"))
        case {"error": told}:
            error = CommandError(told["code"], told["message"], field=told.get("field"), retry=told.get("retry", False))
            return JSON_CODEC.error(told.get("id"), error)
        case {"notice": told}:
            return JSON_CODEC.notice(told["word"], told.get("channel"), written(told["payload"]))
        case _:
            return JSON_CODEC.ping()
