"""Short polls, long polls and publications, each one request of its own: ``/api/messages``."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from openline.errors import CommandError, ErrorCode
from openline.hub.outcome import Outcome, drive
from openline.hub.policy import Action
from openline.hub.reading import MAX_READ, GapError
from openline.hub.visits import Visits
from openline.model import Position, Publication, User
from openline.protocol.json_codec import decode_command, message_json
from openline.transports.doors import Doors
from openline.transports.exchange import Exchange
from openline.transports.settings import HttpSettings
from openline.transports.waiting import Waiting

__all__ = ["Messages", "idempotency_key"]

POSITION_HEADER: Final = "openline-position"
_NUMBER: Final = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_KEY: Final = re.compile(r'"([\x20\x21\x23-\x7e]{1,64})"|([\x21\x23-\x7e]{1,64})')


class Messages:
    """Answers for the channels that a request names; ``lobby`` is meant where it names none."""

    def __init__(
        self, doors: Doors, visits: Visits, waiting: Waiting, settings: HttpSettings, lobby: str | None
    ) -> None:
        self._doors = doors
        self._waiting = waiting
        self._visits = visits
        self._settings = settings
        self._lobby = lobby

    async def get(self, exchange: Exchange) -> None:
        """What was published behind ``since``, at once, or with ``wait`` as soon as there is something."""
        names = tuple(dict.fromkeys(exchange.query.get("channel") or ([self._lobby] if self._lobby else [])))
        if not names:
            raise CommandError(ErrorCode.BAD_FIELD, "Say which channel: ?channel=NAME.", field="channel")
        since = _since(exchange.parameter("since"))
        limit = max(1, min(int(_number(exchange, "limit", MAX_READ)), MAX_READ))
        wait = _number(exchange, "wait", 0)
        if wait > self._settings.max_wait_seconds:
            most = self._settings.max_wait_seconds
            raise CommandError(ErrorCode.BAD_FIELD, f"A poll may wait {most:g} seconds at most.", field="wait")
        visitor = await drive(self._visits.visitor(self._who(exchange)))
        channels = await drive(self._visits.demand(visitor, names, Action.SUBSCRIBE, Action.SEE_HISTORY))
        try:
            if wait > 0 and exchange.method == "GET":
                if self._doors.hub.lifecycle.closing:
                    # Another node may have the patience.
                    raise CommandError(ErrorCode.UNAVAILABLE, "The server restarts.", retry=True)
                reading = await self._waiting.wait(
                    exchange, wait, lambda enough: self._visits.wait(visitor, channels, since, limit, enough)
                )
            else:
                reading = await drive(self._visits.read(visitor, names, since, limit))
        except GapError as gap:
            position = str(gap.position)
            await exchange.refuse(gap, {POSITION_HEADER: position}, position=position)
            return
        if self._visits.revoked(visitor, names):
            # Whoever asks again, from where it stood, is judged again.
            await _tell(exchange, (), since)
        else:
            await _tell(exchange, reading.publications, reading.position)

    async def post(self, exchange: Exchange) -> None:
        """Publish what the body says, with the permissions of a client."""
        exchange.demand_json()
        body = await exchange.body(self._doors.settings.max_message_bytes, self._settings.body_within_seconds)
        # Whoever posts waits for the answer, by whatever name.
        command = msgspec.structs.replace(decode_command(body), id=0)
        key = exchange.request.headers.get("idempotency-key")
        if key is not None:
            command = msgspec.structs.replace(command, key=idempotency_key(key, command.key))
        if command.channel is None and self._lobby is not None:
            command = msgspec.structs.replace(command, channel=self._lobby)
        visitor = await drive(self._visits.visitor(self._who(exchange)))
        await exchange.answer(await drive(self._visits.publish(visitor, command)))

    def _who(self, exchange: Exchange) -> Outcome[User | None]:
        return self._doors.hub.application.authenticate(exchange.request.token, exchange.request)


async def _tell(exchange: Exchange, publications: Sequence[Publication], position: Position | None) -> None:
    """Answer with a list; the position goes on even where the list is the one that the client has."""
    body = b"[%b]" % b",".join(map(message_json, publications))
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    headers = {
        "cache-control": "private, no-cache",
        "etag": etag,
        "vary": "Origin, Authorization",
        POSITION_HEADER: str(position or 0),
    }
    known = etag in exchange.request.headers.get("if-none-match", "")
    await exchange.answer(body, status=304 if known else 200, headers=headers)


def _since(text: str | None) -> Position | None:
    """Where the client stands; None for the beginning."""
    return None if text in (None, "0") else Position.parse(text)


def _number(exchange: Exchange, name: str, otherwise: float) -> float:
    text = exchange.parameter(name)
    if text is None:
        return otherwise
    if _NUMBER.fullmatch(text) is None:
        raise CommandError(ErrorCode.BAD_FIELD, f"`{name}` is a number.", field=name)
    return float(text)


def idempotency_key(header: str, said: str | None) -> str:
    """The key in the header ``Idempotency-Key``, in quotes or not; ``said`` is the one of the body.

    Raises :class:`CommandError` (``bad_field``) for what is none, and for two that differ.
    """
    match = _KEY.fullmatch(header)
    key = None if match is None else match[1] or match[2]
    if key is None or said not in (None, key):
        message = "An Idempotency-Key has 1 to 64 printable characters, and is the key of the body where that has one."
        raise CommandError(ErrorCode.BAD_FIELD, message, field="key")
    return key
