"""The channels of a line, and how they come back with it."""

from collections.abc import Mapping
from functools import partial

from openline.client.channel import Channel, Host, SubscribeOptions
from openline.client.frames import Frame
from openline.client.outbox import Outbox
from openline.client.requests import Requests
from openline.client.surroundings import Surroundings

__all__ = ["Subscriptions"]


class Subscriptions:
    """Channels by name; those that the server may still count us to are left as soon as there is a line."""

    def __init__(
        self,
        surroundings: Surroundings,
        outbox: Outbox,
        requests: Requests,
        inbox_bytes: int,
        kind: type[Channel] = Channel,
    ) -> None:
        self._outbox = outbox
        self._kind = kind
        self._host = Host(
            surroundings=surroundings,
            outbox=outbox,
            requests=requests,
            inbox_bytes=inbox_bytes,
            ended=self._forget,
            left=self._left,
        )
        self._channels: dict[str, Channel] = {}
        # Channels whose `$unsubscribe` was not answered yet.
        self._leaving: set[str] = set()
        self._ended: Exception | None = None

    def get(self, name: str) -> Channel | None:
        """The channel of this name, if there is one."""
        return self._channels.get(name)

    def join(self, name: str, options: SubscribeOptions) -> Channel:
        """The channel of this name: the one that is there, with its own options, or a new one."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._kind(name, options, self._host)
            if self._ended is None:
                self._channels[name] = channel
                channel.join()
            else:
                channel.end(self._ended)
        return channel

    def rejoin(self, recovered: Mapping[str, bool], seen: str | None) -> list[Channel]:
        """Make the server's subscriptions ours again; those that have lost something.

        ``recovered``: what the connection still has. ``seen``: the last position of the connection before.
        """
        for name in tuple(self._leaving):
            if name in recovered and name not in self._channels:
                self._leave(name)
            else:
                self._leaving.discard(name)
        gaps: list[Channel] = []
        for channel in tuple(self._channels.values()):
            whole = recovered.get(channel.name) if channel.live else None
            if whole is None:
                channel.rejoin(seen)
            else:
                channel.carry_on()
            if whole is False:
                gaps.append(channel)
        return gaps

    def lost(self) -> None:
        """The line broke."""
        for channel in self._channels.values():
            channel.lost()

    def end(self, read: Exception | None, wait: Exception) -> None:
        """It is over: what their readers get (None for the end of the iteration), and who waits or still comes."""
        self._ended = wait
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.end(read, wait)

    def _left(self, channel: Channel) -> None:
        if self._channels.get(channel.name) is channel:
            self._forget(channel)
            self._leaving.add(channel.name)
            self._leave(channel.name)

    def _leave(self, name: str) -> None:
        self._outbox.call({"type": "$unsubscribe", "channel": name}, partial(self._has_left, name))

    def _has_left(self, name: str, _: Frame) -> None:
        self._leaving.discard(name)

    def _forget(self, channel: Channel) -> None:
        if self._channels.get(channel.name) is channel:
            del self._channels[channel.name]
