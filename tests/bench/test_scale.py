"""``make scale`` in small: that it measures, checks what it says it checks, and writes its page."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
#: One short round of each kind of case.
CASES = "all,visits,flood 2 1"

pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(which("cc") is None, reason="the load client is written in C: needs a compiler"),
]


@pytest.fixture(scope="module", autouse=True)
def modules() -> Iterator[None]:
    """The folder's modules, built."""
    sys.path.insert(0, str(BENCH))
    from build import build, build_limit, build_swarm

    assert build(build_swarm, build_limit) == []
    yield
    sys.path.remove(str(BENCH))


def test_a_short_run_measures_loses_nothing_and_writes_its_page(tmp_path: Path) -> None:
    results, page = tmp_path / "results.json", tmp_path / "scaling.md"
    where = ("--results", str(results), "--page", str(page))
    command = (sys.executable, "scale.py", "--quick", "--clients", "80", "--only", CASES, *where)
    done = subprocess.run(command, cwd=BENCH, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[dict[str, float]]] = json.loads(results.read_text())["cases"]
    assert set(found) == {"all limit", "all", "visits", "flood 2 1"}
    together = found["all"][0]
    assert together["lost their node"] == 20
    assert (together["storm lost"], together["storm doubled"], together["unrecovered"]) == (0, 0, 0)
    # Its client hears of every publication, and Redis writes each once for each node.
    assert found["flood 2 1"][0]["engine scripts per publish"] == pytest.approx(1, abs=0.3)
    assert 2 <= found["visits"][0]["engine scripts per visit"] <= 8
    text = page.read_text()
    assert "| lost their node at once | 20 |" in text
    for picture in ("scaling-last.svg", "scaling-publishes.svg"):
        assert f"images/{picture}" in text
        assert (tmp_path / "images" / picture).read_text().startswith("<svg")


def counts_of(*options: object, messages: int) -> tuple[dict[str, Any], float]:
    """What twenty clients of two limits say that came, and how much is missing."""
    from scale_cases import counts_of as told_by
    from scale_servers import limits
    from scale_swarm import swarm

    with limits(2) as servers, swarm(servers.addresses, 20, 2, "--plain", *options) as clients:
        clients.ask("open")
        for _ in range(messages):
            clients.ask_first("publish")
        clients.ask("quiet", 0.2)
        return told_by(clients), clients.total("missing", "check", messages)


def test_what_does_not_reach_everybody_is_missed() -> None:
    counts, missing = counts_of("--all-nodes", messages=3)
    assert (counts["deliveries"], counts["doubled"], missing) == (60, 0, 0)
    # Said to one of two servers that nothing links.
    counts, missing = counts_of(messages=3)
    assert (counts["deliveries"], missing) == (30, 30)


def test_a_case_in_which_something_is_lost_or_comes_twice_fails() -> None:
    from measure import MeasurementError
    from scale_cases import must_be_whole

    whole = {"lost": 0.0, "doubled": 0.0, "gaps": 0.0}
    must_be_whole(whole, 0, "here")
    for wrong, missing in ((whole | {"doubled": 1.0}, 0), (whole, 1)):
        with pytest.raises(MeasurementError, match="here"):
            must_be_whole(wrong, missing, "here")
