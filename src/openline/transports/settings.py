"""The settings of lines: what may be sent before and after the gate, how long each phase may take, who is let in."""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from openline.errors import SettingsError

__all__ = ["ApiSettings", "GateSettings", "HttpSettings", "LineSettings", "Paths", "SocketIoSettings"]

# What a browser writes into Origin (RFC 6454 §6.2), and what stands in Host before the port.
_ORIGIN: Final = re.compile(r"(?!http://.*:80$|https://.*:443$)https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._-]+)+")
_COOKIE: Final = re.compile(r"[A-Za-z0-9._-]+")
_API_KEY: Final = re.compile(r"[!-~]{16,256}")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:]+\]?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSettings:
    """What one line may cost and how long it may be silent."""

    max_message_bytes: int = 65_536
    max_fragments: int = 1024
    outbox_bytes: int = 1_048_576
    ping_every_seconds: float = 25.0
    pong_within_seconds: float = 20.0
    connect_within_seconds: float = 10.0
    silent_after_seconds: float = 1.0
    head_within_seconds: float = 10.0
    max_head_bytes: int = 32_768
    close_within_seconds: float = 5.0
    stalled_after_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.outbox_bytes < 2 * self.max_message_bytes:
            raise SettingsError("outbox_bytes", "must hold at least two messages (max_message_bytes)")
        if self.max_message_bytes < 1024:
            raise SettingsError("max_message_bytes", "is 1024 or more")
        if self.connect_within_seconds <= self.silent_after_seconds:
            raise SettingsError("connect_within_seconds", "must be longer than silent_after_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSettings:
    """What requests over HTTP may cost, and how long they may take and wait.

    ``retry_seconds``: when a client is to come back once its event stream has ended, give or take a half.
    ``max_wait_seconds``: how long a poll may wait. ``max_waiting``: how many may do so at once, and
    ``max_waiting_per_client`` of one address. ``ticket_seconds``: how long a ticket is good. ``max_tickets``: how many
    that were not shown yet may be out at once, and ``max_tickets_per_client`` of one address.
    """

    body_within_seconds: float = 10.0
    retry_seconds: float = 2.0
    max_wait_seconds: float = 25.0
    max_waiting: int = 10_000
    max_waiting_per_client: int = 500
    ticket_seconds: float = 30.0
    max_tickets: int = 10_000
    max_tickets_per_client: int = 500

    def __post_init__(self) -> None:
        if self.retry_seconds <= 0 or self.body_within_seconds <= 0 or self.ticket_seconds <= 0:
            raise SettingsError("retry_seconds", "is more than 0, as are body_within_seconds and ticket_seconds")
        if self.max_wait_seconds < 0:
            raise SettingsError("max_wait_seconds", "is 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Who may use the backend API, and how much one request may bring.

    ``keys``: 16 to 256 printable ASCII characters without blanks each; without any the API is off.
    """

    # Not shown: settings end up in logs.
    keys: tuple[str, ...] = field(default=(), repr=False)
    max_body_bytes: int = 1_048_576

    def __post_init__(self) -> None:
        for key in self.keys:
            if not _API_KEY.fullmatch(key):
                raise SettingsError(
                    "api_keys",
                    f"a key has 16 to 256 printable ASCII characters without blanks, not {len(key)} like one of these; "
                    "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one",
                )
        if self.max_body_bytes < 1024:
            raise SettingsError("max_body_bytes", "is 1024 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where the doors are.

    ``json`` is a whole connection: a WebSocket there, or plain HTTP there and below. ``lobby`` is a channel that a
    WebSocket at ``/`` opens the raw door to, and what event streams and polls mean that name none; None for none.
    """

    json: str = "/openline"
    raw: str = "/raw"
    events: str = "/events"
    messages: str = "/api/messages"
    ticket: str = "/ticket"
    api: str = "/api/v1"
    lobby: str | None = None

    def is_for_programs(self, path: str) -> bool:
        """Whether programs, and not people, read what is at ``path``: below the backend API, or beside the messages."""
        beside = self.messages.rpartition("/")[0] or self.messages
        return f"{path}/".startswith((f"{self.api}/", f"{beside}/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketIoSettings:
    """How Socket.IO's clients are served.

    ``path`` is where; None for nowhere. ``transports`` are out of ``polling`` and ``websocket``. Clients are pinged
    every ``ping_interval_seconds`` and have ``ping_timeout_seconds`` to answer. ``max_payload_bytes`` limits a message,
    the body of a POST, and the attachments of one packet together. A session that has not connected to any namespace
    within ``connect_within_seconds`` ends, and so does one whose attachments do not come; an upgrade that is not
    through within ``upgrade_within_seconds`` is given up. ``recovery``: who comes back within the hub's window goes on
    where it was; every event then carries its position as one more argument, as with Socket.IO's own servers.
    ``cookie`` names a cookie with the session's id for load balancers that need one. ``max_namespaces`` is how many one
    session may connect to at a time. ``max_values`` limits the values in the JSON of one message, about: arrays and
    objects count twice; with attachments it may have a fifth of that.
    """

    path: str | None = "/socket.io"
    transports: tuple[str, ...] = ("polling", "websocket")
    ping_interval_seconds: float = 25.0
    ping_timeout_seconds: float = 20.0
    max_payload_bytes: int = 1_000_000
    connect_within_seconds: float = 10.0
    upgrade_within_seconds: float = 10.0
    recovery: bool = False
    cookie: str | None = None
    max_namespaces: int = 64
    max_values: int = 50_000

    def __post_init__(self) -> None:
        if self.path is not None and not _PATH.fullmatch(self.path):
            raise SettingsError(
                "socketio.path", "begins with /, does not end with it, and has letters, digits, . _ - /"
            )
        if not self.transports or not set(self.transports) <= {"polling", "websocket"}:
            raise SettingsError("socketio.transports", "are polling, websocket, or both")
        if self.ping_interval_seconds < 0.001 or self.ping_timeout_seconds < 0.001:
            raise SettingsError("socketio.ping_interval_seconds", "is at least a millisecond, as is the timeout")
        if self.max_payload_bytes < 1024:
            raise SettingsError("socketio.max_payload_bytes", "is 1024 or more")
        if self.max_values < 1000:
            raise SettingsError("socketio.max_values", "is 1000 or more")
        if self.cookie is not None and not _COOKIE.fullmatch(self.cookie):
            raise SettingsError("socketio.cookie", "is a name of letters, digits, . _ -")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Who may come in.

    ``allow_origins``: pages of other sites, as ``https://app.example.com``; their cookies count, too.
    ``allow_hosts``: names we are served under, beside IP addresses and localhost. ``trusted_proxies``: addresses or
    networks whose ``X-Forwarded-*`` headers are believed.
    """

    allow_origins: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for origin in self.allow_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise SettingsError(
                    "allow_origins",
                    f"{origin!r} is no origin; write it as https://app.example.com, in lower case, without a path "
                    "and without the port that the scheme has anyway",
                )
        for host in self.allow_hosts:
            if not _NAME.fullmatch(host):
                raise SettingsError(
                    "allow_hosts", f"{host!r} is no name; write it as app.example.com, without a scheme or a port"
                )
        self.networks()

    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """``trusted_proxies`` as networks."""
        try:
            return tuple(ip_network(entry, strict=False) for entry in self.trusted_proxies)
        except ValueError as error:
            raise SettingsError("trusted_proxies", str(error)) from error
