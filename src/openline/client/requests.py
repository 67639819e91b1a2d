"""What a client asks of the server, and what it makes of the answers."""

from typing import Any

from openline.client.events import History, Presence
from openline.client.frames import Frame, answer_of, history_of, unwrap, wrap
from openline.client.outbox import EVENT, PUBLICATION, READ, Outbox
from openline.protocol.channel_name import check_event

__all__ = ["Requests"]


class Requests:
    """Commands by way of the outbox. All of them raise :class:`CommandError` and :class:`GoneError`."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def publish(
        self, channel: str, type: str, payload: Any, *, key: str | None, volatile: bool, echo: bool
    ) -> Any:
        """See :meth:`~openline.client.Line.publish`."""
        frame: dict[str, Any] = {"type": check_event(type), "channel": channel, **wrap(payload)}
        if not echo:
            frame["echo"] = False
        if volatile:
            frame["volatile"] = True
            return _outcome(await self._outbox.drop_or_send(frame))
        return _outcome(await self._outbox.submit(PUBLICATION, frame, lane=f"channel {channel}", key=key))

    async def event(self, type: str, payload: Any, *, key: str | None = None, within: float | None = None) -> Any:
        """See :meth:`~openline.client.Line.emit`."""
        frame = {"type": check_event(type), **wrap(payload)}
        return unwrap(await self._outbox.submit(EVENT, frame, lane="event", key=key, within=within))

    async def history(self, channel: str, *, limit: int | None, before: str | None, since: str | None) -> History:
        """See :meth:`~openline.client.Line.history`."""
        frame = {"type": "$history", "channel": channel, "limit": limit, "before": before, "since": since}
        return history_of(await self._outbox.submit(READ, frame, lane="read"))

    async def presence(self, channel: str, *, limit: int | None, after: int | None) -> Presence:
        """See :meth:`~openline.client.Line.presence`."""
        frame = {"type": "$presence", "channel": channel, "limit": limit, "after": after}
        reply = await self._outbox.submit(READ, frame, lane="read")
        return answer_of(reply.payload, Presence)


def _outcome(reply: Frame | None) -> Any:
    """The position, or what a handler of the application returned; None where nothing is kept."""
    payload: Any = None if reply is None else unwrap(reply)
    if payload == {}:
        return None
    try:
        return payload["position"] if payload.keys() == {"position"} else payload
    except AttributeError:  # no mapping
        return payload
