"""Every refusal over HTTP says in one form what was wrong."""

import json
from http import HTTPStatus

import pytest

from openline.errors import CommandError, ErrorCode, RequestRefused
from openline.protocol.problem import problem, refused, status_of


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_has_a_status_that_is_an_error(code: str) -> None:
    error = CommandError(code, "Why.")
    said = json.loads(problem(error))
    assert 400 <= said["status"] == status_of(error) < 600
    assert said == {
        "type": "about:blank",
        "title": HTTPStatus(said["status"]).phrase,
        "status": said["status"],
        "code": code,
        "detail": "Why.",
    }


def test_what_was_wrong_and_whether_to_repeat_it_is_told() -> None:
    said = json.loads(problem(CommandError("muted", "Wait.", field="payload", retry=True), position="e.1"))
    assert (said["field"], said["retry"], said["position"], said["status"]) == ("payload", True, "e.1", 400)


def test_an_applications_text_that_is_no_text_is_told_all_the_same() -> None:
    assert json.loads(problem(CommandError("x", "a\ud800b")))["detail"] == "a?b"


def test_the_gates_refusal_has_a_code() -> None:
    error = refused(RequestRefused(403, "Not you.\n"))
    assert (error.code, error.message) == ("forbidden", "Not you.")
    assert refused(RequestRefused(400, "What?\n")).code == "bad_message"
