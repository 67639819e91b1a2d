"""Openline's own files over HTTP: the SDK, the demo, health.

Read once, found by exact path, so no path leads anywhere else.
"""

import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

__all__ = ["Page", "client_pages", "file_page", "lacks_client", "respond", "sdk_pages", "text_page", "tree"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "map": "application/json",
}
_CSP: Final = (
    "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
)
#: The stock client: for a script element, the same in few bytes, and as a module.
_CLIENT: Final = tuple(
    name + ending for name in ("socket.io.js", "socket.io.min.js", "socket.io.esm.min.js") for ending in ("", ".map")
)
_FORBIDDEN: Final = re.compile(rb"q=0(\.0*)?")

# Comments that have their lines to themselves: what stands beside code, or in a string, is left alone.
_COMMENTS: Final = re.compile(rb"^[ \t]*(?://[^\n]*|/\*(?:(?!\*/).)*\*/[ \t]*)\n", re.MULTILINE | re.DOTALL)


class Page:
    """One file, ready to be sent, also compressed; ``guarded`` adds the Content-Security-Policy of our own pages."""

    def __init__(self, body: bytes, content_type: str, *, cache: str = "no-cache", guarded: bool = False) -> None:
        self.body = body
        self.zipped = gzip.compress(body, 9, mtime=0) if len(body) > 512 else None
        self.etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {
            "content-type": content_type,
            "cache-control": cache,
            "etag": self.etag,
            "x-content-type-options": "nosniff",
        }
        if guarded:
            headers |= {"content-security-policy": _CSP, "referrer-policy": "no-referrer"}
        self.headers: Mapping[str, str] = headers


def text_page(text: str, **headers: str) -> Page:
    """A line of plain text that is not to be kept; ``headers`` go out with it."""
    page = Page(text.encode(), "text/plain; charset=utf-8", cache="no-store")
    page.headers = {**page.headers, **headers}
    return page


def file_page(path: Path) -> Page:
    """The file at ``path``; raises :class:`OSError` where it cannot be read."""
    return Page(path.read_bytes(), _TYPES.get(path.suffix[1:], "application/octet-stream"))


def tree(folder: Traversable, prefix: str) -> dict[str, Page]:
    """A page for every file below ``folder`` whose kind is known, by its path below ``prefix``."""
    pages: dict[str, Page] = {}
    for entry in folder.iterdir():
        if entry.is_dir():
            pages |= tree(entry, f"{prefix}{entry.name}/")
        elif (kind := entry.name.rpartition(".")[2]) in _TYPES:
            pages[f"{prefix}{entry.name}"] = Page(entry.read_bytes(), _TYPES[kind], guarded=True)
    return pages


@cache
def sdk_pages() -> Mapping[str, Page]:
    """The browser SDK: ``/openline.js`` and its modules beside it, without comments, which are a third of them."""
    pages = tree(files("openline").joinpath("web", "sdk"), "/")
    scripts = {path: page for path, page in pages.items() if path.endswith(".js")}
    return {path: Page(_COMMENTS.sub(b"", page.body), _TYPES["js"], guarded=True) for path, page in scripts.items()}


@cache
def client_pages(base: str | None) -> Mapping[str, Page]:
    """The stock Socket.IO client below ``base``, as far as it was fetched; pages of any origin may have it."""
    if base is None:
        return {}
    folder = files("openline").joinpath("web", "socketio")
    found = {f"{base}/{name}": folder.joinpath(name) for name in _CLIENT}
    pages = {
        path: Page(entry.read_bytes(), _TYPES[path.rpartition(".")[2]])
        for path, entry in found.items()
        if entry.is_file()
    }
    for page in pages.values():
        page.headers = {**page.headers, "access-control-allow-origin": "*"}
    return pages


def lacks_client(base: str | None, path: str) -> bool:
    """Whether ``path`` is a file of the stock client that was not fetched."""
    name = path.removeprefix(f"{base}/")
    return base is not None and name in _CLIENT and name != path and path not in client_pages(base)


def _takes_gzip(accepted: bytes) -> bool:
    """Whether ``Accept-Encoding`` names gzip, and not in order to forbid it (RFC 9110 §12.5.3)."""
    entries = (entry.replace(b" ", b"").lower().partition(b";") for entry in accepted.split(b","))
    return any(coding == b"gzip" and not _FORBIDDEN.fullmatch(weight) for coding, _, weight in entries)


async def respond(page: Page, scope: MutableMapping[str, Any], send: Send, *, status: int = 200) -> None:
    """Answer a GET or HEAD with ``page``: 304 where the client has it already, compressed where it may be."""
    given = {name: value for name, value in scope["headers"] if name in (b"if-none-match", b"accept-encoding")}
    headers = [(name.encode(), value.encode()) for name, value in page.headers.items()]
    body = page.body
    if status == 200 and page.etag.encode() in given.get(b"if-none-match", b""):
        status, body = 304, b""
    elif page.zipped is not None and _takes_gzip(given.get(b"accept-encoding", b"")):
        body = page.zipped
        headers += [(b"content-encoding", b"gzip")]
    if page.zipped is not None:
        headers += [(b"vary", b"accept-encoding")]
    if status != 304:
        headers += [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
