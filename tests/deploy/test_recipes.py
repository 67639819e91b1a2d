"""The recipes for containers, platforms and systemd: what can be shown of them without these."""

import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import CHAT
from tests.server import Process, openline

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, with continued lines joined."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in joined.splitlines()]


def environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for word, rest in instructions() if word == "ENV" for pair in shlex.split(rest))


def exec_form(word: str) -> list[str]:
    [text] = [rest for each, rest in instructions() if each == word]
    return list(yaml.safe_load(text[text.index("[") :]))


def test_the_dockerfile_has_only_what_docker_knows_and_runs_as_nobody_special() -> None:
    words = [word for word, _ in instructions()]
    assert set(words) <= INSTRUCTIONS
    assert words[0] == "FROM"
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users
    assert "root" not in users
    # The exec form: a shell in between would keep SIGTERM to itself.
    assert exec_form("CMD")[:2] == ["openline", "serve"]


@pytest.mark.server
def test_the_images_command_serves_every_address_at_the_port_of_the_platform_and_is_healthy(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(CHAT)
    told = {**environment(), "PORT": "0", "OPENLINE_ENGINE": f"sqlite:{tmp_path}/chat.db"}
    with openline(tmp_path, *exec_form("CMD")[1:], environment=told) as process:
        url, port = process.address()
        assert url == f"http://0.0.0.0:{port}"
        healthy = [sys.executable, *exec_form("HEALTHCHECK")[1:]]
        assert exec_form("HEALTHCHECK")[0] == "python"
        assert subprocess.run(healthy, check=False, env={"PORT": str(port)}).returncode == 0
        assert (tmp_path / "chat.db").exists()
        assert process.end() == 0
        assert subprocess.run(healthy, check=False, env={"PORT": str(port)}, capture_output=True).returncode != 0


@pytest.mark.server
def test_names_origins_and_proxies_may_stand_in_the_environment(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(CHAT)
    told = {
        "PORT": "0",
        "OPENLINE_ALLOW_HOST": "chat.example.com www.example.com",
        "OPENLINE_ALLOW_ORIGIN": "https://app.example.com",
        "OPENLINE_TRUST_PROXY": "127.0.0.1 10.0.0.0/8",
    }
    with openline(tmp_path, "serve", "chat:line", environment=told) as process:
        url, _ = process.address()
        for host, origin in (
            ("chat.example.com", "https://chat.example.com"),
            ("www.example.com", "https://app.example.com"),
        ):
            headers = {"Host": host, "Origin": origin, "X-Forwarded-Proto": "https"}
            request = urllib.request.Request(f"{url}/api/messages?channel=chat:1", headers=headers)
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 200


def grace(text: str) -> float:
    return float(text.removesuffix("s"))


def test_compose_fly_and_render_files_agree_with_the_image() -> None:
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    chat = compose["services"]["chat"]
    assert grace(chat["stop_grace_period"]) > 30
    for service in compose["services"].values():
        for mount in service["volumes"]:
            source = mount.split(":")[0]
            assert source in compose["volumes"] or source == "./certificates" or (DEPLOY / source).exists()
    fly = tomllib.loads((DEPLOY / "fly.toml").read_text())
    assert (fly["kill_signal"], grace(fly["kill_timeout"]) > 30) == ("SIGTERM", True)
    assert str(fly["http_service"]["internal_port"]) == fly["env"]["PORT"]
    assert fly["env"]["HOST"] == "0.0.0.0"
    [render] = yaml.safe_load((DEPLOY / "render.yaml").read_text())["services"]
    assert render["maxShutdownDelaySeconds"] > 30
    assert (DEPLOY / render["dockerfilePath"]).exists()
    volume = next(rest for word, rest in instructions() if word == "VOLUME")
    places = [mount.split(":")[1] for mount in chat["volumes"]]
    assert {volume} == {render["disk"]["mountPath"], fly["mounts"][0]["destination"], *places}
    for checks in (render["healthCheckPath"], fly["http_service"]["checks"][0]["path"]):
        assert checks == "/readyz"


def told(name: str) -> list[str]:
    """What the unit says under ``name``."""
    lines = (DEPLOY / "openline.service").read_text().splitlines()
    return [line.split("=", 1)[1] for line in lines if line.startswith(f"{name}=")]


@pytest.mark.server
def test_the_units_command_runs_and_ends_within_its_time(tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(CHAT)
    variables = dict(pair.split("=", 1) for line in told("Environment") for pair in line.split())
    variables |= {"PORT": "0", "OPENLINE_ENGINE": f"sqlite:{tmp_path}/chat.db"}
    [command] = told("ExecStart")
    own = str(Path(sys.executable).with_name("openline"))
    with Process([own, *shlex.split(command)[1:]], tmp_path, variables) as process:
        process.address()
        assert process.end() == 0
    assert int(told("TimeoutStopSec")[0]) > 30


@pytest.mark.systemd
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "openline.service").read_text()
    # That the program is installed is looked at, too.
    unit = tmp_path / "chat.service"
    unit.write_text(text.replace("/opt/chat/.venv/bin/openline", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True)
    own = [line for line in done.stderr.splitlines() if "chat.service" in line]
    assert own == [], done.stderr
