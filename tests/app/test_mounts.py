"""One Openline with others below it: each answers at its own path, hosted by the same server, and ends with it."""

import asyncio

import pytest
from tests.clients import fetch, json_client
from tests.server import serving, until

from openline import Openline, OpenlineError, Settings
from openline.app.mounts import Mounts
from openline.transports.websocket import WebSocketLine


def speaking(word: str) -> Openline:
    line = Openline()
    line.channel("chat:*", history=10, public=True)
    line.on("who")(lambda connection: word)
    return line


async def test_each_answers_below_its_own_path_and_all_are_hosted_natively() -> None:
    async with serving(Mounts(speaking("top"), {"/a": speaking("a"), "/c": speaking("c")})) as it:
        for path, word in (("", "top"), ("/a", "a"), ("/c", "c")):
            async with json_client(it.ws + path) as client:
                assert await client.get("who") == word
                assert [type(each) for each in it.connections] == [WebSocketLine]
            await until(lambda: not it.connections)


async def test_what_is_published_in_one_is_not_heard_in_another() -> None:
    top, below = speaking("top"), speaking("below")
    async with serving(Mounts(top, {"/a": below})) as it:
        top.publish("chat:x", "message", 1)
        below.publish("chat:x", "message", 2)
        for path, payload in (("", 1), ("/a", 2)):
            _, _, body = await fetch(it.port, f"GET {path}/api/messages?channel=chat:x HTTP/1.1")
            assert f'"payload":{payload}'.encode() in body
            assert body.count(b'"payload"') == 1


async def test_a_path_without_its_slash_leads_to_the_one_with_it() -> None:
    async with serving(Mounts(speaking("top"), {"/a": speaking("a")})) as it:
        status, headers, _ = await fetch(it.port, "GET /a HTTP/1.1")
        assert (status, headers["location"]) == (308, "/a/")
        status, _, _ = await fetch(it.port, "GET /abc HTTP/1.1")
        assert status == 404


async def test_they_start_and_stop_together() -> None:
    said: list[str] = []

    def told(name: str) -> Openline:
        line = speaking(name)

        @line.task
        async def last() -> None:
            said.append(f"{name} begun")
            try:
                await asyncio.Event().wait()
            finally:
                said.append(f"{name} ended")

        return line

    async with serving(Mounts(told("top"), {"/a": told("a")})):
        await until(lambda: sorted(said) == ["a begun", "top begun"])
        said.clear()
    assert sorted(said) == ["a ended", "top ended"]


async def test_one_that_cannot_start_keeps_the_server_from_starting() -> None:
    broken = Openline(settings=Settings(engine="sqlite:/nowhere/at/all.db"))
    with pytest.raises(OpenlineError, match="nowhere"):
        async with serving(Mounts(speaking("top"), {"/a": broken})):
            pass
