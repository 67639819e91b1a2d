"""All settings of one server, frozen and checked once; each part gets only its own."""

from dataclasses import dataclass, field
from typing import Final

from openline.errors import SettingsError
from openline.hub.settings import HubSettings
from openline.transports.settings import GateSettings, LineSettings, Paths

__all__ = ["ENGINES", "GateSettings", "HubSettings", "LineSettings", "Paths", "Settings"]

ENGINES: Final = ("memory",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """``engine`` keeps the logs and links the nodes: ``memory``. The others are told apart by whom they concern."""

    engine: str = "memory"
    hub: HubSettings = field(default_factory=HubSettings)
    line: LineSettings = field(default_factory=LineSettings)
    gate: GateSettings = field(default_factory=GateSettings)
    paths: Paths = field(default_factory=Paths)

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise SettingsError("engine", f"{self.engine!r} is not known; there is: {', '.join(ENGINES)}")
