"""All settings of one server, frozen and checked once; each part gets only its own."""

from dataclasses import dataclass, field

from openline.app.engine import check_engine
from openline.hub.drain import DrainSettings
from openline.hub.settings import HubSettings
from openline.transports.settings import (
    ApiSettings,
    GateSettings,
    HttpSettings,
    LineSettings,
    Paths,
    SocketIoSettings,
)

__all__ = [
    "ApiSettings",
    "DrainSettings",
    "GateSettings",
    "HttpSettings",
    "HubSettings",
    "LineSettings",
    "Paths",
    "Settings",
    "SocketIoSettings",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``engine`` keeps the logs and links the nodes: ``memory`` (``?bytes=NUMBER``: what all logs may take), or
    ``sqlite:PATH`` (``?synced=1``: each commit waits for the disk). The others are told apart by whom they concern.
    """

    engine: str = "memory"
    hub: HubSettings = field(default_factory=HubSettings)
    line: LineSettings = field(default_factory=LineSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    api: ApiSettings = field(default_factory=ApiSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    paths: Paths = field(default_factory=Paths)
    socketio: SocketIoSettings = field(default_factory=SocketIoSettings)
    drain: DrainSettings = field(default_factory=DrainSettings)

    def __post_init__(self) -> None:
        check_engine(self.engine)
