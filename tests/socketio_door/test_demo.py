"""The demo's lobby for Socket.IO's clients."""

import json

from openline.cli.demo import LOBBY, demo_line
from tests.clients import json_client, opened
from tests.server import serving
from tests.socketio_door.hands import polled, spoken


def heard(text: str) -> list[str]:
    said = json.dumps(text, ensure_ascii=False)
    return [f'42["message",{said}]', f'42["chat message",{said}]']


async def test_a_text_in_the_lobby_reaches_everybody_once_under_both_names_whatever_door_it_came_through() -> None:
    line = demo_line()
    async with (
        serving(line) as served,
        spoken(served) as one,
        polled(served) as two,
        json_client(served.ws) as other,
        opened(f"{served.ws}/raw/{LOBBY}") as raw,
    ):
        await one.enter('40{"token":"ada"}')
        await two.enter()
        await other.get("$subscribe", channel=LOBBY)
        for name, text in (("message", "first"), ("chat message", "zweitens é")):
            await one.say(f'42["{name}",{json.dumps(text)}]')
            assert [await one.hear(), await one.hear()] == heard(text)
            assert [await two.hear(), await two.hear()] == heard(text)
            push = await other.push()
            assert (push["type"], push["payload"], push["from"]["user"]) == ("message", text, "ada")
            assert await raw.recv() == text
        await raw.send("from raw")
        await other.get("message", channel=LOBBY, payload="from json")
        await other.get("message", channel=LOBBY, payload={"a": 1})
        await other.get("typing", channel=LOBBY, payload=True, volatile=True)
        for text in ("from raw", "from json", '{"a": 1}'):
            got = [await one.hear(), await one.hear()]
            assert got == heard(text) or json.loads(json.loads(str(got[0])[2:])[1]) == {"a": 1}
        assert await one.hear() == '42["typing",true]'
        history = await other.get("$history", channel=LOBBY)
        assert len(history["publications"]) == 5


async def test_what_is_no_text_is_not_said() -> None:
    line = demo_line()
    async with serving(line) as served, spoken(served) as one:
        await one.enter()
        await one.say('421["message",{"a":1}]', '422["message"]', '42["message","text"]')
        assert [await one.hear(), await one.hear()] == heard("text")


async def test_a_name_that_is_no_name_is_refused() -> None:
    async with serving(demo_line()) as served, spoken(served) as one:
        await one.hear()
        await one.say(f'40{{"token":"{"x" * 40}"}}')
        assert json.loads(str(await one.hear())[2:])["data"] == {"code": "unauthorized"}
