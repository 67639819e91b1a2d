"""Every error that Openline raises or sends, with its code and whether a client should come back.

The peer's mistake is a :class:`ProtocolError` (the line closes), a command we turn down is a :class:`CommandError` (a
reply), the engine's trouble is a :class:`BrokerError` (a reply, temporary). Anything else is ours: logged, 1011.
"""

from enum import IntEnum, StrEnum

__all__ = [
    "BrokerError",
    "CloseCode",
    "CommandError",
    "ConnectError",
    "ErrorCode",
    "GoneError",
    "OpenlineError",
    "ProtocolError",
    "RequestRefused",
    "SettingsError",
    "our_failure",
    "told_of",
]


class ErrorCode(StrEnum):
    """Codes of error replies (``spec/protocol.md``, section 3) and of problems over HTTP (section 7)."""

    BAD_MESSAGE = "bad_message"
    BAD_FIELD = "bad_field"
    BAD_CHANNEL = "bad_channel"
    BAD_POSITION = "bad_position"
    BAD_PAYLOAD = "bad_payload"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_EVENT = "unknown_event"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    ALREADY_CONNECTED = "already_connected"
    TOO_MANY = "too_many"
    TOO_LARGE = "too_large"
    FAILED = "failed"
    UNAVAILABLE = "unavailable"
    BAD_METHOD = "bad_method"
    BAD_CONTENT_TYPE = "bad_content_type"
    TOO_SLOW = "too_slow"
    GAP = "gap"
    UNKNOWN_LINE = "unknown_line"
    NOT_FOUND = "not_found"


class CloseCode(IntEnum):
    """Codes that close a line (RFC 6455 §7.4 and ``spec/protocol.md``, section 5).

    4000–4499: the reason lies with the client, it stays away; 4500–4999: the reason may pass, it comes back.
    """

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    RESTART = 1012
    TRY_LATER = 1013
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    NOT_FOUND = 4404
    REPLACED = 4409
    DISCONNECTED = 4410
    SLOW = 4500
    NO_PONG = 4501


class OpenlineError(Exception):
    """The root of every error that Openline raises."""


class ProtocolError(OpenlineError):
    """The peer broke the protocol; its line closes with ``code``.

    ``reason`` is sent to the peer: at most 123 bytes of UTF-8, without internals.
    """

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class CommandError(OpenlineError):
    """A command is turned down; the sender gets an error reply and the connection stays.

    Handlers raise it, too: ``raise CommandError("muted", "You may write again in a minute.")``. ``code`` is a stable
    word, ``message`` is for people, ``field`` names what was wrong, ``retry`` says that the same may succeed later.
    """

    def __init__(self, code: str, message: str = "", *, field: str | None = None, retry: bool = False) -> None:
        super().__init__(code, message)
        self.code = str(code)
        self.message = message
        self.field = field
        self.retry = retry

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code


def our_failure() -> CommandError:
    """What a client is told where the application's code failed, or ours: nothing of the reason, which is logged."""
    return CommandError(ErrorCode.FAILED, "The server failed to handle this.")


def told_of(error: Exception) -> CommandError:
    """What a client is told of ``error``, which has come to where it is answered.

    A refusal as it is, the engine's trouble as temporary, anything else without internals: who asks logs that first.

    The frames that the error came through are let go of: some of them hold the outcome that holds the error, and what
    a client said would stay with them until the garbage collector comes round.
    """
    one: BaseException | None = error
    while one is not None and one.__traceback__ is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    if isinstance(error, CommandError):
        return error
    if isinstance(error, BrokerError):
        return CommandError(ErrorCode.UNAVAILABLE, "The engine did not answer; the outcome is unknown.", retry=True)
    return our_failure()


class ConnectError(CommandError):
    """Refuses a client that wants in: ``connect_error`` of Socket.IO's clients has ``message`` and ``data``.

    ``data`` is what JSON can hold. Other clients get the message, with the code ``forbidden``.
    """

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(ErrorCode.FORBIDDEN, message)
        self.data = data


class BrokerError(OpenlineError):
    """The engine did not answer; whether the publication was taken is unknown. Repeat with the same key."""


class GoneError(OpenlineError):
    """The client that was asked has gone for good, or went before it answered."""


class RequestRefused(OpenlineError):  # noqa: N818  a verdict, not a failure
    """An HTTP request, or the upgrade it asks for, is turned down before anything is made for it.

    ``status`` is the HTTP status, ``reason`` the body (plain text that names the remedy, without internals),
    ``headers`` go out with it.
    """

    def __init__(self, status: int, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class SettingsError(OpenlineError, ValueError):
    """A setting has a value that cannot work; ``setting`` names it and ``reason`` says what would."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(f"{setting}: {reason}")
        self.setting = setting
        self.reason = reason
