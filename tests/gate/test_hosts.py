"""The name that a server is asked for (DNS rebinding), and what proxies in front of it may say."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from tests.clients import bare_socket, json_client, upgrade_head
from tests.server import Served, plainly_serving, serving

from openline import Openline, Request

LISTED = "https://app.example.com"
Hosting = Callable[..., AbstractAsyncContextManager[Served]]
hostings = pytest.mark.parametrize("hosting", [serving, plainly_serving])


def application(**options: object) -> Openline:
    line = Openline(**options)  # type: ignore[arg-type]
    line.channel("chat:*", public=True)
    return line


async def answer(served: Served, path: str, *lines: str, host: str | None = None) -> tuple[int, str]:
    async with bare_socket(served.port) as socket:
        socket.send(upgrade_head(path, *lines, host=host or f"127.0.0.1:{served.port}"))
        head = (await socket.head()).decode("latin-1")
        status = int(head.split(" ")[1])
        return status, "" if status == 101 else (await socket.rest()).decode()


@hostings
async def test_a_server_asked_for_by_a_name_that_is_not_its_own_answers_403_and_names_the_remedy(
    hosting: Hosting,
) -> None:
    async with hosting(application(allow_hosts=["chat.example.com"])) as served:
        for host in (
            "evil.example",
            f"evil.example:{served.port}",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil-localhost",
            "chat.example.com.evil.example",
            "chat.example.com.",
            "xchat.example.com",
        ):
            status, text = await answer(served, "/openline", f"Origin: http://{host}", host=host)
            assert (host, status) == (host, 403)
            assert f"--allow-host {host.split(':')[0]}" in text


@hostings
async def test_addresses_localhost_and_listed_names_are_ours(hosting: Hosting) -> None:
    async with hosting(application(allow_hosts=["Chat.example.com"], allow_origins=[LISTED])) as served:
        for host in (
            "127.0.0.1",
            "192.168.7.7:8000",
            "[::1]",
            "[2001:db8::1]:8000",
            "localhost",
            "localhost:1",
            "LOCALHOST",
            "chat.example.com",
            "CHAT.EXAMPLE.COM:8000",
            "app.example.com",
        ):
            assert (host, (await answer(served, "/openline", host=host))[0]) == (host, 101)


@hostings
async def test_a_request_without_a_host_or_with_two_is_refused(hosting: Hosting) -> None:
    async with hosting(application()) as served, bare_socket(served.port) as socket:
        socket.send(upgrade_head(host=None))
        assert await socket.status() in (400, 403)
    async with hosting(application()) as served:
        assert (await answer(served, "/openline", "Host: localhost"))[0] == 400


# -- proxies


async def test_forwarded_headers_of_strangers_are_not_believed() -> None:
    seen: list[Request] = []
    line = application(trusted_proxies=["192.0.2.1"])

    @line.authenticate
    def who(token: str | None, request: Request) -> str | None:
        seen.append(request)
        return "ada"

    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "bank.example",
        "Forwarded": "for=203.0.113.9;host=bank.example;proto=https",
    }
    for hosting in (serving, plainly_serving):
        async with hosting(line) as served:
            async with json_client(served.ws, additional_headers=forged) as client:
                await client.ask("$connect")
            status, _ = await answer(
                served, "/openline", *(f"{n}: {v}" for n, v in forged.items()), "Origin: https://bank.example"
            )
            assert status == 403
            assert [(r.client, r.scheme, r.host) for r in seen] == [("127.0.0.1", "http", f"127.0.0.1:{served.port}")]
            seen.clear()


async def test_forwarded_headers_of_trusted_proxies_are_believed() -> None:
    seen: list[Request] = []
    line = application(trusted_proxies=["127.0.0.0/8"], allow_hosts=["bank.example"])

    @line.authenticate
    def who(token: str | None, request: Request) -> str | None:
        seen.append(request)
        return "ada"

    for proto in ("https", "wss", "HTTPS"):
        forwarded = {
            "X-Forwarded-For": "6.6.6.6, 203.0.113.9, 127.0.0.5",
            "X-Forwarded-Proto": proto,
            "X-Forwarded-Host": "bank.example",
        }
        async with (
            serving(line) as served,
            json_client(served.ws, origin="https://bank.example", additional_headers=forwarded) as client,
        ):
            await client.ask("$connect")
        last = seen[-1]
        assert (last.client, last.scheme, last.host) == ("203.0.113.9", "https", "bank.example")


async def test_a_forwarded_list_that_is_spread_over_two_lines_is_one_list() -> None:
    seen: list[Request] = []
    line = application(trusted_proxies=["127.0.0.1"])

    @line.authenticate
    def who(token: str | None, request: Request) -> str | None:
        seen.append(request)
        return "ada"

    async with serving(line) as served, bare_socket(served.port) as socket:
        socket.send(upgrade_head("/openline", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 127.0.0.1"))
        await socket.head()
        socket.send_text('{"type":"$connect","id":1}')
        await socket.item()
    assert seen[0].client == "203.0.113.9"


async def test_a_proxy_whose_forwarded_host_is_not_ours_is_refused_all_the_same() -> None:
    async with serving(application(trusted_proxies=["127.0.0.1"])) as served:
        status, text = await answer(served, "/openline", "X-Forwarded-Host: evil.example")
        assert status == 403
        assert "--allow-host evil.example" in text


async def test_health_is_open_to_all_whatever_name_they_use() -> None:
    async with serving(application()) as served, bare_socket(served.port) as socket:
        socket.send(b"GET /healthz HTTP/1.1\r\nHost: balancer.internal\r\nConnection: close\r\n\r\n")
        assert await socket.status() == 200
