"""Who may do what in which channel: denied, unless the best pattern's rule says True and nothing else."""

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from openline.errors import CommandError, SettingsError
from openline.hub.outcome import drive
from openline.hub.policy import Action, ChannelOptions, History, Policy, Presence
from openline.hub.tasks import Tasks
from openline.model import Retention
from tests.effort import seed

ACTIONS = [Action.SUBSCRIBE, Action.PUBLISH, Action.SEE_PRESENCE, Action.SEE_HISTORY]
ALPHABET = "abAB09_-.~:@"
#: Look-alikes, what a client may try, and what another layer might take for something else.
ODD = [
    "",
    "$",
    "$all",
    "$user:ada",
    "$connection:1",
    "*",
    "chat:*",
    "chat*",
    "-a",
    ".a",
    ":a",
    "@a",
    "~a",
    "..",
    "a/b",
    "a b",
    " a",
    "a\n",
    "a\x00",
    "a%2a",
    "a" * 129,
    "chаt:lobby",
    "ｃhat:lobby",
    "chat：lobby",
    "chat:löbby",
    "chat:lobby\u200b",
    "chat:\u0661",
    "＄all",
    "ﬀ",
]
CONNECTION: Any = SimpleNamespace(id="c1")


async def yes(_: Any, __: str) -> bool:
    return True


async def slow_yes(_: Any, __: str) -> bool:
    await asyncio.sleep(0)
    return True


async def slow_truthy(_: Any, __: str) -> Any:
    await asyncio.sleep(0)
    return "yes"


def only_even(connection: Any, channel: str) -> bool:
    assert connection is CONNECTION
    return len(channel) % 2 == 0


#: A rule, and what it means for a name.
RULES: list[tuple[Any, Callable[[str], bool]]] = [
    (True, lambda _: True),
    (False, lambda _: False),
    (yes, lambda _: True),
    (slow_yes, lambda _: True),
    (slow_truthy, lambda _: False),
    (only_even, lambda name: len(name) % 2 == 0),
    (lambda *_: 1, lambda _: False),
    (lambda *_: [True], lambda _: False),
    (lambda *_: None, lambda _: False),
    (lambda *_: True, lambda _: True),
]


class Reference:
    """The same in twenty lines, by sorting instead of searching."""

    def __init__(self) -> None:
        self.rules: dict[str, dict[str, Callable[[str], bool]]] = {}

    def verdict(self, name: str, action: str) -> str:
        first = name[:1].isascii() and (name[:1].isalnum() or name[:1] == "_")
        if not first or len(name) > 128 or any(c not in ALPHABET and not (c.isascii() and c.isalnum()) for c in name):
            return "bad_channel"
        fitting = sorted((p for p in self.rules if self.fits(name, p)), key=lambda p: (p == name, len(p)))
        return "allowed" if fitting and self.rules[fitting[-1]][action](name) else "forbidden"

    @staticmethod
    def fits(name: str, pattern: str) -> bool:
        if pattern.endswith("*"):
            return name.startswith(pattern[:-1]) and name != pattern[:-1]
        return name == pattern


def some_name(random: random.Random) -> str:
    if random.random() < 0.15:
        return random.choice(ODD)
    return "".join(random.choice(ALPHABET) for _ in range(random.choice([1, 1, 2, 2, 3, 4, 128])))


def some_pattern(random: random.Random) -> str:
    name = random.choice("abAB09_") + "".join(random.choice(ALPHABET) for _ in range(random.choice([0, 0, 1, 2, 3])))
    return random.choice([name, name + "*", name[:1] + "*", "*"])


async def verdict_of(policy: Policy, name: str, action: str) -> str:
    try:
        await drive(policy.demand(CONNECTION, name, action))
    except CommandError as error:
        return error.code if error.field == "channel" else f"{error.field}?"
    return "allowed"


async def test_verdicts_are_those_of_the_reference_for_thousands_of_names_patterns_and_rules() -> None:
    begun = seed()
    print(f"seed {begun}")
    source = random.Random(begun)
    policy_tasks = Tasks(asyncio.get_running_loop())
    seen: dict[str, int] = {"allowed": 0, "forbidden": 0, "bad_channel": 0}
    for _ in range(120):
        policy, reference = Policy(policy_tasks), Reference()
        for pattern in {some_pattern(source) for _ in range(source.randrange(7))}:
            chosen = {action: source.choice(RULES) for action in ACTIONS}
            policy.add(ChannelOptions(pattern=pattern, **{action: rule for action, (rule, _) in chosen.items()}))
            reference.rules[pattern] = {action: means for action, (_, means) in chosen.items()}
        for _ in range(100):
            name, action = some_name(source), source.choice(ACTIONS)
            verdict = await verdict_of(policy, name, action)
            assert verdict == reference.verdict(name, action), (name, action, list(reference.rules))
            seen[verdict] += 1
    assert sum(seen.values()) >= 10_000
    assert min(seen.values()) > 500


@pytest.fixture
async def policy() -> Policy:
    return Policy(Tasks(asyncio.get_running_loop()))


