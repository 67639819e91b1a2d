"""The head of a request for a WebSocket that came in one piece, as most do: read without making a server's HTTP."""

import httptools

from openline.errors import RequestRefused

__all__ = ["WholeHead", "split_target"]


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
        """A header."""
        self.headers.append((name.lower(), value))


def split_target(target: bytes) -> tuple[str, str]:
    """The path, still quoted, and the query of a request's target; raises :class:`RequestRefused` for what is none."""
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserInvalidURLError as error:
        raise RequestRefused(400, "The request's target is malformed.\n") from error
    return (url.path or b"").decode("latin-1"), (url.query or b"").decode("latin-1")
