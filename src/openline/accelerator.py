"""The optional native part: ``openline._native``, if it was built and ``OPENLINE_PURE`` does not forbid it."""

import importlib
import os
from typing import Any, Final

__all__ = ["native"]

#: Of what the native part offers. One that was built for another is left alone: it is older than the rest.
_REVISION: Final = 9


def _find() -> Any:
    if os.environ.get("OPENLINE_PURE", "0") not in ("", "0"):
        return None
    try:
        found = importlib.import_module("openline._native")
    except ImportError:
        return None
    return found if getattr(found, "REVISION", None) == _REVISION else None


#: The native module; None where its pure-Python twins do the work.
native: Final[Any] = _find()
