"""For tests of programs and of parts of Openline: time that a test moves, clients without a network, suites to pass."""

from openline.testing.check_broker import check_broker
from openline.testing.check_codec import check_codec
from openline.testing.check_directory import check_directory
from openline.testing.client import Client, ClientChannel, client
from openline.testing.clock import FakeClock, settle
from openline.testing.codec_bench import Told
from openline.testing.stage import stage
from openline.testing.wire import FakeWire

__all__ = [
    "Client",
    "ClientChannel",
    "FakeClock",
    "FakeWire",
    "Told",
    "check_broker",
    "check_codec",
    "check_directory",
    "client",
    "settle",
    "stage",
]
