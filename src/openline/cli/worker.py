"""What ``openline serve --workers`` starts: one worker, with the command line's options."""

from typing import Any

from openline.app.worker import run
from openline.cli.serve import prepare

__all__ = ["main"]


def _make(order: dict[str, Any]) -> Any:
    return prepare(order["target"], order["options"])


def main() -> None:
    """Serve what the order names."""
    run(_make)


if __name__ == "__main__":
    main()
