"""What the hub needs from the floors above: an engine, live wires, groups of them, and a clock."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from openline.hub.outcome import Outcome
from openline.hub.record import Beat, Place, Record, Turnout
from openline.model import JsonBytes, Page, Position, Publication, Request, Retention, User
from openline.protocol.codec import Codec
from openline.protocol.commands import Command

if TYPE_CHECKING:
    from openline.hub.connection import Connection
    from openline.hub.load import Load

__all__ = ["Application", "Broker", "BrokerListener", "Clock", "Directory", "Group", "Handle", "PlainHandler", "Wire"]


#: A function of a connection and a payload, and what decodes that, raising anything where it does not fit.
PlainHandler = tuple[Callable[["Connection", Any], Any], Callable[[JsonBytes], Any]]


class Application(Protocol):
    """The user's code, seen from the hub. Every failure of it comes out of the outcome; nothing raises directly."""

    @property
    def anonymous(self) -> bool:
        """Whether clients without a token are let in."""
        ...

    def authenticate(self, token: str | None, request: Request) -> Outcome[User | None]:
        """Who brings ``token``; others are shown their ``data``, which JSON can hold.

        Fails with :class:`~openline.errors.CommandError` (``unauthorized``) where nobody may come in.
        """
        ...

    @property
    def asks_handshakes(self) -> bool:
        """Whether :meth:`handshake` has anything to say."""
        ...

    def handshake(self, request: Request) -> Outcome[Sequence[tuple[str, str]]]:
        """Ask about a session that Socket.IO's clients want to open: the headers to set on the answer.

        Fails with a :class:`~openline.errors.CommandError` that refuses it.
        """
        ...

    def has_namespace(self, name: str, auth: Mapping[str, Any]) -> Outcome[bool]:
        """Whether there is this Socket.IO namespace; ``auth`` is what a client brings that wants in."""
        ...

    def admitting(self, connection: "Connection") -> Outcome[None]:
        """Ask whatever stands in front of the connection's namespace, as the user that it has by now.

        Fails with a :class:`~openline.errors.CommandError` that refuses the client.
        """
        ...

    def connected(self, connection: "Connection") -> Outcome[None]:
        """Run the handlers of connect.

        Fails with a :class:`~openline.errors.CommandError` that refuses the client.
        """
        ...

    def handles(self, type: str, channel: str | None) -> bool:
        """Whether a handler takes events of this type (sent to this channel)."""
        ...

    def event(self, connection: "Connection", command: Command) -> JsonBytes | Outcome[JsonBytes]:
        """Run the handler and encode what it returns: what is there now comes as it is, anything else as an outcome.

        That fails with what the client is to be told.
        """
        ...

    @property
    def plain(self) -> dict[str, PlainHandler]:
        """By type, handlers of events without a channel that may be called beside :meth:`event`, which does no more.

        One object for life. It is for clients of the default namespace, and for payloads other than null.
        """
        ...

    def concluded(self, type: str, result: Any, error: BaseException | None) -> JsonBytes | Outcome[JsonBytes]:
        """What :meth:`event` would have returned, had it called the plain handler of ``type``.

        That has returned ``result``, or raised ``error``. Raises that where it is not meant for a client, as at Ctrl-C.
        """
        ...

    def call(self, connection: "Connection", command: Command) -> Outcome[Any]:
        """Run the handler; what it returns comes out as it is. Fails as :meth:`event` does."""
        ...

    def disconnected(self, connection: "Connection", reason: str) -> Outcome[None]:
        """Run the handlers of disconnect, once per connection."""
        ...


class Handle(Protocol):
    """A call that is yet to come."""

    def cancel(self) -> None:
        """It will not come."""
        ...


class Clock(Protocol):
    """Time that only goes forward, in seconds."""

    def now(self) -> float:
        """Seconds since some moment."""
        ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Handle:
        """Call ``callback`` once, ``seconds`` from now."""
        ...