@pytest.mark.parametrize("action", ACTIONS)
async def test_without_a_pattern_everything_is_denied(policy: Policy, action: str) -> None:
    assert await verdict_of(policy, "chat:lobby", action) == "forbidden"
    policy.add(ChannelOptions(pattern="*"))
    assert await verdict_of(policy, "chat:lobby", action) == "forbidden"


@pytest.mark.parametrize("name", ODD)
async def test_what_is_no_channel_name_is_never_allowed_whatever_the_pattern(policy: Policy, name: str) -> None:
    policy.add(ChannelOptions(pattern="*", subscribe=True, publish=True, see_presence=True, see_history=True))
    for action in ACTIONS:
        assert await verdict_of(policy, name, action) == "bad_channel"


async def test_an_exact_name_beats_a_pattern_and_a_longer_pattern_a_shorter_one(policy: Policy) -> None:
    for pattern, allowed in (("*", True), ("chat:*", False), ("chat:vip*", True), ("chat:vip", False)):
        policy.add(ChannelOptions(pattern=pattern, subscribe=allowed))
    expected = {"news": "allowed", "chat:a": "forbidden", "chat:vip1": "allowed", "chat:vip": "forbidden"}
    assert {name: await verdict_of(policy, name, Action.SUBSCRIBE) for name in expected} == expected
    # A star stands for one character at least.
    assert await verdict_of(policy, "chat:", Action.SUBSCRIBE) == "allowed"


async def test_a_new_pattern_holds_also_for_names_that_were_asked_for_before(policy: Policy) -> None:
    policy.add(ChannelOptions(pattern="*", publish=True))
    assert await verdict_of(policy, "a", Action.PUBLISH) == "allowed"
    policy.add(ChannelOptions(pattern="a"))
    assert await verdict_of(policy, "a", Action.PUBLISH) == "forbidden"


async def test_a_rule_that_raises_does_not_allow(policy: Policy, caplog: pytest.LogCaptureFixture) -> None:
    def muted(_: Any, __: str) -> bool:
        raise CommandError("muted", "Later.", field="channel")

    async def broken(_: Any, __: str) -> bool:
        raise ZeroDivisionError

    policy.add(ChannelOptions(pattern="a", publish=muted, subscribe=broken))
    assert await verdict_of(policy, "a", Action.PUBLISH) == "muted"
    with pytest.raises(CommandError, match="failed: The server failed"):
        await drive(policy.demand(CONNECTION, "a", Action.SUBSCRIBE))
    assert [record.getMessage() for record in caplog.records] == [
        "The rule subscribe of channel 'a' failed for connection c1"
    ]


async def test_a_rule_that_means_yes_but_does_not_return_true_denies_and_is_warned_of_once(
    policy: Policy, caplog: pytest.LogCaptureFixture
) -> None:
    async def later(_: Any, __: str) -> Any:
        return "yes"

    policy.add(ChannelOptions(pattern="a:*", publish=lambda _, __: 1, subscribe=later))  # type: ignore[arg-type,return-value]
    policy.add(ChannelOptions(pattern="b:*", publish=lambda _, __: None))  # type: ignore[arg-type,return-value]
    for _ in range(2):
        for name in ("a:1", "a:2", "b:1"):
            assert await verdict_of(policy, name, Action.PUBLISH) == "forbidden"
        assert await verdict_of(policy, "a:1", Action.SUBSCRIBE) == "forbidden"
    assert [record.getMessage() for record in caplog.records] == [
        "The rule publish of channel 'a:*' returned int, which means no: only True means yes (return bool(...))",
        "The rule subscribe of channel 'a:*' returned str, which means no: only True means yes (return bool(...))",
    ]


async def test_remembering_names_is_bounded(policy: Policy) -> None:
    policy.add(ChannelOptions(pattern="a*", retention=Retention(count=1)))
    for number in range(100_000):
        assert policy.options(f"a{number}").retention.count == 1
    assert len(policy._found) <= 65_536


async def test_a_pattern_is_configured_once(policy: Policy) -> None:
    policy.add(ChannelOptions(pattern="chat:*"))
    with pytest.raises(SettingsError, match="twice"):
        policy.add(ChannelOptions(pattern="chat:*"))


@pytest.mark.parametrize("pattern", ["", "**", "a*b", "*a", "$user:*", "$*", "a b*", "é*", "a" * 128 + "*", "a*\n"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(SettingsError):
        ChannelOptions(pattern=pattern)


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SettingsError):
        ChannelOptions(pattern="a", volatile=True, retention=Retention(count=1))
    with pytest.raises(SettingsError):
        ChannelOptions(pattern="a", volatile=True, last_value=True)
    with pytest.raises(SettingsError):
        ChannelOptions(pattern="a", when_slow="panic")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="publish is True, False or a function"):
        ChannelOptions(pattern="a", publish="yes")  # type: ignore[arg-type]
    with pytest.raises(SettingsError):
        History(count=-1)
    with pytest.raises(SettingsError):
        Presence(grace_seconds=-1.0)
