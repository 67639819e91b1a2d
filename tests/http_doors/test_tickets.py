"""A ticket stands once, for a short while, for the user who got it, and for nothing else."""

from typing import Any

from openline import HttpSettings, Openline, Settings, User
from tests.http_doors.rig import natively, problem, source, web
from tests.server import until


def application(**settings: Any) -> Openline:
    line = Openline(settings=Settings(http=HttpSettings(**settings)))
    line.channel("chat:*", history=10, public=True)
    line.channel("own:*", subscribe=lambda connection, name: name == f"own:{connection.user.id}", see_history=True)
    line.authenticate(lambda token, request: User(token, {"a": 1}) if token in ("ada", "bob") else None)
    return line


async def ticket(client: Any, token: str = "ada") -> str:
    got = await client.post("/ticket", headers={"authorization": f"Bearer {token}"})
    assert got.status_code == 200
    assert got.headers["cache-control"] == "no-store"
    assert got.json()["seconds"] == 30 or got.json()["seconds"] < 1
    return got.json()["ticket"]


async def test_a_ticket_opens_one_stream_as_its_user() -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        text = await ticket(client)
        async with source(served, f"channel=own:ada&ticket={text}") as events:
            assert events.response.status_code == 200
            await events.until(lambda: events.reader.last_id)
            assert [connection.user for connection in line.connections] == [User("ada", {"a": 1})]
            again = await client.get(f"/events?channel=own:ada&ticket={text}")
            assert problem(again) == (401, "unauthorized")
        assert problem(await client.get(f"/events?channel=own:ada&ticket={text}")) == (401, "unauthorized")


async def test_a_stream_that_begins_where_its_ticket_says_misses_nothing_from_there_on() -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        await line.publish("chat:1", "n", "before")
        got = (await client.post("/ticket", headers={"authorization": "Bearer ada"})).json()
        await line.publish("chat:1", "n", "meanwhile")
        async with source(served, f"channel=chat:1&ticket={got['ticket']}&since={got['position']}") as events:
            await line.publish("chat:1", "n", "then")
            assert await events.payloads(2) == ["meanwhile", "then"]


async def test_a_server_that_drains_gives_no_tickets_and_says_when_to_ask_again() -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        line.running.hub.lifecycle.closing = True
        refused = await client.post("/ticket", headers={"authorization": "Bearer ada"})
        assert problem(refused) == (503, "unavailable")
        assert refused.headers["retry-after"] == "1"


async def test_a_ticket_gives_no_more_than_its_user_has_and_is_used_up_all_the_same() -> None:
    async with natively(application()) as served, web(served) as client:
        text = await ticket(client, "bob")
        assert problem(await client.get(f"/events?channel=own:ada&ticket={text}")) == (403, "forbidden")
        assert problem(await client.get(f"/events?channel=own:bob&ticket={text}")) == (401, "unauthorized")


async def test_a_ticket_is_good_for_a_short_while() -> None:
    line = application(ticket_seconds=0.1)
    async with natively(line) as served, web(served) as client:
        text = await ticket(client)
        timers = line.running.hub.timers
        expired: list[bool] = []
        timers.after(0.6, lambda: expired.append(True))
        await until(lambda: expired)
        assert problem(await client.get(f"/events?channel=chat:1&ticket={text}")) == (401, "unauthorized")


async def test_no_ticket_without_a_good_token() -> None:
    async with natively(application()) as served, web(served) as client:
        for headers in ({}, {"authorization": "Bearer mallory"}):
            assert problem(await client.post("/ticket", headers=headers)) == (401, "unauthorized")
        assert problem(await client.get("/ticket", headers={"authorization": "Bearer ada"})) == (405, "bad_method")
        for wrong in ("", "x", "%00", "a" * 5000):
            assert problem(await client.get(f"/events?channel=chat:1&ticket={wrong}")) == (401, "unauthorized")
        good = {"authorization": "Bearer ada"}
        wrong_and_good = await client.get("/events?channel=chat:1&ticket=x", headers=good)
        assert problem(wrong_and_good) == (401, "unauthorized")


async def test_tickets_are_bounded_in_number() -> None:
    async with natively(application(max_tickets=2)) as served, web(served) as client:
        first = await ticket(client)
        await ticket(client)
        refused = await client.post("/ticket", headers={"authorization": "Bearer ada"})
        assert problem(refused) == (429, "too_many")
        async with source(served, f"channel=chat:1&ticket={first}") as events:
            assert events.response.status_code == 200
        await ticket(client)


async def test_a_ticket_for_nobody_is_nobody() -> None:
    line = Openline(anonymous=True)
    line.channel("chat:*", public=True)
    async with natively(line) as served, web(served) as client:
        text = (await client.post("/ticket")).json()["ticket"]
        async with source(served, f"channel=chat:1&ticket={text}") as events:
            await events.until(lambda: events.reader.last_id)
            assert [connection.user for connection in line.connections] == [None]
