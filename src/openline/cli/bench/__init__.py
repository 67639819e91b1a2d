"""``openline bench``: how a server bears a load, and whether everything arrives."""

from openline.cli.bench.command import bench

__all__ = ["bench"]
