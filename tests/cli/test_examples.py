"""The examples as the demo finds them, and what it says where the package lacks them."""

from pathlib import Path

import pytest
from tests.clients import fetch
from tests.server import serving

from openline import Openline
from openline.cli import examples as shown

ROOT = Path(__file__).resolve().parents[2]


async def test_where_the_package_lacks_them_the_demo_starts_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shown, "files", lambda name: tmp_path)
    assert shown.examples() == {}
    line = Openline()
    line.add_pages(shown.gallery({}))
    async with serving(line) as served:
        for path in ("/examples", "/examples/"):
            status, _, body = await fetch(served.port, f"GET {path} HTTP/1.1")
            assert status == 200
            assert b"not part of this installation" in body


async def test_their_page_has_the_policy_of_our_own_pages_and_their_code_is_text() -> None:
    found = shown.examples()
    assert tuple(found) == shown.NAMES
    line = Openline()
    line.add_pages(shown.gallery(found))
    async with serving(line) as served:
        _, headers, _ = await fetch(served.port, "GET /examples/ HTTP/1.1")
        assert "default-src 'self'" in headers["content-security-policy"]
    async with serving(found["game"]) as served:
        _, headers, body = await fetch(served.port, "GET /app.py HTTP/1.1")
        assert headers["content-type"].startswith("text/plain")
        assert body == ROOT.joinpath("examples", "game", "app.py").read_bytes()
