"""A store in trouble, seen from outside: what ``openline`` says at the start, and what its clients are told."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from tests.clients import json_client, opened
from tests.disks import disk, fill, read_only
from tests.programs import CHAT
from tests.server import openline
from websockets.exceptions import InvalidStatus

pytestmark = pytest.mark.server

MOUNTED = """
from fastapi import FastAPI
from openline import Openline, Settings

app = FastAPI()
app.mount("/rt", Openline(settings=Settings(engine="sqlite:nowhere/chat.db")))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.py").write_text(CHAT)
    (tmp_path / "mounted.py").write_text(MOUNTED)
    return tmp_path


def make_store(folder: Path) -> Path:
    with openline(folder, "serve", "chat:line", "--port", "0", "--engine", "sqlite:chat.db") as process:
        process.address()
        assert process.end() == 0
    return folder / "chat.db"


@pytest.fixture
def broken(folder: Path) -> Iterator[Path]:
    """A folder of stores, each of which cannot be used for a reason of its own."""
    store = make_store(folder)
    content = bytearray(store.read_bytes())
    content[2 * 4096] ^= 4
    (folder / "flipped.db").write_bytes(content)
    (folder / "text.db").write_text("not a database, whatever its name says\n" * 10)
    with sqlite3.connect(folder / "other.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    (folder / "unwritable.db").write_bytes(store.read_bytes())
    with ExitStack() as stack:
        stack.enter_context(read_only(folder / "unwritable.db"))
        fill(stack.enter_context(disk(folder / "full", "1m")))
        yield folder


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere/chat.db", "there is no folder"),
        (".", "names no file"),
        ("flipped.db", "is damaged: put back a copy"),
        ("text.db", "is no SQLite file"),
        ("other.db", "database of another program"),
        ("unwritable.db", "let this user write the file"),
        ("full/chat.db", "free some space"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_in_one_line(broken: Path, path: str, words: str) -> None:
    with openline(broken, "serve", "chat:line", "--port", "0", "--engine", f"sqlite:{path}") as process:
        assert process.wait() == 1
        (line,) = process.said.splitlines()
        assert line.startswith("Error: engine: ")
        assert words in line


def test_a_second_demo_is_told_in_one_line_who_has_the_chat(folder: Path) -> None:
    environment = {"XDG_STATE_HOME": str(folder / "state")}
    with openline(folder, "demo", "--port", "0", environment=environment) as first:
        first.address()
        with openline(folder, "demo", "--port", "0", environment=environment) as second:
            assert second.wait() == 1
            (line,) = second.said.splitlines()
        assert line.startswith("Error: engine: ")
        assert f"in use by process {first.child.pid}" in line
        assert "memory" in line
        assert first.end() == 0


def test_a_server_that_reloads_says_in_one_line_why_it_does_not_start(folder: Path) -> None:
    options = ["--port", "0", "--reload", "--engine", "sqlite:nowhere/chat.db"]
    with openline(folder, "serve", "chat:line", *options) as process:
        process.wait_for(re.compile(r"ERROR .*there is no folder.*\n"))
        process.end()
        assert len(process.said.splitlines()) == 1


async def test_where_it_is_mounted_its_clients_are_told_that_it_cannot_start_and_the_log_says_why(
    folder: Path,
) -> None:
    with openline(folder, "serve", "mounted:app", "--port", "0") as process:
        http, port = process.address()
        with pytest.raises(InvalidStatus) as refused:
            async with opened(f"ws://127.0.0.1:{port}/rt/openline"):
                pass
        assert refused.value.response.status_code == 503
        with pytest.raises(HTTPError, match="503"):
            urlopen(f"{http}/rt/healthz")
        assert process.said.count("there is no folder") == 2
        assert "Traceback" not in process.said
        assert process.end() == 0


async def test_while_the_disk_is_full_publishing_fails_for_now_and_is_never_acknowledged(folder: Path) -> None:
    with disk(folder / "disk", "2m") as full:
        options = ["--port", "0", "--engine", "sqlite:disk/chat.db"]
        with openline(folder, "serve", "chat:line", *options) as process:
            _, port = process.address()
            async with json_client(f"ws://127.0.0.1:{port}") as ada:
                await ada.get("$subscribe", channel="chat:a")
                first = await ada.get("note", channel="chat:a", payload="first", key="1")
                ballast = fill(full)
                acknowledged = [("first", first["position"])]
                refused = []
                for n in range(200):
                    answer = await ada.ask("note", channel="chat:a", payload=f"{n}" + "x" * 20_000, key=f"n{n}")
                    if answer["type"] == "$reply":
                        acknowledged.append((f"{n}" + "x" * 20_000, answer["payload"]["position"]))
                    else:
                        assert (answer["code"], answer["retry"]) == ("unavailable", True)
                        refused.append(n)
                assert len(refused) > 50
                assert await ada.get("hello", payload="Ada") == "Hello, Ada!"
                kept = await ada.get("$history", channel="chat:a", limit=1000)
                assert kept["publications"][-1]["payload"] == acknowledged[-1][0]
                ballast.unlink()
                again = await ada.get("note", channel="chat:a", payload="again", key=f"n{refused[0]}")
                acknowledged.append(("again", again["position"]))
                kept = await ada.get("$history", channel="chat:a", limit=1000)
                found = [(p["payload"], p["position"]) for p in kept["publications"]]
                assert found == acknowledged[-len(found) :]
                heard = [(p["payload"], p["position"]) for p in ada.pushes if p["type"] == "note"]
                assert heard == acknowledged, "who listens heard what was acknowledged, and nothing else"
            assert process.end() == 0
        assert process.said.count("Publishing fails: ") == 1
        assert process.said.count("Publishing works again: ") == 1
