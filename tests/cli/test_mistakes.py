"""The command line as a newcomer meets it: help, and mistakes in one line each."""

import socket as sockets
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.programs import CHAT, MOUNTED
from tests.server import openline

from openline.cli import main
from openline.version import VERSION

pytestmark = pytest.mark.server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.py").write_text(CHAT)
    (tmp_path / "mounted.py").write_text(MOUNTED)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "typo.py").write_text("from openline import Openline\nline = Openline()\nline.chanel('x')\n")
    (tmp_path / "wrong.py").write_text("from openline import Openline\nline = Openline()\nline.channel('b d')\n")
    (tmp_path / "failing.py").write_text(
        "from fastapi import FastAPI\n"
        "async def lifespan(app):\n    raise ValueError('no database')\n    yield\n"
        "from contextlib import asynccontextmanager\napp = FastAPI(lifespan=asynccontextmanager(lifespan))\n"
    )
    return tmp_path


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["serve", "--help"], ["serve", "-h"], ["demo", "--help"]])
def test_every_command_has_help_that_fits_a_terminal(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    assert "..." not in result.output.replace("[OPTIONS] COMMAND [ARGS]...", "")


def test_help_names_the_environment_and_the_defaults() -> None:
    said = " ".join(CliRunner().invoke(main, ["serve", "--help"]).output.split())
    for word in ("127.0.0.1", "8000", "env var: HOST", "env var: PORT", "--allow-origin", "--reload", "chat:line"):
        assert word in said


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"openline, version {VERSION}\n"


# -- mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "nowhere:line"], ["nowhere", "no module"]),
        (["serve", "chat:nothing"], ["chat", "nothing"]),
        (["serve", "chat"], ["module:object"]),
        (["serve", "chat.py:line"], ["chat.py"]),
        (["serve", ":line"], ["module:object"]),
        (["serve", "chat:not_an_app"], ["dict", "Openline"]),
        (["serve", "chat:line", "--engine", "redis"], ["redis", "memory"]),
        (["serve", "chat:line", "--allow-origin", "app.example.com"], ["https://app.example.com"]),
        (["serve", "chat:line", "--allow-host", "http://x"], ["allow_hosts"]),
        (["serve", "chat:line", "--trust-proxy", "nginx"], ["trusted_proxies", "nginx"]),
        (["serve", "mounted:app", "--allow-origin", "https://x.example"], ["mounted:app", "Openline(allow_origins"]),
        (["serve", "chat:line", "--api-key", "short"], ["api_keys", "16 to 256"]),
        (["serve", "mounted:app", "--api-key", "x" * 20], ["mounted:app", "--api-key", "Openline("]),
        (["serve", "wrong:line"], ["b d"]),
        (["serve", "chat:line", "--port", "99999"], ["99999"]),
        (["serve", "chat:line", "--key", "chat.py"], ["certificate"]),
        (["serve", "chat:line", "--certificate", "chat.py"], ["certificate", "chat.py"]),
        (["serve", "chat:line", "--certificate", "none.pem"], ["none.pem"]),
        (["serve", "chat:line", "--host", "no.such.host.invalid"], ["no.such.host.invalid"]),
        (["serve", "chat:line", "--host", "192.0.2.1"], ["192.0.2.1", "cannot listen"]),
        (["demo", "--engine", "redis"], ["redis", "memory"]),
        (["serv"], ["serv"]),
    ],
)
def test_a_mistake_is_told_in_one_line_that_says_what_would_be_right(
    folder: Path, arguments: list[str], words: list[str]
) -> None:
    with openline(folder, *arguments) as process:
        assert process.wait() not in (0, None)
        last = process.said.strip().splitlines()[-1]
        assert last.startswith("Error: "), process.said
        for word in words:
            assert word in last
        assert "Traceback" not in process.said
        # click prints how it is used above its own errors, nothing else comes first.
        assert len([line for line in process.said.splitlines() if line and not line.startswith(("Usage", "Try"))]) == 1


@pytest.mark.parametrize(
    ("target", "words"), [("broken:line", "nothing_of_that_name"), ("typo:line", "chanel"), ("typo:line", "typo.py")]
)
def test_a_mistake_inside_the_program_is_shown_where_it_is(folder: Path, target: str, words: str) -> None:
    with openline(folder, "serve", target) as process:
        assert process.wait() != 0
        assert "Traceback" in process.said
        assert words in process.said


def test_a_port_that_is_taken_is_told_in_one_line(folder: Path) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for extra in ([], ["--reload"]):
            with openline(folder, "serve", "chat:line", "--port", str(port), *extra) as process:
                assert process.wait() == 1
                said = process.said.strip().splitlines()
                assert len(said) == 1, process.said
                assert f"127.0.0.1:{port}" in said[0]
                assert "--port" in said[0]


def test_an_application_that_does_not_start_is_not_blamed_on_the_port(folder: Path) -> None:
    with openline(folder, "serve", "failing:app", "--port", "0") as process:
        assert process.wait() == 1
        assert "no database" in process.said
        assert "did not start" in process.said.splitlines()[-1]
        assert "listen" not in process.said
