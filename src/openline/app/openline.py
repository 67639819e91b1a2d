"""The public object: channels, handlers, publishing."""

import os
import re
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from openline.app.handlers import AskHandshake, Authenticate
from openline.app.pages import Page, file_page
from openline.app.served import Served
from openline.app.settings import Settings
from openline.app.socketio import Namespace
from openline.app.spelling import Spell, make_spelling
from openline.errors import SettingsError
from openline.hub.connection import Connection
from openline.hub.everywhere import Reach
from openline.hub.expendable import WhenSlow
from openline.hub.outcome import Outcome
from openline.hub.payload import Payload
from openline.hub.policy import ChannelOptions, History, Presence, Rule
from openline.model import NOTHING_KEPT, Position, Retention
from openline.protocol.channel_name import require_channel, require_event

__all__ = ["Openline"]

_API_KEYS: Final = "OPENLINE_API_KEYS"

F = TypeVar("F", bound=Callable[..., Any])
H = TypeVar("H", bound=AskHandshake)


class Openline(Served):
    """One real-time server: served by ``openline serve``, or mounted in FastAPI or Starlette.

    ::

        line = Openline()
        line.channel("chat:*", history=100, presence=True, public=True)

        @line.on("hello")
        def hello(connection, name: str):
            return f"Hello, {name}!"
    """

    def __init__(
        self,
        *,
        anonymous: bool | None = None,
        allow_origins: Iterable[str] = (),
        allow_hosts: Iterable[str] = (),
        trusted_proxies: Iterable[str] = (),
        api_keys: Iterable[str] | None = None,
        settings: Settings | None = None,
    ) -> None:
        """``anonymous``: whether clients without a token are let in; None means where there is no ``authenticate``.

        ``allow_origins`` lists pages of other sites, ``allow_hosts`` the names that this server has,
        ``trusted_proxies`` whose ``X-Forwarded-*`` is believed (see :class:`~openline.app.settings.GateSettings`).
        ``api_keys`` open the backend API; None means those in the environment's ``OPENLINE_API_KEYS``, with commas
        between them.
        Raises :class:`~openline.errors.SettingsError` for what cannot work.
        """
        super().__init__(settings or Settings())
        self.allow(origins=allow_origins, hosts=allow_hosts, proxies=trusted_proxies)
        self.add_api_keys(_keys_of_environment() if api_keys is None else api_keys)
        self._handlers.let_in(anonymous=anonymous)

    # -- configuration

    @property
    def settings(self) -> Settings:
        """What holds for this server."""
        return self._settings

    def configure(self, settings: Settings) -> None:
        """Use ``settings`` from the next start on."""
        self._settings = settings

    def allow(self, *, origins: Iterable[str] = (), hosts: Iterable[str] = (), proxies: Iterable[str] = ()) -> None:
        """Let in pages of ``origins``, answer to ``hosts``, believe ``proxies``, beside those known already."""
        gate = self._settings.gate
        grown = replace(
            gate,
            allow_origins=(*gate.allow_origins, *origins),
            allow_hosts=(*gate.allow_hosts, *hosts),
            trusted_proxies=(*gate.trusted_proxies, *proxies),
        )
        self._settings = replace(self._settings, gate=grown)

    def add_api_keys(self, keys: Iterable[str]) -> None:
        """Open the backend API to whoever has one of ``keys``, beside those known already."""
        if isinstance(keys, str):
            raise SettingsError("api_keys", "is a list of keys, not one string")
        api = self._settings.api
        self._settings = replace(self._settings, api=replace(api, keys=(*api.keys, *keys)))

    def channel(  # noqa: PLR0913  each is an option of the channel
        self,
        pattern: str,
        *,
        history: int | History = 0,
        presence: bool | Presence = False,
        volatile: bool = False,
        last_value: bool = False,
        when_slow: WhenSlow = "close",
        public: bool = False,
        subscribe: Rule | None = None,
        publish: Rule | None = None,
        see_presence: Rule | None = None,
        see_history: Rule | None = None,
    ) -> None:
        """Say what the channels of ``pattern`` (a name, or a beginning with ``*`` behind it) are, and who may do what.

        ``history`` keeps that many publications for a day. ``last_value`` gives newcomers the latest one.
        ``when_slow`` says what becomes of a client that cannot keep up: it is closed and resumes from history
        (``close``), the oldest volatile publications are dropped (``drop``), or of each subject only the latest is kept
        (``latest``); what it lost it is told with ``$gap``.
        ``volatile`` keeps nothing. The four rules are True, False or a function of ``(connection, channel)``, plain
        or async, that returns True to allow; what is not said is ``public``. Raises
        :class:`~openline.errors.SettingsError` for a bad pattern, one that is configured already, or options that
        contradict each other.
        """
        kept = History(count=history) if isinstance(history, int) else history
        if last_value and not kept.count:
            kept = History(count=1)
        options = ChannelOptions(
            pattern=pattern,
            retention=Retention(kept.count, kept.seconds, kept.size) if kept.count else NOTHING_KEPT,
            presence=(Presence() if presence else None) if isinstance(presence, bool) else presence,
            volatile=volatile,
            last_value=last_value,
            when_slow=when_slow,
            subscribe=public if subscribe is None else subscribe,
            publish=public if publish is None else publish,
            see_presence=public if see_presence is None else see_presence,
            see_history=public if see_history is None else see_history,
        )
        if pattern in self._options:
            raise SettingsError(f"channel {pattern!r}", "is configured twice")
        self._options[pattern] = options
        if self._runtime is not None:
            self._runtime.policy.add(options)

    def authenticate(self, function: Authenticate) -> Authenticate:
        """Decorate the function that says who a client is, plain or async.

        It takes ``(token, request)`` and returns a ``User``, a user id, or None for nobody.

        It is asked for every connection on every door. Raise ``CommandError("unauthorized", "…")`` to say why not.
        """
        self._handlers.set_authenticate(function)
        return function

    def on_handshake(self, function: H) -> H:
        """Decorate ``function(request)``, plain or async: asked before a Socket.IO client has a session.

        What it returns are headers to set on the answer. Raise ``CommandError`` to refuse it (403), or take your time.
        """
        self._handlers.add_handshake(function)
        return function

    def on_connect(self, function: F) -> F:
        """Decorate ``function(connection)``: called when a client has connected.

        A ``CommandError`` from it turns the client away.
        """
        self._handlers.add_connect(function)
        return function

    def on_disconnect(self, function: F) -> F:
        """Decorate ``function(connection, reason)``: called once when a connection has ended for good.

        The reason is ``closed`` (the client said goodbye), ``lost`` (its line broke and it did not come back in
        time), ``disconnected`` (by the application), or ``shutdown``.
        """
        self._handlers.add_disconnect(function)
        return function

    def on(self, type: str, *, channel: str | None = None, thread: bool = False) -> Callable[[F], F]:
        """Decorate a handler of events of ``type``.

        It takes ``(connection)`` or ``(connection, payload)``; with ``channel`` also ``(connection, payload,
        channel)``, without it ``(connection, payload, …)``: Socket.IO's clients may send any number of arguments.

        The annotation of ``payload`` says what it must be; what does not fit is answered with an error and never
        reaches the handler. What it returns is the answer. A plain function runs on the event loop and must not block
        (``thread=True`` runs it in a thread); an ``async`` one runs as a task. Handlers of one connection run one
        after the other. With ``channel`` (a pattern) it takes what clients publish there, and decides itself what
        becomes of it.
        """

        def register(function: F) -> F:
            self._handlers.add_event(type, channel, function, thread=thread)
            return function

        return register

    def task(self, function: F) -> F:
        """Decorate ``async function()``: it runs beside the handlers, from the server's start to its end.

        Then it is cancelled. If it raises, that is logged, and the server goes on without it. Raises
        :class:`~openline.errors.SettingsError` for a function that is not async, or wants arguments.
        """
        self._handlers.background.add(function)
        return function

    def of(self, name: str | re.Pattern[str]) -> Namespace:
        """A namespace for Socket.IO's clients, made at the first call.

        ``/`` is the default one, to which every other door leads. A pattern, compiled or with one ``*`` in it, stands
        for all that it fits wholly; a name of its own goes first.
        """
        if isinstance(name, str) and "*" not in name:
            key: str | re.Pattern[str] = name if name.startswith("/") else f"/{name}"
        else:
            key = re.compile(re.escape(name).replace(r"\*", "[^/]+")) if isinstance(name, str) else name
        self._handlers.declare(key)
        shown = key if isinstance(key, str) else key.pattern
        return Namespace(self, shown, partial(self._handlers.table, key))

    def spell(self, channel: str, spelling: Spell) -> None:
        """Say under which names the publications of ``channel`` reach Socket.IO's clients.

        ``spelling(type, payload)`` returns events, each with its one argument, or None for the publication as it is.
        It is asked once per publication.
        """
        self._spellings[require_channel(channel)] = make_spelling(spelling)

    def page(self, path: str, file: str | Path) -> None:
        """Serve one file at ``path``: for a first page beside the code.

        Read when called; raises :class:`OSError` where it cannot be.
        """
        self._pages[path] = file_page(Path(file))

    def add_pages(self, pages: MutableMapping[str, Page]) -> None:
        """Serve ``pages``, by path."""
        self._pages.update(pages)

    # -- publishing

    def publish(
        self,
        channel: str,
        type: str,
        payload: Any = None,
        *,
        sender: Connection | None = None,
        exclude: Iterable[Connection] = (),
        volatile: bool = False,
        key: str | None = None,
        subject: str = "",
    ) -> Outcome[Position | None]:
        """Publish into ``channel``; its position comes out when it is in the store. It need not be awaited.

        ``payload`` is what JSON can hold, or bytes. ``sender`` stands in ``from``; ``exclude`` does not get it, live
        or later. ``key`` (1 to 64 printable characters) makes it safe to repeat for 5 minutes. ``subject`` says of what
        this is news, where slow clients get only the latest (``when_slow="latest"``). Raises :class:`ValueError` for a
        name or key that is none, :class:`TypeError` or :class:`ValueError` for a payload that JSON cannot hold or that
        is too large. May be called from any thread.
        """
        require_channel(channel)
        require_event(type)
        if key is not None and not (1 <= len(key) <= 64 and key.isprintable()):
            raise ValueError(f"{key!r}: A key has 1 to 64 printable characters.")
        data = Payload.of(payload)
        excluded = tuple(connection.id for connection in exclude)
        hub = self.running.hub
        call = partial(
            hub.publish,
            channel,
            type,
            data,
            sender=sender,
            exclude=excluded,
            volatile=volatile,
            key=key,
            subject=subject,
        )
        return self.running.hub.tasks.on_loop(call)

    def broadcast(
        self, type: str, payload: Any = None, *, exclude: Iterable[Connection] = ()
    ) -> Outcome[Position | None]:
        """Send an event to everybody who is connected; raises as :meth:`publish` does."""
        return self._directly("$all", type, payload, exclude)

    def publish_to_user(
        self, user: str, type: str, payload: Any = None, *, exclude: Iterable[Connection] = ()
    ) -> Outcome[Position | None]:
        """Send an event to all connections of the user with this id; raises as :meth:`publish` does."""
        return self._directly(f"$user:{user}", type, payload, exclude)

    def _directly(
        self, address: str, type: str, payload: Any, exclude: Iterable[Connection]
    ) -> Outcome[Position | None]:
        excluded = tuple(connection.id for connection in exclude)
        hub = self.running.hub
        return hub.tasks.on_loop(partial(hub.publish_directly, address, type, payload, exclude=excluded))

    def disconnect_user(self, user: str, reason: str = "") -> Outcome[int]:
        """End all connections of the user with this id, for good, on every node; how many there were comes out.

        Its polls that wait and its tickets end, too. Whoever comes again is asked for anew. It need not be awaited.
        """
        everywhere = self.running.hub.everywhere
        return self.running.hub.tasks.on_loop(partial(everywhere.disconnect, user=user, reason=reason))

    def reach(self, channel: str) -> Outcome[Reach]:
        """How many connections, on how many nodes, are in ``channel``; it need not be awaited.

        Every node answers behind what was published before: asked after a publication whose position has come out, it
        says who has got that one.
        """
        return self.running.hub.tasks.on_loop(partial(self.running.hub.everywhere.reach, require_channel(channel)))

    @property
    def connections(self) -> tuple[Connection, ...]:
        """Everybody who is connected to this node, or may still come back."""
        return tuple(self.running.hub.lifecycle.connections.values())

    def connections_of(self, user: str) -> tuple[Connection, ...]:
        """The connections of one user on this node."""
        return tuple(self.running.hub.lifecycle.users.get(user, ()))


def _keys_of_environment() -> list[str]:
    return [key for part in os.environ.get(_API_KEYS, "").split(",") if (key := part.strip())]
