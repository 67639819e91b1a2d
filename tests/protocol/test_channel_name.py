"""The grammar of names and patterns: nothing but what a URL path carries as it is."""

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.errors import CommandError, SettingsError
from openline.protocol.channel_name import best_pattern, check_channel, check_event, check_pattern, is_channel

FIRST = string.ascii_letters + string.digits + "_"
REST = FIRST + "-.~:@"
NAMES = st.builds(str.__add__, st.sampled_from(FIRST), st.text(REST, max_size=12))


@given(st.text(max_size=140) | st.text(REST + "$*/ é１", max_size=140))
def test_a_name_is_what_the_grammar_says_and_nothing_else(name: str) -> None:
    good = 1 <= len(name) <= 128 and name[0] in FIRST and all(character in REST for character in name)
    assert is_channel(name) == good
    if good:
        assert check_channel(name) is name
        assert quote(name, safe=":@") == name
    else:
        with pytest.raises(CommandError) as refusal:
            check_channel(name)
        assert (refusal.value.code, refusal.value.field) == ("bad_channel", "channel")


def test_the_longest_name_has_128_characters_and_no_line_end_is_overlooked() -> None:
    assert is_channel("a" * 128)
    assert not is_channel("a" * 129)
    assert not is_channel("a\n")


@pytest.mark.parametrize("pattern", ["*", "a*", "chat:*", "a", "_:@~.-*", "a" * 127 + "*", "a" * 128])
def test_a_pattern_is_a_name_or_the_beginning_of_one_with_a_star(pattern: str) -> None:
    assert check_pattern(pattern) is pattern


@pytest.mark.parametrize(
    "pattern", ["", "**", "a**", "a*b", "*a", "$*", "$user:*", "-*", "a" * 128 + "*", "a*\n", "é*"]
)
def test_other_patterns_are_refused_with_their_name(pattern: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        check_pattern(pattern)
    assert refusal.value.setting == f"channel {pattern!r}"


@given(
    NAMES, st.lists(NAMES.flatmap(lambda name: st.sampled_from([name, name + "*", name[:1] + "*", "*"])), max_size=8)
)
def test_the_best_pattern_is_the_name_itself_or_else_the_longest_beginning(name: str, patterns: list[str]) -> None:
    patterns += [name[:cut] + "*" for cut in range(0, len(name) + 1, 2)]
    best = best_pattern(name, patterns)
    fitting = [p for p in patterns if p[-1] == "*" and name.startswith(p[:-1]) and len(name) > len(p) - 1]
    if name in patterns:
        assert best == name
    else:
        assert best == max(fitting, key=len, default=None)


def test_without_a_fitting_pattern_there_is_none() -> None:
    assert best_pattern("chat:a", []) is None
    assert best_pattern("chat:a", ["chat:", "chat:b*", "chat:a*", "chat:ab"]) is None


@given(st.text(max_size=130))
def test_an_event_s_type_is_any_text_without_controls_that_is_not_the_protocol_s(type: str) -> None:
    controls = any(ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000 for c in type)
    if 1 <= len(type) <= 128 and not type.startswith("$") and not controls:
        assert check_event(type) is type
    else:
        with pytest.raises(CommandError) as refusal:
            check_event(type)
        assert (refusal.value.code, refusal.value.field) == ("bad_field", "type")


@pytest.mark.parametrize("type", ["", "$ping", "$", "a\x00", "a\x7f", "a\x85", "a\n", "x" * 129])
def test_what_is_no_event_s_type_is_refused(type: str) -> None:
    with pytest.raises(CommandError):
        check_event(type)


def test_half_a_surrogate_pair_is_no_text_and_never_gets_into_a_log() -> None:
    with pytest.raises(CommandError):
        check_event("half \ud83d a smile")
