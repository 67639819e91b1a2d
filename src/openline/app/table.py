"""The handlers of one namespace; every door but Socket.IO's leads to that of the default one."""

from collections.abc import Callable
from typing import Any

from openline.app.handler import Handler, View
from openline.errors import SettingsError
from openline.hub.connection import Connection
from openline.hub.ports import PlainHandler

__all__ = ["Table", "Word", "check_type"]

#: What the end of a connection is called, given what the hub calls it.
Word = Callable[[Connection, str], str]


class Table:
    """What is called when a client wants in, has come, says something, and has gone.

    ``listeners`` hear every event, ``otherwise`` takes those that have no handler.
    """

    def __init__(self) -> None:
        self.guards: list[Handler] = []
        self.connect: list[Handler] = []
        self.disconnect: list[tuple[Handler, Word]] = []
        self.listeners: list[Handler] = []
        self.otherwise: Handler | None = None
        #: By type, without ``otherwise``.
        self.events: dict[str, Handler] = {}
        #: Those of ``events`` that can be called with a connection and a payload, while nobody listens beside them.
        self.plain: dict[str, PlainHandler] = {}

    def find(self, type: str) -> Handler | None:
        """Who takes events of ``type``."""
        return self.events.get(type, self.otherwise)

    def add(self, type: str, function: Callable[..., Any], *, thread: bool = False, view: View | None = None) -> None:
        """Call ``function`` for events of ``type``, or with ``*`` for those that have no handler.

        Raises :class:`SettingsError` for a second one.
        """
        if type == "*" and view is not None:
            if self.otherwise is not None:
                raise SettingsError("event '*'", "has a handler already")
            self.otherwise = Handler(function, thread=thread, fixed=2, view=view)
            return
        check_type(type)
        if type in self.events:
            raise SettingsError(f"event {type!r}", "has a handler already")
        handler = self.events[type] = Handler(function, thread=thread, view=view)
        if handler.plain is not None and not self.listeners:
            self.plain[type] = handler.plain

    def listen(self, handler: Handler) -> None:
        """Have every event heard by ``handler``, before it is handled."""
        self.listeners.append(handler)
        self.plain.clear()


def check_type(type: str) -> None:
    """Raise :class:`SettingsError` for what no event can be called."""
    if type.startswith("$") or not 1 <= len(type) <= 128:
        raise SettingsError(f"event {type!r}", "has 1 to 128 characters and does not begin with $")
