"""How often what is random is tried, and where it begins: little and alike every day, more and elsewhere otherwise."""

import os
import random
from typing import Final

#: ``OPENLINE_EFFORT=20`` tries everything that is random twenty times as often as ``make test`` does.
EFFORT: Final = float(os.environ.get("OPENLINE_EFFORT", "1"))


def times(everyday: int) -> int:
    """How many examples, streams or kills: so many every day."""
    return max(1, round(everyday * EFFORT))


def seed() -> int:
    """Where chance begins: the same every day, another one in CI and in ``make fuzz``; ``OPENLINE_SEED`` names it."""
    named = os.environ.get("OPENLINE_SEED")
    if named:
        return int(named)
    return random.randrange(2**32) if EFFORT > 1 or os.environ.get("CI") == "true" else 0
