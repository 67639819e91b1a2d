"""The README and the pages in docs/ lead where they say, and name only what there is."""

import re
from pathlib import Path

import pytest

from openline import GateSettings, History, HttpSettings, HubSettings, LineSettings, Presence
from openline.cli import main
from openline.hub.reading import ANSWER_BYTES, MAX_READ
from tests.app.test_sdk_pages import LIMIT, MORE_LIMIT, ON_DEMAND
from tests.docs.blocks import PAGES, ROOT

LINKING = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
#: Commands of other servers, with options of their own.
THEIRS = re.compile(r"^    (?:hypercorn|granian|daphne) .*$", re.M)
COMMANDS = re.compile(r"^```sh$.*?^```$", re.M | re.S)
OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]+)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have, as they are made on the web."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.M):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


def links() -> list[tuple[Path, str]]:
    return [(page, link) for page in LINKING for link in LINK.findall(page.read_text()) if "://" not in link]


@pytest.mark.parametrize(("page", "link"), links(), ids=lambda value: value.name if isinstance(value, Path) else value)
def test_a_relative_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    assert target.exists()
    assert not anchor or anchor in anchors(target)


def options(*commands: str) -> set[str]:
    found = {"help", "version"}
    for name in commands:
        for parameter in main.commands[name].params:
            found |= {option.removeprefix("--") for option in parameter.opts if option.startswith("--")}
    return found


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_every_command_line_option_on_a_page_exists(page: Path) -> None:
    ours = COMMANDS.sub("", THEIRS.sub("", page.read_text()))
    named = set(OPTION.findall(re.sub(r"<!--.*?-->", "", ours, flags=re.S)))
    assert named <= options(*main.commands)


def test_every_option_of_serve_has_a_row_on_the_page_about_serving() -> None:
    rows = "\n".join(re.findall(r"^\| `--.*$", text_of("docs/serving.md"), re.M))
    assert set(OPTION.findall(rows)) | {"help", "version"} == options("serve")


def test_the_readme_opens_with_the_two_commands_of_the_makefile() -> None:
    opening = text_of("README.md").partition("\n## ")[0]
    for target in ("run", "test"):
        assert f"    make {target} " in opening
        assert re.search(rf"^{target}:", text_of("Makefile"), re.M)


def test_the_readme_keeps_a_place_for_the_benchmark_and_shows_the_chat() -> None:
    assert re.search(r"^## What it costs$", text_of("README.md"), re.M)
    head = (ROOT / "docs" / "images" / "chat.png").read_bytes()[:24]
    assert (int.from_bytes(head[16:20]), int.from_bytes(head[20:24])) == (1280, 800)


def test_the_figures_on_the_pages_are_the_defaults() -> None:
    line, hub, http, history = LineSettings(), HubSettings(), HttpSettings(), History()
    assert (line.max_message_bytes, line.max_fragments, line.outbox_bytes) == (64 << 10, 1024, 1 << 20)
    assert (line.max_head_bytes, line.head_within_seconds, line.connect_within_seconds) == (32 << 10, 10, 10)
    assert (line.stalled_after_seconds, MAX_READ, ANSWER_BYTES) == (30, 1000, 1 << 20)
    assert line.ping_every_seconds + line.pong_within_seconds == 45
    assert (hub.backlog_bytes, hub.max_subscriptions, hub.window_seconds) == (256 << 10, 1000, 120)
    assert (hub.direct_count, hub.direct_bytes) == (200, 256 << 10)
    assert (http.max_wait_seconds, http.max_waiting_per_client, http.max_waiting) == (25, 500, 10_000)
    assert (http.body_within_seconds, http.ticket_seconds) == (10, 30)
    assert (http.max_tickets_per_client, http.max_tickets) == (500, 10_000)
    assert (history.seconds, history.size) == (24 * 3600, 4 << 20)
    assert (Presence().limit, Presence().grace_seconds) == (1000, 10)


@pytest.mark.parametrize("name", re.findall(r"^\|.*`(\w+Settings\.\w+)`", text_of("docs/security.md"), re.M))
def test_a_setting_on_the_page_about_security_exists(name: str) -> None:
    kind, _, setting = name.partition(".")
    kinds = (LineSettings, HubSettings, GateSettings, HttpSettings)
    assert hasattr({each.__name__: each for each in kinds}[kind](), setting)


def test_the_browser_sdk_is_as_small_as_its_page_says() -> None:
    page = text_of("docs/browser.md")
    sizes = [LIMIT // 1024, *(MORE_LIMIT // 1024 for _ in ON_DEMAND)]
    assert [int(size) for size in re.findall(r"(\d+) KB", page.split("```")[0])] == sizes
