"""What the publications of a channel are called for Socket.IO's clients, as the application says it."""

import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from openline.model import JsonBytes, Publication
from openline.protocol.socketio_codec import Spelling
from openline.protocol.strict_json import encode_json

__all__ = ["Spell", "make_spelling"]

#: Takes an event's type and payload; returns events, each with its one argument, or None for the event as it is.
Spell = Callable[[str, Any], Iterable[tuple[str, Any]] | None]

_log = logging.getLogger("openline")


def make_spelling(spell: Spell) -> Spelling:
    """``spell`` as codecs want it; where it fails, which is logged, a publication is told as it is."""

    def spelled(publication: Publication) -> list[tuple[str, JsonBytes]] | None:
        try:
            payload = publication.payload if publication.binary else msgspec.json.decode(publication.payload)
            said = spell(publication.type, payload)
            return None if said is None else [(name, encode_json(argument)) for name, argument in said]
        except Exception:
            _log.exception("The spelling of %s failed", publication.channel)
            return None

    return spelled
