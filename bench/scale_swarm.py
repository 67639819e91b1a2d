"""Owns the clients of the scale measurements: several processes of bench/swarm, spoken to as one."""

import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from build import BUILD
from measure import MeasurementError

#: No answer may take longer.
PATIENCE_SECONDS = 60.0
SOURCES = 20
Answer = dict[str, Any]


class Swarm:
    """Clients in several processes, each of which has its share; see bench/swarm/main.c for the commands."""

    def __init__(self, processes: Sequence["subprocess.Popen[bytes]"]) -> None:
        self._processes = processes

    def ask(self, *words: object) -> list[Answer]:
        """Have every process carry a command out at the same time; their answers, in order."""
        self.tell(*words)
        return self.answers()

    def tell(self, *words: object) -> None:
        """Begin a command; :meth:`answers` ends it."""
        for process in self._processes:
            _write(process, *words)

    def answers(self) -> list[Answer]:
        return [_answer(process) for process in self._processes]

    def ask_first(self, *words: object) -> Answer:
        """The first process alone."""
        _write(self._processes[0], *words)
        return _answer(self._processes[0])

    def tell_first(self, *words: object) -> None:
        _write(self._processes[0], *words)

    def first_answer(self) -> Answer:
        return _answer(self._processes[0])

    def total(self, name: str, *words: object) -> float:
        """The sum of one figure over all processes."""
        return sum(float(answer[name]) for answer in self.ask(*words))


@contextmanager
def swarm(addresses: Sequence[str], clients: int, processes: int, *options: object) -> Iterator[Swarm]:
    """``clients`` in all, at these addresses in turn; they end with the block."""
    share = -(-clients // processes)
    shares = [(first, min(share, clients - first)) for first in range(0, clients, share)]
    nodes = [word for address in addresses for word in ("--node", address)]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for first, count in shares:
            own = ("--first", first, "--clients", count, "--sources", SOURCES, *options)
            command = [str(BUILD / "swarm"), *nodes, *map(str, own)]
            started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        yield Swarm(started)
    except OSError as error:
        raise MeasurementError(f"the load clients: {error}") from error
    finally:
        for process in started:
            process.kill()
            process.wait()
            for end in (process.stdin, process.stdout):
                if end is not None:
                    end.close()


def _write(process: "subprocess.Popen[bytes]", *words: object) -> None:
    assert process.stdin is not None
    process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
    process.stdin.flush()


def _answer(process: "subprocess.Popen[bytes]") -> Answer:
    """The next line, which comes whole."""
    assert process.stdout is not None
    deadline = time.monotonic() + PATIENCE_SECONDS
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise MeasurementError(f"the load clients did not come to an end within {PATIENCE_SECONDS:.0f} s")
            data = os.read(process.stdout.fileno(), 4096)
            if not data:
                raise MeasurementError(f"a load client ended with {process.wait()}")
            line += data
    answer: Answer = json.loads(line)
    if answer["event"] == "error":
        raise MeasurementError(f"a load client: {answer['why']}")
    return answer
