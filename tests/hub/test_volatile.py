"""A volatile publication has no place in the log, but says behind what it came."""

from openline.model import Publication
from openline.protocol.json_codec import JsonCodec
from tests.rig import JSON, Rig


class Noting(JsonCodec):
    """Remembers what it was given to encode."""

    def __init__(self) -> None:
        super().__init__(lambda text: text)
        self.given: list[Publication] = []

    def publication(self, publication: Publication) -> bytes:
        self.given.append(publication)
        return super().publication(publication)


async def test_it_is_told_behind_the_newest_stamp_that_has_been_handed_out() -> None:
    rig, codec = Rig(), Noting()
    client = rig.join("a")
    client.wire.codec = codec
    rig.hub.membership.seat(client.connection.subscriptions["a"])
    rig.say("a", 1, volatile=True)
    rig.say("a", 2)
    rig.say("elsewhere", 3)
    rig.say("a", 4, volatile=True)
    epoch = rig.memory.position.epoch
    assert [(p.epoch, p.stamp, p.previous) for p in codec.given][0::2] == [(epoch, 0, 0), (epoch, 0, 2)]
    assert JSON.publication(codec.given[-1]).decode().count("position") == 0
