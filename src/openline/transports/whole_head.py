"""The head of a request for a WebSocket that came in one piece, as most do: read without making a server's HTTP."""

from urllib.parse import unquote

import httptools

from openline.accelerator import native
from openline.errors import RequestRefused
from openline.protocol.handshake import Upgrade, read_subprotocols, read_upgrade
from openline.transports.admission import join_headers

__all__ = ["Asked", "WholeHead", "read_asked", "split_target"]


class Asked:
    """A request for a WebSocket, read and checked: where to, with which headers, and how many bytes its head has.

    ``path`` is unquoted. ``headers`` are by name in lower case, a list that was spread over several lines as one.
    """

    __slots__ = ("headers", "path", "query", "size", "upgrade")

    def __init__(self, path: str, query: str, headers: dict[str, str], upgrade: Upgrade, size: int) -> None:
        self.path = path
        self.query = query
        self.headers = headers
        self.upgrade = upgrade
        self.size = size


def read_asked(data: bytes) -> Asked | None:
    """What ``data`` asks for, if that is a WebSocket, and the head is whole; None for anything else.

    Raises :class:`RequestRefused` where it asks for one in a way that cannot be.
    """
    plain = None if native is None else native.read_head(data)
    if plain is not None:
        return _plainly_asked(*plain)
    head = WholeHead.read(data)
    if head is None:
        return None
    upgrade = read_upgrade(head.method, head.version, head.headers)
    path, query = split_target(head.target)
    return Asked(unquote(path), query, join_headers(head.headers), upgrade, head.size)


def _plainly_asked(target: str, headers: dict[str, str], size: int) -> Asked:
    """What the native part has read and found good, but for subprotocols."""
    path, _, query = target.partition("?")
    offered = headers.get("sec-websocket-protocol")
    subprotocols = () if offered is None else read_subprotocols(offered.encode("latin-1"))
    upgrade = Upgrade(headers["sec-websocket-key"].encode(), subprotocols, headers.get("origin"), headers["host"])
    return Asked(unquote(path) if "%" in path else path, query, headers, upgrade, size)


class WholeHead:
    """What a first chunk of bytes holds of a request; whether that is an upgrade is up to :meth:`read`.

    ``headers`` have lower-case names. ``size`` is how many bytes belong to the head.
    """

    __slots__ = ("_requests", "headers", "method", "size", "target", "version")

    def __init__(self) -> None:
        self._requests = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.method = ""
        self.size = 0
        self.target = b""
        self.version = ""

    @classmethod
    def read(cls, data: bytes) -> "WholeHead | None":
        """The head that ``data`` begins with, if it is whole and asks for a WebSocket, and nothing comes before it."""
        if b"websocket" not in data.lower():
            return None
        head = cls()
        parser = httptools.HttpRequestParser(head)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            head.method = parser.get_method().decode("ascii")
            head.version = parser.get_http_version()
            head.size = upgrade.args[0]
        except httptools.HttpParserError:
            return None
        return head if head.size and head._requests == 1 and head._wants_websocket() else None

    def _wants_websocket(self) -> bool:
        return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self.headers)

    # -- called by the parser

    def on_message_begin(self) -> None:
        """A request begins."""
        self._requests += 1

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; the space around its value is no part of it (RFC 9110 §5.5), and the parser leaves some there."""
        self.headers.append((name.lower(), value.strip(b" \t")))


def split_target(target: bytes) -> tuple[str, str]:
    """The path, still quoted, and the query of a request's target; raises :class:`RequestRefused` for what is none."""
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError as error:
        raise RequestRefused(400, "The request's target is malformed.\n") from error
    return (url.path or b"").decode("latin-1"), (url.query or b"").decode("latin-1")
