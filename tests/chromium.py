"""A Chromium for each module of tests that need a real browser."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# Playwright keeps an event loop running until it is stopped, and tests of other modules have one of their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None)
    assert path is not None, "these tests need chromium (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        # Playwright turns the back-forward cache off, for its own ``go_back`` waits for a page that loads.
        cached = ["--disable-back-forward-cache"]
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, ignore_default_args=cached)
        yield browser
        browser.close()
