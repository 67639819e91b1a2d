"""What ``spec/vectors/`` says about names, positions, commands and pushes holds for the server."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from openline.errors import CommandError, SettingsError
from openline.model import Position, Publication
from openline.protocol.channel_name import best_pattern, check_channel, check_pattern
from openline.protocol.json_codec import decode_command, push_json, read_id

FOLDER = Path(__file__).parents[2] / "spec" / "vectors"


def vectors(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text())


NAMES, POSITIONS = vectors("names"), vectors("positions")
COMMANDS, PUSHES = vectors("commands")["commands"], vectors("pushes")["pushes"]


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


@pytest.mark.parametrize("case", POSITIONS["positions"], ids=lambda case: case["text"])
def test_a_position_has_an_epoch_and_a_stamp(case: dict[str, Any]) -> None:
    position = Position.parse(case["text"])
    assert (position.epoch, position.stamp, str(position)) == (case["epoch"], case["stamp"], case["text"])


@pytest.mark.parametrize("text", POSITIONS["no_positions"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="bad_position"):
        Position.parse(text)


@pytest.mark.parametrize("case", [c for c in COMMANDS if "command" in c], ids=lambda case: case["text"][:60])
def test_a_command_is_read(case: dict[str, Any]) -> None:
    command = decode_command(case["text"].encode())
    for field, value in case["command"].items():
        if field == "base64":
            assert command.binary
            assert command.payload == base64.b64decode(value)
        elif field == "payload":
            assert not command.binary
            assert json.loads(command.payload) == value
        else:
            assert getattr(command, field) == value


@pytest.mark.parametrize("case", [c for c in COMMANDS if "error" in c], ids=lambda case: case["text"][:60])
def test_what_is_no_command_is_refused_by_code_field_and_id(case: dict[str, Any]) -> None:
    data = case["text"].encode()
    with pytest.raises(CommandError) as caught:
        decode_command(data)
    expected = case["error"]
    assert caught.value.code == expected["code"]
    if expected["code"] == "bad_field":
        assert caught.value.field == expected["field"]
    assert read_id(data) == expected.get("id")


@pytest.mark.parametrize("case", PUSHES, ids=lambda case: f"{case['push']['type']} of {case['publication']['channel']}")
def test_a_publication_is_said(case: dict[str, Any]) -> None:
    fields = dict(case["publication"])
    binary = "base64" in fields
    payload = base64.b64decode(fields.pop("base64")) if binary else json.dumps(fields.pop("payload")).encode()
    sender = fields.pop("sender", None)
    said = Publication(
        **fields, payload=payload, binary=binary, sender=None if sender is None else json.dumps(sender).encode()
    )
    assert json.loads(push_json(said)) == case["push"]
