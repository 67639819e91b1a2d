"""The opening handshake of a WebSocket as the server reads and answers it (RFC 6455 §4.2), without I/O."""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from openline.errors import RequestRefused

__all__ = [
    "Upgrade",
    "accept_key",
    "read_subprotocols",
    "read_upgrade",
    "refusal",
    "response_head",
    "switching_protocols",
]

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # §1.3

# Headers by name in lower case: the values in order of arrival.
Given = Mapping[bytes, Sequence[bytes]]

# The answer to a client that offers no subprotocol, as most do.
SWITCHING: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)

# Every pattern is one run of one class: a match takes linear time, whatever it is given.
TOKEN: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 §5.6.2
KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")  # Base64 of 16 bytes
HOST: Final = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=:\[\]-]+")  # RFC 3986 §3.2: no user, no path
VISIBLE: Final = re.compile(rb"[\x21-\x7e]+")
FIELD_VALUE: Final = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 §5.5


class Upgrade(msgspec.Struct, frozen=True):
    """A WebSocket that a client asks for; ``origin`` is None only if the header was not sent."""

    key: bytes
    subprotocols: tuple[str, ...]
    origin: str | None
    host: str


def read_upgrade(method: str, http_version: str, headers: Sequence[tuple[bytes, bytes]]) -> Upgrade:
    """Check a request and return what it asks for; header names are in lower case.

    Raises :class:`~openline.errors.RequestRefused`: 405 for another method than GET, 426 for no WebSocket or not
    version 13, 400 for what no client sends by honest means. Whether host and origin are welcome is not asked here.
    """
    if method != "GET":
        raise RequestRefused(405, "A WebSocket begins with GET.", (("Allow", "GET"),))
    if http_version != "1.1":
        raise RequestRefused(400, "A WebSocket begins with HTTP/1.1.")
    given = _by_name(headers)
    _refuse_body(given)
    host = _single(given, b"host", HOST)
    if host is None:
        raise RequestRefused(400, "The Host header is missing.")
    if b"websocket" not in _list(given, b"upgrade") or b"upgrade" not in _list(given, b"connection"):
        raise RequestRefused(
            426, "This is a WebSocket: send Upgrade: websocket and Connection: Upgrade.", (("Upgrade", "websocket"),)
        )
    if _single(given, b"sec-websocket-version", VISIBLE) != "13":
        raise RequestRefused(
            426, "Only version 13 of WebSocket is spoken.", (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
        )
    key = _single(given, b"sec-websocket-key", KEY)
    if key is None:
        raise RequestRefused(400, "The Sec-WebSocket-Key header is missing.")
    offered = given.get(b"sec-websocket-protocol")
    subprotocols = read_subprotocols(None if offered is None else b",".join(offered))
    return Upgrade(key.encode(), subprotocols, _single(given, b"origin", VISIBLE), host)


def _by_name(headers: Sequence[tuple[bytes, bytes]]) -> Given:
    given: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values = given.get(name)
        if values is None:
            given[name] = [value.strip(b" \t")]
        else:
            values.append(value.strip(b" \t"))
    return given


def _single(given: Given, name: bytes, form: re.Pattern[bytes]) -> str | None:
    """Return the value of a header that may stand once; None if it does not stand at all."""
    values = given.get(name)
    if values is None:
        return None
    if len(values) > 1 or not form.fullmatch(values[0]):
        raise RequestRefused(400, f"The header {name.decode()} is there twice or malformed.")
    return values[0].decode()


def _list(given: Given, name: bytes) -> list[bytes]:
    """Return the elements of a comma-separated header in lower case, however many lines it is spread over."""
    return [element.strip(b" \t") for element in b",".join(given.get(name, ())).lower().split(b",")]


def _refuse_body(given: Given) -> None:
    # What follows the head is frames to us and would be a body to a proxy in front: that is how requests are smuggled.
    if b"transfer-encoding" in given or any(v != b"0" for v in given.get(b"content-length", ())):
        raise RequestRefused(400, "A WebSocket begins with a request without a body.")


def read_subprotocols(value: bytes | None) -> tuple[str, ...]:
    """Return what was offered, the client's favourite first; §4.1 wants tokens, each once.

    ``value`` is that of the header, None where it was not sent. Raises :class:`~openline.errors.RequestRefused`.
    """
    if value is None:
        return ()
    names = [name.strip(b" \t") for name in value.split(b",")]
    if len(set(names)) < len(names) or not all(map(TOKEN.fullmatch, names)):
        raise RequestRefused(400, "Sec-WebSocket-Protocol is a list of different tokens, separated by commas.")
    return tuple(name.decode() for name in names)


def accept_key(key: bytes) -> bytes:
    """Compute ``Sec-WebSocket-Accept`` (§4.2.2): proof of having read the request, no secret."""
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())


def switching_protocols(key: bytes, subprotocol: str | None, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """Build the response that opens the WebSocket; frames may follow it at once.

    ``subprotocol`` is one of those offered, or None. Raises ValueError for what may not stand in a header.
    """
    if subprotocol is None and not headers:
        return SWITCHING % accept_key(key)
    lines = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key).decode())]
    if subprotocol is not None:
        if not TOKEN.fullmatch(subprotocol.encode()):
            raise ValueError("a subprotocol is a token")
        lines.append(("Sec-WebSocket-Protocol", subprotocol))
    return response_head(101, [*lines, *headers])


def refusal(error: RequestRefused) -> bytes:
    """Build the whole response that turns a request down, after which the connection is closed.

    Raises ValueError if ``error.headers`` hold what may not stand in a header.
    """
    body = error.reason.encode(errors="replace")
    lines = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return response_head(error.status, [*lines, *error.headers]) + body


def response_head(status: int, headers: Iterable[tuple[str, str]]) -> bytes:
    """Build the head of an HTTP/1.1 response; ValueError for what may not stand in a header."""
    lines = [f"HTTP/1.1 {status} {_phrase(status)}".encode(), *(_line(name, value) for name, value in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"


def _line(name: str, value: str) -> bytes:
    """Build one header line; ValueError unless it is one line for every reader."""
    if not TOKEN.fullmatch(name.encode()):
        raise ValueError("a header's name is a token")
    raw = value.encode("latin-1")
    if not FIELD_VALUE.fullmatch(raw):
        raise ValueError(f"control character in the header {name}")
    return name.encode() + b": " + raw
