"""How often a publisher tries: as long as it does no harm and patience lasts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline import CommandError, UnansweredError
from openline.client import calls
from openline.client.calls import Call, Published
from openline.client.tries import Answer, Done, Tries

URL = "http://127.0.0.1:8000/api/v1"
PROBLEM = {"content-type": "application/problem+json"}
HTML = {"content-type": "text/html"}


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def call(*, volatile: bool = False) -> Call[str | None]:
    return calls.publish("chat:1", "n", 1, exclude=(), volatile=volatile, key=None, subject="")


def many() -> Call[list[Published]]:
    return calls.publish_many(["a", "b"], "n", 1, exclude=(), volatile=False, key="k", subject="")


def problem(status: int, code: str, **more: object) -> Answer:
    said = {"code": code, "detail": "Why.", **more}
    return Answer(status, PROBLEM, json.dumps(said).encode())


@pytest.fixture
def time() -> Time:
    return Time()


def tries(time: Time, of: Call[str | None] | None = None, *, patience: float = 10.0) -> Tries[str | None]:
    return Tries(of or call(), URL, patience, time, lambda: 1.0)


def test_a_good_answer_is_the_end(time: Time) -> None:
    assert tries(time).answered(Answer(200, {}, b'{"position": "a.1"}')) == Done("a.1")
    assert tries(time).answered(Answer(200, {}, b"{}")) == Done(None)


def test_pauses_grow_until_patience_is_over(time: Time) -> None:
    trying = tries(time)
    pauses: list[float] = []
    with pytest.raises(UnansweredError, match=r"connection refused\): it was not carried out$"):
        while True:
            pauses.append(trying.broken("connection refused", sent=False))
            time.now += pauses[-1]
    assert pauses == [0.5, 1.0, 2.0, 4.0]


@given(st.lists(st.sampled_from(["broken", "503", "429"]), min_size=1), st.floats(0, 1), st.floats(0, 30))
def test_all_pauses_together_never_exceed_patience(faults: list[str], chance: float, patience: float) -> None:
    time = Time()
    trying = Tries(call(), URL, patience, time, lambda: chance)
    for fault in faults:
        try:
            pause = trying.broken("x", sent=True) if fault == "broken" else trying.answered(Answer(int(fault), {}, b""))
        except UnansweredError:
            return
        assert isinstance(pause, float)
        time.now += pause
        assert time.now <= 100.0 + patience


def test_without_patience_there_is_one_try(time: Time) -> None:
    with pytest.raises(UnansweredError):
        tries(time, patience=0.0).broken("reset", sent=True)


def test_who_gives_up_says_with_which_key_to_go_on(time: Time) -> None:
    one = call()
    with pytest.raises(UnansweredError) as given_up:
        tries(time, one, patience=0.0).broken("reset", sent=True)
    error = given_up.value
    assert (error.key, error.sent, error.url) == (one.key, True, URL)
    assert "unknown" in str(error)
    assert repr(one.key) in str(error)


def test_what_may_have_been_carried_out_once_stays_unknown(time: Time) -> None:
    trying = tries(time, patience=0.6)
    time.now += trying.broken("reset", sent=True)
    with pytest.raises(UnansweredError, match="unknown"):
        trying.broken("refused", sent=False)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
@pytest.mark.parametrize("headers", [PROBLEM, HTML])
def test_what_may_pass_is_tried_again(time: Time, status: int, headers: dict[str, str]) -> None:
    assert tries(time).answered(Answer(status, headers, b'{"code": "unavailable"}')) == 0.5


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 415, 500, 301])
def test_what_will_not_pass_is_not(time: Time, status: int) -> None:
    with pytest.raises(CommandError):
        tries(time).answered(problem(status, "bad_field"))


def test_a_volatile_publication_is_not_repeated_once_it_may_have_arrived(time: Time) -> None:
    assert tries(time, call(volatile=True)).broken("refused", sent=False) == 0.5
    assert tries(time, call(volatile=True)).answered(Answer(429, {}, b"")) == 0.5
    with pytest.raises(UnansweredError) as given_up:
        tries(time, call(volatile=True)).broken("reset", sent=True)
    assert given_up.value.key is None
    with pytest.raises(UnansweredError):
        tries(time, call(volatile=True)).answered(Answer(503, HTML, b""))


def test_the_server_may_say_when_to_come_again(time: Time) -> None:
    assert tries(time).answered(Answer(503, {"retry-after": "7"}, b"")) == 7.0
    with pytest.raises(UnansweredError):
        tries(time).answered(Answer(503, {"retry-after": "11"}, b""))
    for nonsense in ("", "soon", "-1", "²", "9" * 50):
        assert tries(time).answered(Answer(503, {"retry-after": nonsense}, b"")) == 0.5


def test_a_refusal_is_raised_as_the_server_says_it(time: Time) -> None:
    with pytest.raises(CommandError) as refused:
        tries(time, patience=0.0).answered(problem(503, "unavailable", retry=True, field="channel", more=1))
    error = refused.value
    assert (error.code, error.message, error.field, error.retry) == ("unavailable", "Why.", "channel", True)


@pytest.mark.parametrize("body", [b"<h1>Not Found</h1>\n<p>nginx", b"", b"\xff"])
@pytest.mark.parametrize("headers", [HTML, PROBLEM, {}])
def test_an_answer_of_somebody_else_is_told_as_such(time: Time, body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(CommandError, match=r"no backend API.*HTTP 404"):
        tries(time).answered(Answer(404, headers, body))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"position": 1}', b"\xff"])
def test_an_answer_that_is_none_is_a_failure(time: Time, body: bytes) -> None:
    with pytest.raises(CommandError, match="does not follow the protocol"):
        tries(time).answered(Answer(200, {}, body))


def test_of_many_channels_those_that_may_succeed_are_tried_again_as_long_as_patience_lasts(time: Time) -> None:
    trying = Tries(many(), URL, 0.6, time, lambda: 1.0)
    answer = (
        b'{"outcomes":[{"channel":"a","position":"x.1"},'
        b'{"channel":"b","error":{"code":"unavailable","message":"m","retry":true}}]}'
    )
    assert trying.answered(Answer(200, {}, answer)) == 0.5
    time.now += 0.5
    done = trying.answered(Answer(200, {}, answer))
    assert isinstance(done, Done)
    first, second = done.value
    assert (first.position, first.error) == ("x.1", None)
    assert second.error is not None
    assert (second.position, second.error.code, second.error.retry) == (None, "unavailable", True)


def test_every_publication_has_a_key_of_its_own_unless_it_is_given_one() -> None:
    assert call().key != call().key
    assert many().key == "k"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/api/v1"),
        ("https://app.example.com/", "https://app.example.com/api/v1"),
        ("https://app.example.com/live/api/v1/", "https://app.example.com/live/api/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/api/v1"),
    ],
)
def test_without_a_path_the_api_is_where_it_is_by_default(url: str, address: str) -> None:
    assert calls.address_of(url) == address
