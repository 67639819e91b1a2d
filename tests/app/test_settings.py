"""Settings that cannot work are refused where they are written, by name."""

from typing import TYPE_CHECKING, Any

import pytest

from openline import Connection, LineSettings, Openline, Settings, SettingsError
from openline.app.engine import Engine, check_engine

if TYPE_CHECKING:
    from nowhere import Something  # type: ignore[import-not-found]


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: Settings(engine="nonsense"), "engine"),
        (lambda: Settings(engine="memory?synced=1"), "memory?bytes=NUMBER"),
        (lambda: Settings(engine="memory?bytes=1000"), "4 MiB"),
        (lambda: Settings(engine="memory?bytes=much"), "4 MiB"),
        (lambda: Settings(engine="sqlite:a.db?bytes=10000000"), "sqlite:PATH?synced=1"),
        (lambda: LineSettings(max_message_bytes=10), "max_message_bytes"),
        (lambda: LineSettings(outbox_bytes=70_000), "outbox_bytes"),
        (lambda: LineSettings(connect_within_seconds=1.0, silent_after_seconds=1.0), "connect_within_seconds"),
        (lambda: Openline().channel("bad name"), "bad name"),
        (lambda: Openline().on("$mine")(print), "mine"),
    ],
)
def test_what_cannot_work_is_refused_by_name(make: Any, setting: str) -> None:
    with pytest.raises(SettingsError) as refused:
        make()
    assert setting in str(refused.value)


def test_an_engine_s_url_says_what_it_may_use() -> None:
    assert check_engine("memory?bytes=5000000").logs_bytes == 5_000_000
    assert check_engine("memory") == check_engine("memory?bytes=268435456")
    assert check_engine("sqlite:~/a.db?synced=yes") == Engine("~/a.db", synced=True)


def test_a_handler_whose_annotation_cannot_be_read_is_refused_by_name() -> None:
    def handler(connection: Connection, payload: "Something") -> None: ...

    with pytest.raises(SettingsError, match=r"handler.*Something"):
        Openline().on("x")(handler)


def test_a_second_handler_for_the_same_event_is_refused() -> None:
    line = Openline()
    line.on("x")(lambda: None)
    with pytest.raises(SettingsError, match="already"):
        line.on("x")(lambda: None)


def test_an_async_handler_needs_no_thread() -> None:
    async def handler(connection: Connection) -> None: ...

    with pytest.raises(SettingsError, match="thread"):
        Openline().on("x", thread=True)(handler)
