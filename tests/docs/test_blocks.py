"""Every code block of the README and of the pages in docs/ does what it says."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import openline
from tests.docs.blocks import ROOT, Block, Program, all_blocks, blocks
from tests.docs.conftest import Shown

SDK = Path(openline.__file__).parent / "web" / "sdk" / "openline.js"
HARNESS = Path(__file__).with_name("run_block.mjs")
PATIENCE = 60.0
#: As the page about testing says, and nothing left behind.
LOOPS = "asyncio_default_fixture_loop_scope=function"
PYTEST = ("-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-o", LOOPS, "-W", "error")
KINDS = ("python", "js", "html", "text", "sh")

#: To this machine without a proxy.
DIRECTLY = {**os.environ, "no_proxy": "*"}

pytestmark = pytest.mark.server


def check(command: list[str], block: Block, folder: Path) -> None:
    """Run a block; everything that its comments promise must be printed."""
    try:
        ended = subprocess.run(
            command, cwd=folder, env=DIRECTLY, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode()
        raise AssertionError(f"{block} has not ended; it printed:\n{said}") from None
    missing = block.printed - Counter(as_promised(line, block) for line in ended.stdout.splitlines())
    assert ended.returncode == 0, f"{block}\n{ended.stdout}\n{ended.stderr}"
    assert not missing, f"{block} did not print {list(missing)} but:\n{ended.stdout}"


def as_promised(line: str, block: Block) -> str:
    """What the block says of ``line``, which may leave something out with ``…``."""
    patterns = {promise: re.escape(promise).replace("…", ".+") for promise in block.printed}
    return next((promise for promise, pattern in patterns.items() if re.fullmatch(pattern, line)), line)


def at(block: Block, port: int) -> str:
    return block.text.replace("127.0.0.1:8000", f"127.0.0.1:{port}")


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_of_a_page_runs(block: Block, start: Callable[[Program], Shown], tmp_path: Path) -> None:
    shown = start(block.program)
    if block.is_client:
        file = tmp_path / "client.py"
        file.write_text(at(block, shown.port))
        check([sys.executable, str(file)], block, tmp_path)
    elif block.is_test:
        file = shown.folder / "test_block.py"
        file.write_text(block.text)
        check([sys.executable, "-m", "pytest", *PYTEST, str(file)], block, shown.folder)
    assert shown.process.child.poll() is None


@pytest.mark.parametrize("block", blocks("js"), ids=str)
def test_javascript_of_a_page_prints_what_its_comments_say(
    block: Block, start: Callable[[Program], Shown], tmp_path: Path
) -> None:
    shown = start(block.program)
    file = tmp_path / "block.js"
    file.write_text(at(block, shown.port))
    expected = json.dumps(list(block.printed.elements()))
    check(["node", str(HARNESS), str(file), SDK.as_uri(), f"{shown.url}/", expected], block, tmp_path)


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_commands_of_a_page_print_what_their_comments_say(
    block: Block, start: Callable[[Program], Shown], tmp_path: Path
) -> None:
    """In the comments … stands for anything; a command that goes on for ever is ended once all is printed."""
    shown = start(block.program)
    log = tmp_path / "printed.txt"
    with log.open("wb") as output:
        command = ["sh", "-c", at(block, shown.port)]
        shell = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, env=DIRECTLY)
    promised = [re.compile(".*".join(map(re.escape, line.split("…")))) for line in block.printed.elements()]
    try:
        deadline = time.monotonic() + PATIENCE
        while missing := [each.pattern for each in promised if not any(map(each.fullmatch, _lines(log)))]:
            assert time.monotonic() < deadline, f"{block} did not print {missing} but:\n{log.read_text()}"
            time.sleep(0.02)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def _lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


@pytest.mark.parametrize("block", [b for b in all_blocks() if b.word == "not run"], ids=str)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    print(f"{block} is not run: {block.about}")
    assert len(block.about.split()) > 2


@pytest.mark.parametrize("block", all_blocks(), ids=str)
def test_every_block_is_of_a_kind_that_some_test_runs(block: Block) -> None:
    assert block.language in KINDS or block.word == "not run"


@pytest.mark.parametrize("block", [b for b in all_blocks() if b.word == "same as"], ids=str)
def test_a_block_that_stands_in_a_file_is_that_file(block: Block) -> None:
    assert (ROOT / block.about).read_text().endswith(block.text)