class BrokerListener(Protocol):
    """The calls upward: a broker tells its node what was published, and that something may be missing."""

    def on_publication(self, publication: Publication) -> None:
        """Called once per publication of a wanted channel, in the order of the log, without an await in between."""
        ...

    def on_break(self, channels: Collection[str] | None) -> None:
        """Something published in ``channels`` (None: anywhere) ahead of the broker's position may be missing.

        Whoever is in them is to be told.
        """
        ...


class Broker(Protocol):
    """The engine: it keeps the logs and carries publications to every node.

    Every method returns at once; what takes time comes out of the :class:`Outcome`. Outcomes fail with
    :class:`~openline.errors.BrokerError` when the engine does not answer: for a publish that means *unknown*, and the
    same key makes it safe to repeat.
    """

    @property
    def position(self) -> Position:
        """Up to here everything that this node wanted has been handed to the listener."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why this node should get no new clients just now, for people; None where all is well."""
        ...

    def start(self, listener: BrokerListener) -> Outcome[None]:
        """Begin; called once, before everything else."""
        ...

    def close(self) -> Outcome[None]:
        """End; nothing is called afterwards."""
        ...

    def publish(self, publication: Publication, retention: Retention, key: str | None = None) -> Outcome[Position]:
        """Stamp, append and publish in one step; settled when it is in the store.

        Publications of one node to one channel keep the order of these calls. The same ``key`` in the same channel
        within 5 minutes is one publication, and has the first one's position.
        """
        ...

    def scatter(self, publication: Publication) -> Outcome[None]:
        """Publish what is volatile: to whoever is there, without a stamp, never kept."""
        ...

    def read(
        self,
        channel: str,
        *,
        after: Position | None = None,
        before: Position | None = None,
        limit: int = 1000,
        size: int = 262_144,
    ) -> Outcome[Page]:
        """A page of a channel's log: the oldest behind ``after``, or the newest ahead of ``before`` or the end.

        It ends early once it holds ``size`` bytes; at least one publication is in it where there is one. Settled when
        :attr:`position` has passed everything in it, so that nothing of it comes once more to who joins now.

        ``complete`` is false where the log does not reach back to ``after``, or ``after`` is of another epoch or from
        the future.
        """
        ...

    def subscribe(self, channel: str) -> Outcome[None]:
        """Want a channel; an engine of one node may want those that begin with ``$`` unasked.

        Settled when the engine has confirmed that nothing published from now on is missed, and :attr:`position` has
        passed what was published before.
        """
        ...

    def unsubscribe(self, channel: str) -> None:
        """Want it no more."""
        ...

    def forget(self, channel: str) -> None:
        """Drop a channel's log for good: nobody can come back to it."""
        ...


