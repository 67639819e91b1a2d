"""Openline: the real-time server for Python."""

from openline.app.openline import Openline
from openline.app.server import serve
from openline.app.settings import (
    ApiSettings,
    GateSettings,
    HttpSettings,
    HubSettings,
    LineSettings,
    Paths,
    Settings,
    SocketIoSettings,
)
from openline.app.socketio import Answers, Audience, Namespace, Socket
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
    "User",
    "__version__",
    "serve",
]
