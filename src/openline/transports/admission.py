"""The gate in front of every door: Host, Origin, proxies, cookies, tokens.

Judged before anything is made for a request.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import ip_address

from openline.errors import RequestRefused
from openline.model import Request
from openline.transports.settings import GateSettings
from openline.transports.vouching import HEADER, Vouching

__all__ = ["TOKEN_PREFIX", "Gate", "join_headers"]

#: A subprotocol that begins with it carries the token behind it.
TOKEN_PREFIX = "openline.token."  # noqa: S105  a name, no secret

#: A browser gives up where none of what it offered is echoed, and a token never is.
_NOTHING_TO_ECHO = 'Offer a subprotocol beside the token: new WebSocket(url, ["openline.v1", "openline.token.…"])\n'
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
#: What some proxies say of a WebSocket.
_HTTP_SCHEMES = {"ws": "http", "wss": "https"}


class Gate:
    """Decides by ``settings``; the verdicts are RFC 6454 origins compared to the letter.

    Browsers send no Origin with a GET to the page's own origin, but say that it is one, which scripts cannot
    (``Sec-Fetch-Site: same-origin``, W3C Fetch Metadata): the origin is then our own.
    """

    def __init__(self, settings: GateSettings, vouching: Vouching | None = None) -> None:
        """``vouching``: how another node says whose request it passes on."""
        self._vouching = vouching
        self._any_origin = "*" in settings.allow_origins
        self._origins = frozenset(settings.allow_origins) - {"*"}
        self._hosts = frozenset(host.lower() for host in settings.allow_hosts) | {
            origin.partition("://")[2].rsplit(":", 1)[0] for origin in self._origins
        }
        self._proxies = settings.networks()

    def admit(
        self,
        *,
        path: str,
        query: str,
        headers: Sequence[tuple[bytes, bytes]],
        peer: str,
        secure: bool,
        subprotocols: Sequence[str] = (),
        method: str = "GET",
    ) -> Request:
        """The request as the application may see it.

        ``subprotocols`` are those that a WebSocket's client offers. Raises :class:`RequestRefused` (403, 400) with the
        remedy in its text.
        """
        given = join_headers(headers)
        return self.judge(path, query, given, peer=peer, secure=secure, subprotocols=subprotocols, method=method)

    def judge(
        self,
        path: str,
        query: str,
        given: Mapping[str, str],
        *,
        peer: str,
        secure: bool,
        subprotocols: Sequence[str] = (),
        method: str = "GET",
    ) -> Request:
        """As :meth:`admit`, for headers that are joined by name."""
        passed_on = given.get(HEADER)
        if passed_on is not None and self._vouching is not None:
            vouched = self._vouching.read(passed_on, method, path, query)
            peer, secure = (peer, secure) if vouched is None else vouched
        scheme, host, client = "https" if secure else "http", given.get("host", ""), peer
        trusted = self._trusts(peer)
        if trusted:
            forwarded = _last(given.get("x-forwarded-proto")).lower()
            scheme = _HTTP_SCHEMES.get(forwarded, forwarded) or scheme
            host = _last(given.get("x-forwarded-host")) or host
            client = self._client(given.get("x-forwarded-for"), peer)
        origin = given.get("origin")
        if origin is None and given.get("sec-fetch-site") == "same-origin":
            origin = own_origin(scheme, host)
        try:
            self._check_host(host)
            listed = self._check_origin(origin, scheme, host)
        except RequestRefused as refusal:
            if trusted or not any(name.startswith("x-forwarded-") for name in given):
                raise
            remedy = f"If {peer} is your proxy, start it with --trust-proxy {peer}\n"
            raise RequestRefused(refusal.status, refusal.reason + remedy) from None
        if origin is not None and subprotocols and all(name.startswith(TOKEN_PREFIX) for name in subprotocols):
            raise RequestRefused(400, _NOTHING_TO_ECHO)
        return Request(
            path=path,
            query=query,
            scheme=scheme,
            host=host,
            client=client,
            origin=origin,
            headers={
                name: value for name, value in given.items() if name not in _HIDDEN and (listed or name != "cookie")
            },
            token=_token(given.get("authorization"), subprotocols),
        )

    def shared_with(self, request: Request) -> dict[str, str]:
        """The headers that let the page of a request that was admitted read the answer (CORS; the Fetch standard).

        Credentials are for listed origins alone, as cookies are.
        """
        headers = {"vary": "Origin"}
        if request.origin is not None and request.origin != own_origin(request.scheme, request.host):
            headers["access-control-allow-origin"] = request.origin
            if request.origin in self._origins:
                headers["access-control-allow-credentials"] = "true"
        return headers

    def _trusts(self, peer: str) -> bool:
        if not self._proxies:
            return False
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)

    def _client(self, forwarded: str | None, peer: str) -> str:
        """The last address on the way that is no proxy of ours."""
        for hop in reversed((forwarded or "").split(",")):
            address = hop.strip()
            if address and not self._trusts(address):
                return address
        return peer

    def _check_host(self, host: str) -> None:
        """A name that we are not served under may be an attacker's, pointed at our address (DNS rebinding)."""
        name = _name_of(host.lower())
        if name == "localhost" or name.endswith(".localhost") or name in self._hosts or _is_address(name):
            return
        raise RequestRefused(
            403,
            f"This server is not known as {name[:200]!r}. If it is yours, "
            f'start it with --allow-host {name[:200]}, or make Openline(allow_hosts=["{name[:200]}"])\n',
        )

    def _check_origin(self, origin: str | None, scheme: str, host: str) -> bool:
        """Whether the origin is listed; raises where it is neither listed nor ours. No origin: not a browser."""
        if origin is None:
            return False
        if origin in self._origins:
            return True
        if origin != "null" and (self._any_origin or origin == own_origin(scheme, host)):
            return False
        if origin == "null":
            raise RequestRefused(403, "A page without an origin may not connect: serve it over HTTP, not as a file.\n")
        raise RequestRefused(
            403,
            f"Pages from {origin[:200]} may not connect here. If they are yours, "
            f'start it with --allow-origin {origin[:200]}, or make Openline(allow_origins=["{origin[:200]}"])\n',
        )


#: Seen by nobody: credentials that a browser adds by itself, and what has been taken out already.
_HIDDEN = frozenset({"authorization", "proxy-authorization", "sec-websocket-protocol", "sec-websocket-key"})


def join_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers by name; a list that is spread over several lines is one list (RFC 9110 §5.3).

    Raises :class:`RequestRefused` (400) for two hosts or two origins: somebody on the way may have read the other.
    """
    given: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        if name not in given:
            given[name] = value.decode("latin-1")
        elif name in ("host", "origin"):
            raise RequestRefused(400, f"The header {name} is there twice.\n")
        else:
            given[name] += ("; " if name == "cookie" else ", ") + value.decode("latin-1")
    return given


def own_origin(scheme: str, host: str) -> str:
    """The origin of our own pages under ``host`` (RFC 6454 §6.2: without the scheme's own port)."""
    return f"{scheme}://{host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"


def _last(value: str | None) -> str:
    return (value or "").rpartition(",")[2].strip()


def _name_of(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    # What is kept is bounded: no address is longer.
    return len(name) <= 64 and _parses(name)


@lru_cache(maxsize=1024)
def _parses(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _token(authorization: str | None, subprotocols: Sequence[str]) -> str | None:
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    for subprotocol in subprotocols:
        if subprotocol.startswith(TOKEN_PREFIX):
            return subprotocol.removeprefix(TOKEN_PREFIX)
    return None
