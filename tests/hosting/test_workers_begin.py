"""How workers begin, and what they say where they cannot."""

import json
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from tests.server import PATIENCE, Process, openline

from openline import Openline, SettingsError, serve
from openline.app.loading import name_of
from openline.app.seat import Seat
from openline.cli import main


def refused(*arguments: str) -> str:
    """What the command says, which starts nothing."""
    result = CliRunner().invoke(main, ["serve", "work:line", *arguments])
    assert result.exit_code != 0
    return result.output


def test_whoever_starts_a_second_server_on_the_port_is_told() -> None:
    with socket.socket() as taken:
        # It would share the port with whoever sets the same option.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert "cannot listen there" in refused("--workers", "2", "--port", port)


def test_what_workers_cannot_be_is_said() -> None:
    assert "0 is not in the range" in refused("--workers", "0")
    assert "leave --workers out" in refused("--workers", "2", "--reload")


def test_one_worker_says_once_why_the_application_does_not_start(tmp_path: Path) -> None:
    with openline(tmp_path, "serve", "nowhere:line", "--port", "0", "--workers", "2") as process:
        assert process.wait() == 1
    assert process.said.count("there is no module 'nowhere'") == 1, process.said
    assert "[worker 1]" in process.said
    assert "Traceback" not in process.said


STANDALONE = """
from openline import Openline, serve

line = Openline()
line.channel("chat:*", history=10, public=True)

if __name__ == "__main__":
    serve(line, port=0, workers=2)
"""


def test_a_program_serves_itself_with_workers_that_end_when_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(STANDALONE)
    with Process([sys.executable, "alone.py"], tmp_path) as process:
        address, port = process.address()
        assert httpx.get(f"{address}/readyz").status_code == 200
        process.end(signal.SIGKILL)
    assert "with 2 workers" in process.said
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            break
        time.sleep(0.05)
    else:
        raise AssertionError(process.said)
    assert "[worker 1] The supervisor is gone: this worker ends" in process.said


def test_a_program_without_a_guard_is_told_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openline.app.seat._taken", [Seat(engine="", key="", address="", supervisor=1)])
    with pytest.raises(SettingsError, match="put it below if __name__ == '__main__'"):
        serve("alone:line", workers=2)


def test_an_application_without_a_name_cannot_be_imported_by_workers() -> None:
    with pytest.raises(SettingsError, match="keep it in a variable of a module"):
        serve([Openline()][0], workers=2)
    with pytest.raises(SettingsError, match="1 or more"):
        serve([Openline()][0], workers=0)


def test_an_application_is_found_by_the_name_that_it_has() -> None:
    assert name_of(json.loads) == ("json:loads", "")


def test_a_worker_is_reached_at_its_own_port_of_the_advertised_host() -> None:
    seat = Seat(engine="", key="", address="http://127.0.0.1:4711", supervisor=1)
    assert seat.reached("") == "http://127.0.0.1:4711"
    assert seat.reached("http://10.0.0.7:8000") == "http://10.0.0.7:4711"
    assert seat.reached("http://[::1]:8000") == "http://[::1]:4711"
