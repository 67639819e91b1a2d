"""Openline: the real-time server for Python."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from openline.app.audience import Answers, Audience
from openline.app.openline import Openline
from openline.app.server import serve
from openline.app.settings import (
    ApiSettings,
    DrainSettings,
    GateSettings,
    HttpSettings,
    HubSettings,
    LineSettings,
    Paths,
    Settings,
    SocketIoSettings,
)
from openline.app.socketio import Namespace, Socket
from openline.client.tries import UnansweredError
from openline.errors import (
    BrokerError,
    CloseCode,
    CommandError,
    ConnectError,
    ErrorCode,
    GoneError,
    OpenlineError,
    SettingsError,
)
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome
from openline.hub.policy import History, Presence
from openline.model import Position, Request, User
from openline.version import VERSION

if TYPE_CHECKING:
    from openline.client.async_publisher import AsyncPublisher as AsyncPublisher
    from openline.client.publisher import Publisher as Publisher

__version__ = VERSION

__all__ = [
    "Answers",
    "ApiSettings",
    "Audience",
    "BrokerError",
    "CloseCode",
    "CommandError",
    "ConnectError",
    "Connection",
    "DrainSettings",
    "ErrorCode",
    "GateSettings",
    "GoneError",
    "History",
    "HttpSettings",
    "HubSettings",
    "LineSettings",
    "Namespace",
    "Openline",
    "OpenlineError",
    "Outcome",
    "Paths",
    "Position",
    "Presence",
    "Request",
    "Settings",
    "SettingsError",
    "Socket",
    "SocketIoSettings",
    "UnansweredError",
    "User",
    "__version__",
    "serve",
]

#: They need httpx, which the server does not: imported when asked for.
_PUBLISHERS: Final = {
    "AsyncPublisher": "openline.client.async_publisher",
    "Publisher": "openline.client.publisher",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLISHERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_PUBLISHERS[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "httpx":
            raise
        raise ImportError(f"{name} needs httpx: pip install 'openline[publisher]'") from error
