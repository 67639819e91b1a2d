"""All settings of one server, frozen and checked once; each part gets only its own."""

from dataclasses import dataclass, field

from openline.hub.settings import HubSettings
from openline.transports.settings import GateSettings, LineSettings, Paths

__all__ = ["GateSettings", "HubSettings", "LineSettings", "Paths", "Settings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``engine`` keeps the logs and links the nodes: ``memory``. The others are told apart by whom they concern."""

    engine: str = "memory"
    hub: HubSettings = field(default_factory=HubSettings)
    line: LineSettings = field(default_factory=LineSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    paths: Paths = field(default_factory=Paths)
