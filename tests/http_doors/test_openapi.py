"""The document of the backend API says what the server does: schemathesis asks a real one, in every way it knows."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from openline.protocol.api import OPERATIONS
from openline.protocol.openapi import document
from tests.server import Process, openline

KEY = "a-key-for-the-backend-api"
CHECKS = Path(__file__).with_name("openapi_checks.py")
PROGRAM = """
from openline import Openline

line = Openline()
line.channel("chat:*", history=100, presence=True, public=True)
line.channel("live:*", volatile=True)
"""
#: Where it is told to end, as one of the operations does, it says so and goes on: the others are still to be asked.
LASTING = """
import signal, threading
from openline.app.server import make_server

signal.signal(signal.SIGTERM, lambda *_: print("told to end", flush=True))
thread = threading.Thread(target=make_server(line, host="127.0.0.1", port=0, log_level="info").run)
thread.start()
thread.join()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Process]:
    (tmp_path / "app.py").write_text(PROGRAM)
    with openline(tmp_path, "serve", "app:line", "--port", "0", environment={"OPENLINE_API_KEYS": KEY}) as process:
        yield process


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Process]:
    (tmp_path / "lasting.py").write_text(PROGRAM + LASTING)
    with Process([sys.executable, "lasting.py"], tmp_path, {"OPENLINE_API_KEYS": KEY}) as process:
        yield process


@pytest.mark.server
@pytest.mark.timeout(300)
def test_schemathesis_finds_nothing_that_the_document_does_not_say(lasting: Process, tmp_path: Path) -> None:
    url, _ = lasting.address()
    (tmp_path / "schemathesis.toml").touch()
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", "schemathesis.toml", "run"]
    command += [f"{url}/api/v1/openapi.json", "--header", f"Authorization: Bearer {KEY}", "--seed", "1"]
    command += ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--max-examples", "25"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": CHECKS.stem, "PYTHONPATH": str(CHECKS.parent), "NO_COLOR": "1"}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    assert f"Tested: {len(OPERATIONS)}" in ended.stdout
    assert "Traceback" not in lasting.said
    assert "told to end" in lasting.said


def test_the_document_names_every_operation_and_where_the_server_is() -> None:
    said: dict[str, Any] = json.loads(document("/live/api/v1"))
    assert said["openapi"] == "3.1.0"
    assert said["servers"] == [{"url": "/live/api/v1"}]
    described = {(path, method) for path, methods in said["paths"].items() for method in methods}
    assert described == {(f"/{each.name}", each.method.lower()) for each in OPERATIONS}
    words = [each["operationId"] for methods in said["paths"].values() for each in methods.values()]
    assert len(words) == len(set(words)) == len(OPERATIONS)


def test_the_document_reads_well_outside_of_python() -> None:
    text = document("/api/v1").decode()
    for word in ("``", r"\\Z", r"\\A", ":class:", "    "):
        assert word not in text


def test_every_reference_in_the_document_leads_somewhere() -> None:
    said: dict[str, Any] = json.loads(document("/api/v1"))
    kinds = {f"#/components/schemas/{name}" for name in said["components"]["schemas"]}

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            if "$ref" in value:
                yield value["$ref"]
            value = list(value.values())
        for each in value if isinstance(value, list) else ():
            yield from references(each)

    assert set(references(said)) == kinds


@pytest.mark.server
def test_the_document_is_open_and_everything_else_is_not(server: Process) -> None:
    url, _ = server.address()
    with httpx.Client(base_url=f"{url}/api/v1", trust_env=False) as client:
        assert client.get("/openapi.json").json()["servers"] == [{"url": "/api/v1"}]
        for each in OPERATIONS:
            assert client.request(each.method, f"/{each.name}").status_code == 401
