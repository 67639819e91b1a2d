"""What ``spec/vectors/http.json`` says about event streams, polls and problems holds for the server."""

import json
from typing import Any

import pytest

from openline.errors import CommandError
from openline.protocol.json_codec import message_json
from openline.protocol.problem import status_of
from openline.protocol.sse import SseCodec
from tests.protocol.test_sse import Reader
from tests.spec.test_vectors import publication_of, vectors

VECTORS = vectors("http")


@pytest.mark.parametrize("case", VECTORS["events"], ids=lambda case: case["publication"]["type"])
def test_a_publication_is_one_event_of_a_stream(case: dict[str, Any]) -> None:
    for named in (False, True):
        [event] = Reader().read(SseCodec(named=named).publication(publication_of(case["publication"])))
        assert json.loads(event.data) == case["data"]
        assert event.id == (case["id"] or "")
        assert event.type == ((named and case["name"]) or "message")


@pytest.mark.parametrize("case", VECTORS["messages"], ids=lambda case: case["publication"]["type"])
def test_a_publication_is_one_message_of_a_poll(case: dict[str, Any]) -> None:
    assert json.loads(message_json(publication_of(case["publication"]))) == case["message"]


@pytest.mark.parametrize("case", VECTORS["problems"], ids=lambda case: case["code"])
def test_a_code_has_its_status(case: dict[str, Any]) -> None:
    assert status_of(CommandError(case["code"])) == case["status"]
