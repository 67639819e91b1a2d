"""The engine that keeps its logs in a file: one node, whose history, positions and keys survive the process."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from openline.brokers.log import LOGS_BYTES, Logs
from openline.brokers.sqlite_entry import Entry, Kind
from openline.brokers.sqlite_file import open_store
from openline.brokers.sqlite_reader import Reader, Reading
from openline.brokers.sqlite_rows import encode_body
from openline.brokers.sqlite_thread import WriterThread
from openline.errors import BrokerError, CommandError, ErrorCode
from openline.hub.outcome import Outcome
from openline.hub.ports import BrokerListener
from openline.hub.timers import Timers
from openline.model import Page, Position, Publication, Retention
from openline.protocol.channel_name import INTERNAL

__all__ = ["SqliteBroker"]

SWEEP_SECONDS: Final = 60.0
#: Bytes that may wait to be written.
WAITING_BYTES: Final = 16 * 1024 * 1024

_DONE: Final[Outcome[None]] = Outcome.of(None)
_log = logging.getLogger("openline")


class SqliteBroker:
    """The engine in a file; see :class:`openline.hub.ports.Broker` for what each method promises.

    An outcome of a publish settles once it is committed. With ``synced`` that means on the disk; without, it survives
    the end of the process, however that comes, but not of the operating system: then there is a new epoch, and clients
    are told. More than ``waiting_bytes`` that wait to be written are refused.

    Our own channels (``$…``) have their logs in memory: nobody can come back to them in another process.
    """

    def __init__(
        self,
        path: str,
        *,
        loop: asyncio.AbstractEventLoop,
        timers: Timers,
        synced: bool = False,
        waiting_bytes: int = WAITING_BYTES,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._loop = loop
        self._timers = timers
        self._synced = synced
        self._waiting_bytes = waiting_bytes
        self._wall = wall
        self._epoch = ""
        #: The newest stamp that was handed over.
        self._stamp = 0
        #: The store's time in milliseconds when the timers stood at zero. The clock of the day is asked only once, so
        #: its jumps do no harm.
        self._zero = 0
        self._wanted: set[str] = set()
        self._direct = Logs(LOGS_BYTES, self._wanted)
        self._listener: BrokerListener | None = None
        self._writer: WriterThread | None = None
        self._reader: Reader | None = None
        self._closed: Outcome[None] | None = None
        #: What waits to be handed over: how many, and all bytes that wait.
        self._waiting = self._waiting_size = 0

    @property
    def position(self) -> Position:
        """See :class:`~openline.hub.ports.Broker`."""
        return Position(self._epoch, self._stamp)

    @property
    def trouble(self) -> str | None:
        """See :class:`~openline.hub.ports.Broker`."""
        return None

    def start(self, listener: BrokerListener) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`.

        Opens and checks the file before it returns, which takes time with its size. Raises
        :class:`~openline.errors.SettingsError`, which says what is wrong with the file and what to do.
        """
        store = open_store(self._path, synced=self._synced, wall=self._wall())
        if store.renewed:
            _log.warning(
                "%s may have lost its end: clients that come back are told that they may have missed something",
                store.path,
            )
        self._listener = listener
        self._epoch, self._stamp = store.state.epoch, store.state.stamp
        self._direct = Logs(LOGS_BYTES, self._wanted, begun=self._stamp)
        self._zero = store.state.at - int(self._timers.now * 1000)
        self._writer = WriterThread(store, self._wanted, self._loop, self._hand_over, self._let_go)
        self._reader = Reader(store.path, self._loop)
        self._reader.start()
        self._writer.start(self._reader)
        self._timers.after(SWEEP_SECONDS, self._sweep_again)
        return _DONE

    def close(self) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`; what waits is committed first."""
        self._listener = None
        if self._closed is None:
            self._closed = Outcome()
            if self._writer is None:
                self._closed.settle(None)
            else:
                self._writer.put(Entry(Kind.STOP, "", self._at))
        return self._closed

    @property
    def _at(self) -> int:
        return self._zero + int(self._timers.now * 1000)

    # -- publishing

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        """See :class:`~openline.hub.ports.Broker`."""
        direct = publication.channel.startswith(INTERNAL)
        try:
            body = b"" if direct else encode_body(publication)
            (key or "").encode()
        except UnicodeEncodeError:
            return Outcome.failed(CommandError(ErrorCode.BAD_FIELD, "There is text in it that is not Unicode."))
        kind = Kind.DIRECT if direct else Kind.APPEND
        entry = Entry(kind, publication.channel, self._at, publication, retention, key, body)
        writer = self._writer
        if direct and key is None and not self._waiting and writer is not None and self._closed is None:
            stamp = writer.stamp_at_once()
            if stamp is not None:
                entry.stamp = stamp
                self._tell(entry)
                return entry.outcome
        self._put(entry)
        return entry.outcome

    def scatter(self, publication: Publication) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`; it waits behind what was published ahead of it."""
        if not self._waiting:
            self._pass_on(publication)
            return _DONE
        entry = Entry(Kind.SCATTER, publication.channel, self._at, publication)
        self._put(entry)
        scattered: Outcome[None] = Outcome()
        entry.outcome.then(lambda outcome: _copy_failure(outcome, scattered))
        return scattered

    def _put(self, entry: Entry) -> None:
        """Hand ``entry`` to the writer, or fail it where there is none, or no room."""
        if self._writer is None or self._closed is not None:
            entry.outcome.fail(BrokerError("the engine is closed"))
        elif self._waiting_size and self._waiting_size + entry.size > self._waiting_bytes:
            entry.outcome.fail(BrokerError("the engine's store does not keep up"))
        else:
            self._waiting += entry.told
            self._waiting_size += entry.size
            self._writer.put(entry)

    def _hand_over(self, batch: Sequence[Entry]) -> None:
        """What the writer has done with: tell the listener and whoever published, in order."""
        for entry in batch:
            self._waiting -= entry.told
            self._waiting_size -= entry.size
            try:
                self._answer(entry)
            except Exception:
                _log.exception("What follows from a publication failed")

    def _answer(self, entry: Entry) -> None:
        if entry.error is not None:
            entry.outcome.fail(BrokerError(entry.error))
        elif entry.repeated:
            entry.outcome.settle(Position(self._epoch, entry.stamp))
        elif entry.publication is not None:
            self._tell(entry)

    def _tell(self, entry: Entry) -> None:
        publication = entry.publication
        if publication is None:
            return
        try:
            if entry.stamp:
                self._stamp = entry.stamp
                publication = self._stamped(publication, entry)
            self._pass_on(publication)
        finally:
            entry.outcome.settle(Position(self._epoch, entry.stamp))

    def _stamped(self, publication: Publication, entry: Entry) -> Publication:
        if entry.kind is not Kind.DIRECT:
            return msgspec.structs.replace(publication, epoch=self._epoch, stamp=entry.stamp, previous=entry.previous)
        log = self._direct.open(entry.name)
        stamped = msgspec.structs.replace(publication, epoch=self._epoch, stamp=entry.stamp, previous=log.head)
        self._direct.append(log, stamped, entry.retention, entry.at / 1000)
        return stamped

    def _pass_on(self, publication: Publication) -> None:
        if self._listener is not None and (
            publication.channel in self._wanted or publication.channel.startswith(INTERNAL)
        ):
            self._listener.on_publication(publication)

    # -- reading

    def read(
        self,
        channel: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit: int = 1000,
        size: int = 262_144,
    ) -> Outcome[Page]:
        """See :class:`~openline.hub.ports.Broker`."""
        if self._reader is None or self._closed is not None:
            return Outcome.failed(BrokerError("the engine is closed"))
        if after is not None and (after.epoch != self._epoch or after.stamp > self._stamp):
            return Outcome.of(Page((), complete=False))
        if after is None and before is not None and before.epoch != self._epoch:
            return Outcome.of(Page(()))
        behind = None if after is None else after.stamp
        ahead = None if before is None else before.stamp
        if channel.startswith(INTERNAL):
            now = self._at / 1000
            if behind is not None:
                return Outcome.of(self._direct.page_after(channel, behind, now, limit, size))
            return Outcome.of(self._direct.page_before(channel, ahead, now, limit, size))
        # What is committed and not handed over yet comes live: a page never runs ahead of the listener.
        return self._reader.read(Reading(channel, self._epoch, behind, ahead, self._stamp, self._at, limit, size))

    # -- channels

    def subscribe(self, channel: str) -> Outcome[None]:
        """See :class:`~openline.hub.ports.Broker`."""
        if channel not in self._wanted:
            self._wanted.add(channel)
            if not channel.startswith(INTERNAL):
                # Nobody waits for it: without it, more positions than necessary are told to be incomplete.
                self._put_quietly(Entry(Kind.TOUCH, channel, self._at))
        return _DONE

    def unsubscribe(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        self._wanted.discard(channel)

    def forget(self, channel: str) -> None:
        """See :class:`~openline.hub.ports.Broker`."""
        if channel.startswith(INTERNAL):
            self._direct.drop(channel)
        else:
            self._put_quietly(Entry(Kind.FORGET, channel, self._at))

    def _put_quietly(self, entry: Entry) -> None:
        self._put(entry)
        if entry.outcome.done:
            _look_at(entry.outcome)

    # -- sweeping

    def sweep(self) -> None:
        """Begin to drop what nobody can see any more: at once in memory, in the file in small steps beside the rest."""
        self._direct.sweep(self._at / 1000)
        self._put_quietly(Entry(Kind.SWEEP, "", self._at))

    def _sweep_again(self) -> None:
        if self._closed is None:
            self.sweep()
            self._timers.after(SWEEP_SECONDS, self._sweep_again)

    def _let_go(self) -> None:
        """The writer has ended: the file is closed."""
        self._writer = self._reader = None
        if self._closed is not None:
            self._closed.settle(None)


def _copy_failure(outcome: Outcome[Position], scattered: Outcome[None]) -> None:
    try:
        outcome.result()
    except BrokerError as error:
        scattered.fail(error)
    else:
        scattered.settle(None)


def _look_at(outcome: Outcome[Position]) -> None:
    """Take note of a failure that matters to nobody."""
    try:
        outcome.result()
    except BrokerError as error:
        _log.debug("A note for the store was dropped: %s", error)
