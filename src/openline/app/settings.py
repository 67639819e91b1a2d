"""All settings of one server, frozen and checked once; each part gets only its own."""

import os
from dataclasses import dataclass, field
from typing import Final

from openline.app.engine import check_engine
from openline.errors import SettingsError
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

#: Characters of a secret that two machines share.
LEAST_KEY: Final = 16


def _key_of_environment() -> str:
    return os.environ.get("OPENLINE_CLUSTER_KEY", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``engine`` keeps the logs and links the nodes: ``memory`` (``?bytes=NUMBER``: what all logs may take),
    ``sqlite:PATH`` (``?synced=1``: each commit waits for the disk), or ``redis://HOST`` and its kin (docs/redis.md).
    ``cluster_key`` is a secret that all nodes share: they believe nothing that is not signed with it; unless given, it
    is the environment's ``OPENLINE_CLUSTER_KEY``. The others are told apart by whom they concern.
    """

    engine: str = "memory"
    cluster_key: str = field(default_factory=_key_of_environment, repr=False)
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
        if self.cluster_key and len(self.cluster_key) < LEAST_KEY:
            raise SettingsError("cluster_key", f"a secret has {LEAST_KEY} characters at least: openssl rand -hex 32")
