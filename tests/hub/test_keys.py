"""A key makes a publication safe to repeat: for its user, on whatever connection, and for nobody else."""

import pytest

from openline import Openline
from openline.app.handlers import Handlers
from tests.clients import json_client
from tests.rig import Client, Rig
from tests.server import serving

CHANNEL = "room"


def node() -> Rig:
    handlers = Handlers()
    handlers.let_in(anonymous=True)
    handlers.set_authenticate(lambda token, request: token or None)
    return Rig(handlers=handlers)


def client_of(rig: Rig, user: str | None) -> Client:
    client = rig.line(token=user)
    client.connect()
    return client


def publish(client: Client, key: str) -> str:
    position: str = client.call(type="said", channel=CHANNEL, payload=1, key=key)["position"]
    return position


@pytest.mark.parametrize(("user", "other"), [("ada", "bob"), ("ada", None), ("a", "a "), ("ada", "1")])
def test_two_users_with_the_same_key_publish_two(user: str, other: str | None) -> None:
    rig = node()
    assert publish(client_of(rig, user), "1") != publish(client_of(rig, other), "1")


@pytest.mark.parametrize("user", ["ada", None])
def test_a_repeat_on_another_connection_of_the_same_user_is_the_first_one(user: str | None) -> None:
    rig = node()
    first = publish(client_of(rig, user), "1")
    rig.pass_time(299)
    assert publish(client_of(rig, user), "1") == first
    rig.pass_time(2)
    assert publish(client_of(rig, user), "1") != first


async def test_no_client_can_use_up_a_key_of_the_application() -> None:
    line = Openline()
    line.channel("*", public=True)

    @line.on("order")
    async def order() -> list[str]:
        return [str(await line.publish(CHANNEL, "order", 1, key="order-1")) for _ in range(2)]

    async with serving(line) as served, json_client(served.ws) as client:
        taken = [(await client.get("said", channel=CHANNEL, key=key))["position"] for key in ("order-1", "\norder-1")]
        first, again = await client.get("order")
        assert first == again
        assert first not in taken


@pytest.mark.parametrize("key", ["", "x" * 65, "ada\n1", "\x00"])
async def test_what_is_no_key_is_the_applications_mistake(key: str) -> None:
    line = Openline()
    async with serving(line):
        with pytest.raises(ValueError, match="A key has 1 to 64 printable characters"):
            line.publish(CHANNEL, "said", 1, key=key)
