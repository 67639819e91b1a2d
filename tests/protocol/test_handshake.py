"""The opening handshake: what is taken, what is refused and how, against the RFC's example and `websockets`."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.streams import StreamReader
from websockets.uri import parse_uri

from openline.errors import RequestRefused
from openline.protocol.handshake import Upgrade, accept_key, read_upgrade, refusal, switching_protocols

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
GOOD = {
    b"host": b"server.example.com",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
}

Fields = list[tuple[bytes, bytes]]


def fields(*more: tuple[bytes, bytes], **changed: bytes | None) -> Fields:
    """The fields of a good request, some changed or (None) left out, and more behind them."""
    changes = {name.replace("_", "-").encode(): value for name, value in changed.items()}
    kept = {**GOOD, **changes}
    return [*((name, value) for name, value in kept.items() if value is not None), *more]


def refused(headers: Fields, method: str = "GET", version: str = "1.1") -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        read_upgrade(method, version, headers)
    return caught.value


def parse_response(raw: bytes) -> Response:
    """What the oracle reads; it must be all there, and nothing behind it."""
    reader = StreamReader()
    reader.feed_data(raw)
    reader.feed_eof()
    parsing = Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof)
    try:
        while True:
            next(parsing)
    except StopIteration as done:
        assert not reader.buffer
        return done.value


def test_the_example_of_the_rfc_is_taken() -> None:
    headers = fields((b"origin", b"http://example.com"), (b"sec-websocket-protocol", b"chat, superchat"))
    assert read_upgrade("GET", "1.1", headers) == Upgrade(
        KEY, ("chat", "superchat"), "http://example.com", "server.example.com"
    )
    assert accept_key(KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_a_request_without_origin_and_subprotocols_says_so() -> None:
    assert read_upgrade("GET", "1.1", fields()) == Upgrade(KEY, (), None, "server.example.com")


@pytest.mark.parametrize(
    "change",
    [
        {"connection": b"keep-alive, Upgrade"},  # Firefox
        {"connection": b"keep-alive,\tUPGRADE , x"},
        {"upgrade": b"WebSocket"},
        {"upgrade": b"h2c, websocket"},
        {"host": b"[::1]:8000"},
        {"host": b" localhost:8000 "},
        {"content_length": b"0"},
        {"origin": b"null"},
    ],
)
def test_a_request_may_be_written_in_any_of_the_allowed_ways(change: dict[str, bytes]) -> None:
    assert read_upgrade("GET", "1.1", fields(**change)).key == KEY


def test_a_list_may_be_spread_over_several_lines() -> None:
    headers = fields(
        (b"connection", b"upgrade"), (b"sec-websocket-protocol", b"a"), (b"sec-websocket-protocol", b"b, c"),
        connection=b"keep-alive",
    )  # fmt: skip
    assert read_upgrade("GET", "1.1", headers).subprotocols == ("a", "b", "c")


@pytest.mark.parametrize(
    "change",
    [
        {"host": None},
        {"host": b""},
        {"host": b"a b"},
        {"host": b"user@host"},
        {"host": b"host/path"},
        {"host": b"h\xc3\xb6st"},
        {"origin": b""},
        {"origin": b"http://a http://b"},
        {"origin": b"http://a\x00"},
        {"origin": b"http://\xc3\xa4"},
        {"sec_websocket_key": None},
        {"sec_websocket_key": b""},
        {"sec_websocket_key": base64.b64encode(bytes(15))},
        {"sec_websocket_key": base64.b64encode(bytes(17))},
        {"sec_websocket_key": b"dGhlIHNhbXBsZSBub25jZQ"},
        {"sec_websocket_key": b"dGhlIHNhbXBsZSBub25j!Q=="},
        {"sec_websocket_key": b"dGhlIHNhbXBsZSBub25jZQ==\n"},
        {"content_length": b"1"},
        {"content_length": b"00"},
        {"content_length": b"-0"},
        {"content_length": b""},
        {"transfer_encoding": b"chunked"},
        {"transfer_encoding": b"identity"},
        {"sec_websocket_protocol": b""},
        {"sec_websocket_protocol": b"a,,b"},
        {"sec_websocket_protocol": b"a, a"},
        {"sec_websocket_protocol": b"a b"},
        {"sec_websocket_protocol": b"a;b"},
        {"sec_websocket_protocol": b"a\r\nset-cookie: x"},
        {"sec_websocket_protocol": b"caf\xc3\xa9"},
    ],
)
def test_what_no_honest_client_sends_is_refused_with_400(change: dict[str, bytes | None]) -> None:
    assert refused(fields(**change)).status == 400


@pytest.mark.parametrize("name", [b"host", b"origin", b"sec-websocket-key", b"sec-websocket-version"])
def test_a_header_that_stands_twice_is_refused_even_if_both_agree(name: bytes) -> None:
    once = dict(fields((b"origin", b"http://a")))
    assert read_upgrade("GET", "1.1", [*once.items()]).origin == "http://a"
    error = refused([*once.items(), (name, once[name])])
    assert error.status == 400
    assert name.decode() in error.reason


def test_two_lengths_of_zero_are_a_request_without_a_body_and_a_third_is_not_hidden_by_them() -> None:
    zero = (b"content-length", b"0")
    assert read_upgrade("GET", "1.1", fields(zero, zero)).key == KEY
    assert refused(fields(zero, zero, (b"content-length", b"5"))).status == 400


@pytest.mark.parametrize("version", [b"12", b"14", b"8", b"013", b"13, 8", b"x"])
def test_another_version_is_answered_by_the_one_we_speak(version: bytes) -> None:
    error = refused(fields(sec_websocket_version=version))
    if version == b"13, 8":
        assert error.status == 400
        return
    assert error.status == 426
    assert ("Sec-WebSocket-Version", "13") in error.headers


def test_no_version_is_answered_like_another_one() -> None:
    error = refused(fields(sec_websocket_version=None))
    assert (error.status, dict(error.headers)["Sec-WebSocket-Version"]) == (426, "13")


@pytest.mark.parametrize(
    "change",
    [
        {"upgrade": None}, {"upgrade": b"websocket2"}, {"upgrade": b"web socket"}, {"upgrade": b"h2c"},
        {"connection": None}, {"connection": b"close"}, {"connection": b"no-upgrade"},
        {"connection": b"upgrade upgrade"},
    ],
)  # fmt: skip
def test_a_request_that_asks_for_no_websocket_is_told_what_this_is(change: dict[str, bytes | None]) -> None:
    error = refused(fields(**change))
    assert error.status == 426
    assert ("Upgrade", "websocket") in error.headers


@pytest.mark.parametrize("method", ["POST", "HEAD", "get", "", "CONNECT"])
def test_another_method_is_refused(method: str) -> None:
    error = refused(fields(), method=method)
    assert (error.status, error.headers) == (405, (("Allow", "GET"),))


@pytest.mark.parametrize("version", ["1.0", "0.9", "2", "", "1.1 "])
def test_another_http_version_is_refused(version: str) -> None:
    assert refused(fields(), version=version).status == 400


@pytest.mark.parametrize("subprotocols", [None, ["openline.v1"], ["openline.v1", "openline.token.abc.DEF-_~"]])
def test_the_oracle_as_client_opens_with_us(subprotocols: list[str] | None) -> None:
    client = ClientProtocol(parse_uri("ws://example.com:8000/openline"), origin="http://a", subprotocols=subprotocols)
    request = client.connect()
    upgrade = read_upgrade("GET", "1.1", [(k.lower().encode(), v.encode()) for k, v in request.headers.raw_items()])
    assert upgrade.subprotocols == tuple(subprotocols or ())
    assert (upgrade.host, upgrade.origin) == ("example.com:8000", "http://a")
    client.receive_data(switching_protocols(upgrade.key, "openline.v1" if subprotocols else None, [("Server", "x")]))
    assert client.handshake_exc is None
    assert client.state is OPEN
    assert client.subprotocol == ("openline.v1" if subprotocols else None)


field_values = {
    b"connection": [b"upgrade", b"keep-alive, Upgrade", b"close"],
    b"upgrade": [b"websocket", b"WebSocket", b"h2c"],
    b"sec-websocket-key": [KEY, base64.b64encode(bytes(16)), base64.b64encode(bytes(15)), b"junk", b"=" * 24],
    b"sec-websocket-version": [b"13", b"8"],
    b"origin": [b"http://a"],
    b"sec-websocket-protocol": [b"a, b", b"a;b"],
}


@given(st.lists(st.sampled_from([(name, value) for name, values in field_values.items() for value in values])))
def test_a_request_is_taken_only_if_the_oracle_takes_it(changes: Fields) -> None:
    # §4.2.1 wants `Upgrade` to contain the word; the oracle wants it alone, so it stands once here.
    headers = [*{**GOOD, **dict(changes)}.items(), *(field for field in changes[5:] if field[0] != b"upgrade")]
    oracle = ServerProtocol()
    given_headers = Headers()
    for name, value in headers:
        given_headers[name.decode()] = value.decode()
    response = oracle.accept(Request("/", given_headers))
    try:
        accepted = accept_key(read_upgrade("GET", "1.1", headers).key).decode()
    except RequestRefused:
        # We are stricter with what stands twice and with junk.
        return
    assert response.status_code == 101
    assert response.headers["Sec-WebSocket-Accept"] == accepted


@pytest.mark.parametrize("junk", ["a\r\nb", "a\nb", "a\0b", "a\x7fb", "a\x1bb", "€"])
def test_no_header_of_a_response_can_end_its_line(junk: str) -> None:
    for headers in ([("X-Name", junk)], [(f"X-{junk}", "value")], [("", "value")], [("a b", "v"), ("ok", junk)]):
        with pytest.raises(ValueError):
            switching_protocols(KEY, None, headers)
        with pytest.raises(ValueError):
            refusal(RequestRefused(400, "no", tuple(headers)))
    with pytest.raises(ValueError):
        switching_protocols(KEY, junk)


@pytest.mark.parametrize("subprotocol", ["", "a b", "a,b"])
def test_a_subprotocol_that_is_no_token_is_not_echoed(subprotocol: str) -> None:
    with pytest.raises(ValueError, match="token"):
        switching_protocols(KEY, subprotocol)


def test_a_response_may_carry_headers_of_the_application() -> None:
    response = parse_response(switching_protocols(KEY, None, [("Set-Cookie", "a=b; Path=/"), ("X-Name", "café\ttab")]))
    assert response.status_code == 101
    assert response.headers["Set-Cookie"] == "a=b; Path=/"
    assert "Sec-WebSocket-Protocol" not in response.headers


@given(st.sampled_from([400, 403, 405, 426, 503, 599]), st.text(max_size=50))
def test_a_refusal_is_one_whole_response_whatever_its_reason_says(status: int, reason: str) -> None:
    response = parse_response(refusal(RequestRefused(status, reason, (("Retry-After", "5"),))))
    assert response.status_code == status
    assert response.body == reason.encode(errors="replace")
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Connection"] == "close"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Retry-After"] == "5"
