"""Openline: the real-time server for Python."""

from openline.app.openline import Openline
from openline.app.server import serve
from openline.app.settings import GateSettings, HttpSettings, HubSettings, LineSettings, Paths, Settings
from openline.errors import BrokerError, CloseCode, CommandError, ErrorCode, GoneError, OpenlineError, SettingsError
from openline.hub.connection import Connection
from openline.hub.outcome import Outcome
from openline.hub.policy import History, Presence
from openline.model import Position, Request, User
from openline.version import VERSION

__version__ = VERSION

__all__ = [
    "BrokerError",
    "CloseCode",
    "CommandError",
    "Connection",
    "ErrorCode",
    "GateSettings",
    "GoneError",
    "History",
    "HttpSettings",
    "HubSettings",
    "LineSettings",
    "Openline",
    "OpenlineError",
    "Outcome",
    "Paths",
    "Position",
    "Presence",
    "Request",
    "Settings",
    "SettingsError",
    "User",
    "__version__",
    "serve",
]
