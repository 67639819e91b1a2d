"""The command line: ``openline serve`` and ``openline demo``."""

from openline.cli.main import main

__all__ = ["main"]
