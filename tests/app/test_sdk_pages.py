"""The browser SDK as it is served: small, whole, and without what a browser does not run."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

from openline.app.pages import sdk_pages

LIMIT = 16 * 1024
MORE_LIMIT = 3 * 1024
#: What a page loads only where its messages are to outlive it, and where no WebSocket gets through.
ON_DEMAND = (("/openline/stay.js", "/openline/shelf.js"), ("/openline/http.js",))


def test_what_every_page_loads_has_less_than_16_kb_gzipped() -> None:
    sizes = {path: len(page.zipped or page.body) for path, page in sdk_pages().items()}
    assert "/openline.js" in sizes
    for more in ON_DEMAND:
        assert sum(sizes.pop(path) for path in more) < MORE_LIMIT, sizes
    assert sum(sizes.values()) < LIMIT, sizes


def test_only_scripts_are_served_and_their_code_is_all_there() -> None:
    folder = Path(__file__).parents[2] / "src" / "openline" / "web" / "sdk"
    for path, page in sdk_pages().items():
        assert path.endswith(".js")
        code = [
            line
            for line in (folder / path[1:]).read_text().splitlines()
            if line.strip() and not line.strip().startswith(("//", "/**", "*"))
        ]
        served = page.body.decode().splitlines()
        assert [line for line in served if line.strip()] == code
        assert gzip.decompress(page.zipped or gzip.compress(page.body)) == page.body


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_what_is_served_is_good_javascript(tmp_path: Path) -> None:
    for path, page in sdk_pages().items():
        file = tmp_path / f"{path[1:].replace('/', '_').removesuffix('.js')}.mjs"
        file.write_bytes(page.body)
        subprocess.run(["node", "--check", str(file)], check=True)
