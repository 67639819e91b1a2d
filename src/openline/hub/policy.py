"""What a channel is and who may do what in it, by name pattern; what no pattern allows is denied to clients."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from openline.errors import BrokerError, CommandError, ErrorCode, SettingsError, our_failure
from openline.hub.expendable import WhenSlow
from openline.hub.outcome import Outcome
from openline.hub.tasks import Tasks
from openline.model import NOTHING_KEPT, Retention
from openline.protocol.channel_name import best_pattern, check_channel, check_pattern

if TYPE_CHECKING:
    from openline.hub.connection import Connection

__all__ = ["Action", "ChannelOptions", "History", "Policy", "Presence", "Rule"]

#: Yes, no, or a function of the connection and the channel's name that says so, plain or async.
Rule = bool | Callable[["Connection", str], bool | Awaitable[bool]]

_REMEMBERED_NAMES: Final = 65_536
_log = logging.getLogger("openline")


class Action:
    """What a client may ask of a channel; each is the name of a rule in :class:`ChannelOptions`."""

    SUBSCRIBE: Final = "subscribe"
    PUBLISH: Final = "publish"
    SEE_PRESENCE: Final = "see_presence"
    SEE_HISTORY: Final = "see_history"


_ACTIONS: Final = (Action.SUBSCRIBE, Action.PUBLISH, Action.SEE_PRESENCE, Action.SEE_HISTORY)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a channel keeps: at most ``count`` publications, ``seconds`` old, ``size`` bytes in all."""

    count: int = 100
    seconds: float = 86_400.0
    size: int = 4_194_304

    def __post_init__(self) -> None:
        if self.count < 0 or self.seconds < 0 or self.size < 0:
            raise SettingsError("history", "count, seconds and size are 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Who is here: lists end after ``limit`` members (counts are always exact).

    Who lost the line is gone after ``grace_seconds``.
    """

    limit: int = 1000
    grace_seconds: float = 10.0

    def __post_init__(self) -> None:
        if self.limit < 0 or self.grace_seconds < 0:
            raise SettingsError("presence", "limit and grace_seconds are 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """Everything that holds for the channels of one pattern."""

    pattern: str
    retention: Retention = NOTHING_KEPT
    presence: Presence | None = None
    volatile: bool = False
    last_value: bool = False
    when_slow: WhenSlow = "close"
    subscribe: Rule = False
    publish: Rule = False
    see_presence: Rule = False
    see_history: Rule = False

    def __post_init__(self) -> None:
        check_pattern(self.pattern)
        if self.volatile and (self.retention.count or self.last_value):
            raise SettingsError(
                f"channel {self.pattern!r}", "a volatile channel keeps neither history nor a last value"
            )
        if self.when_slow not in get_args(WhenSlow):
            raise SettingsError(f"channel {self.pattern!r}", f"when_slow is one of {', '.join(get_args(WhenSlow))}")
        for action in _ACTIONS:
            rule: object = getattr(self, action)
            if not isinstance(rule, bool) and not callable(rule):
                raise SettingsError(f"channel {self.pattern!r}", f"{action} is True, False or a function, not {rule!r}")


_UNKNOWN: Final = ChannelOptions(pattern="*")


class Policy:
    """The options of every channel name, and the verdicts of their rules."""

    def __init__(self, tasks: Tasks, unknown: ChannelOptions = _UNKNOWN) -> None:
        """``unknown`` holds for the channels that no pattern fits."""
        self._tasks = tasks
        self._unknown = unknown
        self._patterns: dict[str, ChannelOptions] = {}
        self._found: dict[str, ChannelOptions] = {}
        # Rules that have said yes in a way that does not count: told once.
        self._misunderstood: set[tuple[str, str]] = set()

    def add(self, options: ChannelOptions) -> None:
        """Let ``options`` hold for their pattern; raises :class:`SettingsError` where it has some already."""
        if options.pattern in self._patterns:
            raise SettingsError(f"channel {options.pattern!r}", "is configured twice")
        self._patterns[options.pattern] = options
        self._found.clear()

    def options(self, channel: str) -> ChannelOptions:
        """What holds for ``channel``; everything is denied where no pattern fits."""
        found = self._found.get(channel)
        if found is None:
            pattern = best_pattern(channel, self._patterns)
            found = self._unknown if pattern is None else self._patterns[pattern]
            if len(self._found) >= _REMEMBERED_NAMES:
                self._found.clear()
            self._found[channel] = found
        return found

    def opens(self, channel: str, action: str) -> bool:
        """Whether everybody may do ``action`` in ``channel``, and that is known already: nothing has to be asked."""
        found = self._found.get(channel)
        return found is not None and getattr(found, action) is True

    async def demand(self, connection: "Connection", channel: str, action: str) -> ChannelOptions:
        """The channel's options, where ``connection`` may do ``action``.

        Raises :class:`CommandError`: ``bad_channel``, or as :meth:`allows` does, or ``forbidden``.
        """
        options = self.options(check_channel(channel))
        if not await self.allows(options, connection, channel, action):
            raise CommandError(ErrorCode.FORBIDDEN, f"You may not {action.replace('_', ' ')} here.", field="channel")
        return options

    async def allows(self, options: ChannelOptions, connection: "Connection", channel: str, action: str) -> bool:
        """Whether the rule for ``action`` says yes: the value True and nothing else.

        Raises the :class:`CommandError` or :class:`BrokerError` that the rule raised; one that fails otherwise is
        logged, which raises ``failed``.
        """
        rule: Rule = getattr(options, action)
        if not callable(rule):
            return rule is True
        try:
            verdict: object = rule(connection, channel)
            if isinstance(verdict, Awaitable):
                verdict = await self._started(cast("Awaitable[Any]", verdict)).step()
        except (CommandError, BrokerError):
            raise
        except Exception as error:
            _log.exception("The rule %s of channel %r failed for connection %s", action, options.pattern, connection.id)
            raise our_failure() from error
        if verdict and verdict is not True:
            self._warn(options.pattern, action, verdict)
        return verdict is True

    def _warn(self, pattern: str, action: str, verdict: object) -> None:
        if (pattern, action) not in self._misunderstood:
            self._misunderstood.add((pattern, action))
            text = "The rule %s of channel %r returned %s, which means no: only True means yes (return bool(...))"
            _log.warning(text, action, pattern, type(verdict).__name__)

    def _started(self, verdict: Awaitable[Any]) -> Outcome[Any]:
        return self._tasks.start(verdict)
