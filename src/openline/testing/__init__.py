"""Fakes for tests of programs and of parts of Openline: time that a test moves, and lines without a network."""

from openline.testing.clock import FakeClock
from openline.testing.wire import FakeWire

__all__ = ["FakeClock", "FakeWire"]
