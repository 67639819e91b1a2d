"""How often what is random is tried: little in everyday runs, much more in ``make fuzz``."""

import os
from typing import Final

#: ``OPENLINE_EFFORT=20`` tries everything that is random twenty times as often as ``make test`` does.
EFFORT: Final = float(os.environ.get("OPENLINE_EFFORT", "1"))


def times(everyday: int) -> int:
    """How many examples, streams or kills: so many every day."""
    return max(1, round(everyday * EFFORT))
