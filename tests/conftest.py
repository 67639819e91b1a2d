"""How hypothesis searches (CI looks elsewhere every time and prints how to come back), and which tests come first."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from tests.effort import times

settings.register_profile(
    "here",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
    max_examples=times(50),
)
settings.register_profile("ci", settings.get_profile("here"), derandomize=False)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.chromium"]

#: Where several processes share the modules of tests, the long ones begin, so that all of them end together.
LONG = ("browser", "server")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and is_random(item):
            item.add_marker("random")
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=rank)


def is_random(item: pytest.Function) -> bool:
    """Whether more effort tries more of it: hypothesis leads it, or its module asks for the number of times."""
    return getattr(item.obj, "is_hypothesis_test", False) or getattr(item.module, "times", None) is times


def rank(item: pytest.Item) -> int:
    return next((place for place, mark in enumerate(LONG) if item.get_closest_marker(mark)), len(LONG))
