"""The servers that the pages show, each started once."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Program
from tests.server import Process, openline


class Shown:
    """A program of a page, as a process."""

    def __init__(self, process: Process, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.url, self.port = process.address()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Program], Shown]]:
    """Starts a program with ``openline serve``, once."""
    started: dict[Program, Shown] = {}

    def start(program: Program) -> Shown:
        if program not in started:
            folder = tmp_path_factory.mktemp("page")
            for name, text in {**program.files, program.name: program.text}.items():
                (folder / name).write_text(text)
            process = openline(folder, "serve", program.target, "--port", "0")
            with_process.append(process)
            started[program] = Shown(process, folder)
        return started[program]

    with_process: list[Process] = []
    yield start
    for process in with_process:
        process.child.terminate()
    for process in with_process:
        with process:
            process.wait()
