"""How hypothesis searches (CI looks elsewhere every time and prints how to come back), and the one browser."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "here", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("ci", settings.get_profile("here"), derandomize=False)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")

pytest_plugins = ["tests.chromium"]