class Directory(Protocol):
    """Who is where, for the nodes of one engine: leases, a record of every connection, and presence.

    Each has one, which speaks for the node that :meth:`join` named last. Calls of one node are carried out in their
    order, each whole. What concerns a connection counts only while its record is that node's: who has lost it changes
    nothing any more. Outcomes fail with :class:`~openline.errors.BrokerError` when the engine does not answer.
    """

    def join(self, node: str, address: str) -> Outcome[Beat]:
        """Take a lease for ``node``, which others reach at ``address``: a new id, or its own once more."""
        ...

    def beat(self) -> Outcome[Beat]:
        """Renew the lease, unless somebody has taken connections of this node by now, or everything is forgotten."""
        ...

    def leave(self) -> Outcome[None]:
        """Give up the lease: others take what this node has."""
        ...

    # -- connections

    def put(self, record: Record) -> Outcome[bool]:
        """Write a record of this node, a new one or in place of its own; False where it may not."""
        ...

    def subscribed(self, connection_id: str, channel: str, place: Place) -> Outcome[None]:
        """Write a subscription into a record."""
        ...

    def unsubscribed(self, connection_id: str, channel: str) -> Outcome[None]:
        """Take a subscription out of a record."""
        ...

    def keep(self, connection_id: str, secrets: Sequence[str]) -> Outcome[None]:
        """From now on the secrets with these digests take it up again, and no others."""
        ...

    def find(self, secret: str) -> Outcome[Record | None]:
        """The record that the secret with this digest takes up."""
        ...

    def claim(self, connection_id: str, secret: str) -> Outcome[Record | None]:
        """Make this node the owner, whoever was; None where the secret does not take it up by now.

        What comes out names the owner before, and the fence as it is from now on.
        """
        ...

    def adopt(self, node: str, limit: int) -> Outcome[Sequence[Record]]:
        """Make this node the owner of up to ``limit`` connections of a node that is gone; none where none are left."""
        ...

    def end(self, connection_id: str, era: str | None = None) -> Outcome[bool]:
        """Whether it is this node that ends it: nobody takes it up any more, but who adopts it.

        It is, too, where nobody has it and the directory has forgotten everything since ``era``.
        """
        ...

    def forget(self, connection_id: str) -> Outcome[None]:
        """Drop the record of a connection that has ended."""
        ...

    # -- presence

    def enter(self, channel: str, connection_id: str, member: JsonBytes) -> Outcome[Turnout | None]:
        """Count a connection in; None where it was in already."""
        ...

    def exit(self, channel: str, connection_id: str) -> Outcome[Turnout | None]:
        """Count a connection out; None where it was not in."""
        ...

    def present(self, channel: str, limit: int, after: int) -> Outcome[JsonBytes]:
        """As :meth:`openline.hub.presence.Members.as_json`."""
        ...

    def count(self, channels: Sequence[str]) -> Outcome[Sequence[int]]:
        """How many are present in each."""
        ...


class Wire(Protocol):
    """The writing end of one live line, implemented by a transport.

    ``connection`` is whose line it is; the hub sets it.

    ``request`` is what opened the line, until the connection stands. ``load`` is what waits of all that came on the
    line; the hub sets it, too.
    """

    connection: "Connection | None"
    request: Request | None
    load: "Load | None"

    @property
    def codec(self) -> Codec:
        """What its client understands; wires with the same codec share bytes."""
        ...

    def make_group(self) -> "Group[Any]":
        """A new group for wires that have this one's codec."""
        ...

    def deliver(self, frames: Sequence[bytes]) -> None:
        """Write frames behind everything written before.

        Queue what does not go out, up to the limit of its outbox. Never raises.
        """
        ...

    def drained(self) -> Outcome[None]:
        """Settled when nothing waits to be written, or the wire is gone."""
        ...

    def close(self, code: int, reason: str = "") -> None:
        """End the line behind everything written before.

        It has left every group when this returns. Later calls change nothing.
        """
        ...

    def hold_reading(self, *, held: bool) -> None:
        """Stop or go on reading: the client has more commands waiting than it may.

        What comes then is told of in a later turn of the loop.
        """
        ...


W_contra = TypeVar("W_contra", contravariant=True)


class Group(Protocol[W_contra]):
    """The wires of one codec that get the same bytes; made by one of them, for its kind.

    ``mark`` stands for who is a member now: ``deliver`` with an earlier mark leaves out who came later, and who left
    is never written to.
    """

    @property
    def mark(self) -> int:
        """Grows with every member that joins; valid until :meth:`compact`."""
        ...

    @property
    def sparse(self) -> bool:
        """Whether :meth:`compact` is worth its while."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator["Wire"]:
        """Those who are in."""
        ...

    def join(self, wire: W_contra) -> None:
        """Add a wire, which is not in yet."""
        ...

    def leave(self, wire: W_contra) -> None:
        """Take a wire out; nothing if it is not in."""
        ...

    def deliver(self, frames: Sequence[bytes], mark: int, skip: frozenset[Any]) -> None:
        """Write to all who were in at ``mark`` and still are, but those in ``skip``. Never raises."""
        ...

    def compact(self) -> None:
        """Forget the places of those who left; no mark may be outstanding."""
        ...
