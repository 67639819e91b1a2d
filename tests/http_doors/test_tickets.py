"""A ticket stands once, for a short while, for the user who got it, and for nothing else."""

from typing import Any

import httpx
import pytest

from openline import BrokerError, HttpSettings, Openline, Outcome, Settings, User
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


async def test_tickets_are_bounded_by_address_so_that_nobody_takes_those_of_others() -> None:
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with (
        natively(application(max_tickets_per_client=2, max_tickets=4)) as served,
        web(served) as client,
        web(served, transport=transport) as greedy,
    ):
        taken = [await ticket(greedy, "bob") for _ in range(2)]
        refused = await greedy.post("/ticket", headers={"authorization": "Bearer bob"})
        assert problem(refused) == (429, "too_many")
        assert refused.headers["retry-after"] == "1"
        await ticket(client)
        async with source(served, f"channel=own:bob&ticket={taken[0]}") as events:
            assert events.response.status_code == 200
        await ticket(greedy, "bob")
        assert problem(await greedy.post("/ticket", headers={"authorization": "Bearer bob"})) == (429, "too_many")


async def test_an_address_is_a_network_of_ipv6() -> None:
    line = application(max_tickets_per_client=1)
    line.allow(proxies=["127.0.0.1"])
    async with natively(line) as served, web(served) as client:
        for address, status in (
            ("2001:db8::1", 200),
            ("2001:db8::ffff:1", 429),
            ("2001:db8:0:1::1", 200),
            ("203.0.113.9", 200),
            ("::ffff:203.0.113.9", 429),
            ("203.0.113.10", 200),
        ):
            headers = {"authorization": "Bearer ada", "x-forwarded-for": address}
            assert (await client.post("/ticket", headers=headers)).status_code == status, address


async def test_of_tickets_that_are_over_nothing_is_left() -> None:
    line = application(ticket_seconds=0.05)
    async with natively(line) as served, web(served) as client:
        async with source(served, f"channel=chat:1&ticket={await ticket(client)}") as events:
            assert events.response.status_code == 200
        await ticket(client)
        await until(lambda: not line.running.hub.revocations._watching)


async def test_a_head_does_not_use_a_ticket_up() -> None:
    async with natively(application()) as served, web(served) as client:
        text = await ticket(client)
        for channel, status in (("own:ada", 200), ("own:bob", 403), ("own:ada", 200)):
            assert (await client.head(f"/events?channel={channel}&ticket={text}")).status_code == status
        async with source(served, f"channel=own:ada&ticket={text}") as events:
            assert events.response.status_code == 200
        assert (await client.head(f"/events?channel=own:ada&ticket={text}")).status_code == 401


@pytest.mark.parametrize("call", ["subscribe", "read"])
async def test_a_stream_that_could_not_begin_for_now_does_not_use_a_ticket_up(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        text, used = await ticket(client), await ticket(client)
        query = f"channel=chat:1&since={line.running.hub.broker.position}&ticket="
        async with source(served, query + used) as events:
            assert events.response.status_code == 200
        with monkeypatch.context() as away:
            away.setattr(line.running.hub.broker, call, lambda *_, **__: Outcome.failed(BrokerError("away")))
            for _ in range(2):
                async with source(served, query + text) as events:
                    assert events.response.status_code == 200
                    assert await events.rest() == []
            assert problem(await client.get(f"/events?{query}{used}")) == (401, "unauthorized")
        async with source(served, query + text) as events:
            assert events.response.status_code == 200
            await events.until(lambda: events.reader.last_id)
        assert problem(await client.get(f"/events?{query}{text}")) == (401, "unauthorized")


async def test_a_server_that_drains_uses_no_ticket_up_and_brings_none_back() -> None:
    line = application()
    async with natively(line) as served, web(served) as client:
        text, used = await ticket(client), await ticket(client)
        async with source(served, f"channel=chat:1&ticket={used}") as events:
            assert events.response.status_code == 200
        line.running.hub.lifecycle.closing = True
        for each in (text, used):
            async with source(served, f"channel=chat:1&ticket={each}") as events:
                assert await events.rest() == []
        line.running.hub.lifecycle.closing = False
        async with source(served, f"channel=chat:1&ticket={text}") as events:
            assert events.response.status_code == 200
        assert problem(await client.get(f"/events?channel=chat:1&ticket={used}")) == (401, "unauthorized")
