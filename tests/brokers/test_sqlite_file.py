"""Opening a store: what is refused and with which words, older layouts, and when its epoch must be a new one."""

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from openline.brokers import sqlite_file
from openline.brokers.sqlite_file import STEPS, connect, migrate, open_store
from openline.brokers.sqlite_mark import boot_id
from openline.errors import SettingsError
from openline.testing.broker_bench import texts
from tests.brokers.stores import NOON, left_behind, opened, rows


async def refusal(path: Path | str, **options: bool) -> str:
    """The words with which a store is not opened."""
    with pytest.raises(SettingsError) as refused:
        async with opened(Path(path), **options):
            pass
    assert refused.value.setting == "engine"
    return refused.value.reason


async def change(path: Path, *statements: str) -> None:
    """What another program does to a store that nobody has open."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def used(path: Path) -> str:
    """Make a store and use it; its epoch comes back."""
    async with opened(path) as bench:
        await bench.fill("a", 3)
        return bench.broker.position.epoch


# -- what is refused


async def test_no_folder(path: Path) -> None:
    assert "there is no folder" in await refusal(path / "deeper" / "chat.db")


async def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert "names no file" in await refusal(tmp_path)


def test_no_name_at_all() -> None:
    with pytest.raises(SettingsError, match="names no file"):
        open_store("", synced=False, wall=NOON)


async def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 1000)
    words = await refusal(path)
    assert "is no SQLite file" in words
    assert path.read_bytes().startswith(b"Dear diary")


async def test_the_database_of_another_program(path: Path) -> None:
    await change(path, "CREATE TABLE customers (name)")
    assert "another program" in await refusal(path)
    assert rows(path, "SELECT name FROM sqlite_master") == [("customers",)]


async def test_a_layout_of_a_newer_openline(path: Path) -> None:
    await used(path)
    await change(path, "PRAGMA user_version = 99")
    words = await refusal(path)
    assert "newer Openline (layout 99, this one knows up to 1)" in words
    assert "update Openline" in words


async def test_a_store_that_is_open_elsewhere_even_under_another_name(path: Path) -> None:
    async with opened(path) as bench:
        alias = path.with_name("alias.db")
        alias.symlink_to(path)
        for name in (path, alias):
            words = await refusal(name)
            assert f"in use by process {os.getpid()}" in words
            assert "one process at a time" in words
        await bench.publish("a", "goes on")
    await used(alias)


async def test_a_store_that_another_program_is_writing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.01)
    await used(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert "locked by another program" in await refusal(path)
    other.execute("ROLLBACK")
    other.close()
    await used(path)


async def test_whoever_was_refused_holds_nothing(path: Path) -> None:
    await used(path)
    await change(path, "PRAGMA user_version = 99")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        await refusal(path)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    await change(path, "PRAGMA user_version = 1")
    await used(path)


async def test_a_new_store_is_for_our_eyes_only(path: Path) -> None:
    async with opened(path) as bench:
        await bench.publish("a", "x")
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert modes == dict.fromkeys(("chat.db", "chat.db-wal", "chat.db-shm", "chat.db-mark"), 0o600)


# -- layouts


def test_an_older_layout_becomes_the_newest_step_by_step_and_keeps_what_is_in_it(path: Path) -> None:
    steps = (
        ("CREATE TABLE words (text)", "INSERT INTO words VALUES ('kept')"),
        ("ALTER TABLE words ADD COLUMN length INTEGER NOT NULL DEFAULT 0", "UPDATE words SET length = length(text)"),
    )
    connection = connect(str(path))
    migrate(connection, 0, steps[:1])
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    migrate(connection, 1, steps)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("SELECT text, length FROM words").fetchall() == [("kept", 4)]
    migrate(connection, 2, steps)
    connection.close()


def test_a_migration_that_fails_leaves_the_older_layout(path: Path) -> None:
    steps = (("CREATE TABLE words (text)",), ("CREATE TABLE more (text)", "ALTER TABLE nowhere ADD COLUMN x"))
    connection = connect(str(path))
    migrate(connection, 0, steps[:1])
    with pytest.raises(sqlite3.Error):
        migrate(connection, 1, steps)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("words",)]
    connection.close()


async def test_a_store_of_an_older_layout_opens_with_its_history(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epoch = await used(path)
    monkeypatch.setattr(sqlite_file, "STEPS", (*STEPS, ("CREATE TABLE newer (x)",)))
    async with opened(path) as bench:
        assert texts((await bench.read("a")).publications) == ["0", "1", "2"]
        assert bench.broker.position.epoch == epoch
    assert rows(path, "PRAGMA user_version") == [(2,)]


# -- the epoch


async def opened_epoch(path: Path) -> str:
    async with opened(path) as bench:
        assert texts((await bench.read("a")).publications)[:3] == ["0", "1", "2"]
        return bench.broker.position.epoch


async def test_the_epoch_stays_over_a_clean_end_and_a_kill(path: Path) -> None:
    epoch = await used(path)
    assert await opened_epoch(path) == epoch
    async with opened(path) as bench:
        await bench.publish("a", "x")
        copy = left_behind(path)
    assert await opened_epoch(copy) == epoch


async def told(path: Path, epoch: str) -> None:
    """Open a store that may have lost its end: positions from before are refused, and stamps go on."""
    async with opened(path) as bench:
        assert bench.broker.position.epoch != epoch
        page = (await bench.read("a")).publications
        assert texts(page)[:1] == ["0"]
        assert {p.epoch for p in page} == {bench.broker.position.epoch}
        later = await bench.publish("a", "later")
        assert later.stamp > page[-1].stamp
        renewed = later.epoch
    async with opened(path) as bench:
        assert bench.broker.position.epoch == renewed


async def test_a_store_without_the_end_of_its_log_has_a_new_epoch(path: Path) -> None:
    epoch = await used(path)
    async with opened(path) as bench:
        await bench.fill("a", 3)
        copy = left_behind(path, "", "-mark")
    await told(copy, epoch)


async def test_an_older_copy_put_back_has_a_new_epoch(path: Path) -> None:
    epoch = await used(path)
    older = path.read_bytes()
    await used(path)
    path.write_bytes(older)
    await told(path, epoch)


async def test_a_store_without_its_mark_has_a_new_epoch(path: Path) -> None:
    epoch = await used(path)
    Path(f"{path}-mark").unlink()
    await told(path, epoch)


async def test_a_mark_that_makes_no_sense_vouches_for_nothing(path: Path) -> None:
    epoch = await used(path)
    Path(f"{path}-mark").write_bytes(b"\xff" * 200)
    await told(path, epoch)


async def test_a_log_that_was_damaged_at_its_end_has_a_new_epoch(path: Path) -> None:
    epoch = await used(path)
    async with opened(path) as bench:
        await bench.fill("a", 20)
        copy = left_behind(path)
    log = Path(f"{copy}-wal")
    content = bytearray(log.read_bytes())
    content[len(content) // 2] ^= 1
    log.write_bytes(content)
    await told(copy, epoch)


@pytest.mark.parametrize("synced", [False, True])
async def test_only_what_was_synced_survives_the_operating_system(path: Path, synced: bool) -> None:
    async with opened(path, synced=synced) as bench:
        await bench.fill("a", 3)
        epoch = bench.broker.position.epoch
        copy = left_behind(path)
    mark = Path(f"{copy}-mark")
    written, stamp, _, pid = mark.read_text().split()
    mark.write_text(f"{written} {stamp} an-earlier-boot {pid}")
    if synced:
        assert await opened_epoch(copy) == epoch
    else:
        await told(copy, epoch)


async def test_a_clean_end_survives_the_operating_system(path: Path) -> None:
    epoch = await used(path)
    mark = Path(f"{path}-mark")
    mark.write_text(mark.read_text().replace(boot_id(), "an-earlier-boot"))
    assert await opened_epoch(path) == epoch


async def test_a_new_epoch_is_logged(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await used(path)
    assert "lost its end" not in caplog.text
    Path(f"{path}-mark").unlink()
    await used(path)
    assert "may have lost its end" in caplog.text


async def test_synced_commits_wait_for_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for synced in (False, True):
        store = await asyncio.to_thread(open_store, str(path), synced=synced, wall=NOON)
        seen.append(store.connection.execute("PRAGMA synchronous").fetchone()[0])
        store.close()
    assert seen == [1, 2]
