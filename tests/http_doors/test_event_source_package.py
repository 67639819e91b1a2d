"""The eventsource package, in Node, through restarts of the server: nothing lost, nothing doubled."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.http_doors.restarts import Publisher, Restarting

pytestmark = pytest.mark.server
SCRIPT = Path(__file__).with_name("event_source.mjs")


def said(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().split("\n")[:-1]]


def numbers(log: Path) -> list[Any]:
    return [event["payload"] for event in said(log) if event.get("type") == "n"]


def wait(log: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(numbers(log)) < count:
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.01)


def test_nothing_is_lost_or_doubled_while_the_server_is_restarted_mid_stream(tmp_path: Path) -> None:
    log = tmp_path / "events.txt"
    with Restarting(tmp_path) as server, log.open("wb") as output:
        url = f"{server.url}/events?channel=chat:1"
        node = subprocess.Popen(["node", str(SCRIPT), url], stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + 60
            while not said(log):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            with Publisher(server.url) as publisher:
                for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
                    wait(log, len(numbers(log)) + 20)
                    server.restart(how)
                    publisher.until(publisher.count + 20)
            wait(log, publisher.count)
            events = said(log)
        finally:
            node.kill()
            node.wait()
    assert numbers(log) == list(range(publisher.count))
    # What was sent to everybody does not outlive the process; that may be told, and nothing else.
    assert {event.get("channel") for event in events if event.get("type") == "$gap"} <= {None}
    assert len([event for event in events if event.get("fired") == "open"]) >= 4
    assert all(event["id"] == event["position"] for event in events if event.get("type") == "n")
