"""The real ``socket.io-client`` in Node, over polling, WebSocket, and the upgrade from one to the other."""

import statistics
from pathlib import Path
from typing import Any

import pytest

from tests.clients import json_client, opened
from tests.server import openline, serving
from tests.socketio_door.hands import PROGRAM
from tests.socketio_door.hosts import HOSTS
from tests.socketio_door.stock import TRANSPORTS, play, playing, stock_line

transports = pytest.mark.parametrize("transports", TRANSPORTS)


@transports
async def test_who_brings_a_bad_token_is_told_why_and_may_come_with_a_good_one(transports: str) -> None:
    async with serving(stock_line()) as served:
        assert await play("auth", served.http, transports) == {
            "message": "no such token",
            "data": {"hint": "ask for one"},
            "who": "good",
        }


@transports
async def test_who_is_turned_away_for_the_moment_is_back_by_itself_but_says_so_again_beside_another(
    transports: str,
) -> None:
    async with serving(stock_line()) as served:
        assert await play("busy", served.http, transports) == {
            "keptOut": False,
            "who": "busy",
            "data": {"code": "busy", "retry": True},
            "sameLine": True,
        }


@pytest.mark.alone
@transports
@pytest.mark.parametrize("host", HOSTS)
async def test_acknowledgements_go_both_ways_within_ten_milliseconds(transports: str, host: str) -> None:
    async with HOSTS[host](stock_line()) as served:
        found = await play("acks", served.http, transports)
        # Half of 40; a machine on which a bare request takes milliseconds is given a few times those, as a poll, a POST
        # and their connections take.
        trip, bare = (statistics.median(found.pop(key)) for key in ("roundTrips", "bare"))
        assert trip < max(10, 6 * bare)
        assert found == {
            "one": {"a": 1},
            "many": [1, "b", None],
            "none": [],
            "asked": [42, "more"],
            "silent": [True, True, True],
        }


@transports
@pytest.mark.parametrize("host", HOSTS)
async def test_bytes_go_both_ways_wherever_they_stand(transports: str, host: str) -> None:
    async with HOSTS[host](stock_line()) as served:
        assert await play("binary", served.http, transports) == {
            "plain": [1, 2, 3],
            "nested": [[4], [], "é"],
            "pushed": [[7, 8], [9]],
            "asked": [5, 6],
        }


@transports
async def test_namespaces_share_a_line_and_are_let_in_one_by_one(transports: str) -> None:
    async with serving(stock_line()) as served:
        assert await play("namespaces", served.http, transports) == {
            "welcome": "good",
            "refused": "Invalid namespace",
            "refusedByGuard": {"because": "guarded"},
            "name": "/org-7",
            "sameLine": True,
            "still": "still",
        }


@transports
async def test_everybody_gets_what_is_for_the_rooms_they_are_in_once(transports: str) -> None:
    async with serving(stock_line()) as served:
        found = await play("rooms", served.http, transports)
        assert found["rooms"] == ["room:1"]
        assert found["a"] == ["to everybody"]
        assert found["b"] == ["to the room", "not to c", "to all others", "volatile", "to everybody"]
        assert found["c"] == ["to the room", "to all others", "to c", "volatile", "to everybody"]
        assert found["asked"] == {"answered": ["a1", "b1"], "missing": 1}


@transports
async def test_a_room_is_a_channel_of_every_door(transports: str) -> None:
    line = stock_line()
    async with (
        serving(line) as served,
        json_client(served.ws) as client,
        opened(f"{served.ws}/raw/chat:1") as raw,
    ):
        await client.get("$subscribe", channel="chat:1")

        @line.of("/").on("other doors say")
        async def others(socket: Any) -> bool:
            await client.get("said", channel="chat:1", payload="from json")
            return True

        assert await play("shared", served.http, transports) == ["from socket.io", "from json"]
        assert [(await client.push())["payload"] for _ in range(2)] == ["from socket.io", "from json"]
        assert [await raw.recv() for _ in range(2)] == ["from socket.io", "from json"]


@transports
@pytest.mark.parametrize("host", HOSTS)
async def test_who_comes_back_after_a_cut_has_missed_nothing(transports: str, host: str) -> None:
    line = stock_line(recovery=True)
    async with HOSTS[host](line) as served:
        found = await play("recovery", served.http, transports)

        def missed(name: str) -> list[list[str]]:
            return [["said", f"{name} room"], ["said", f"{name} own"], ["said", f"{name} end"]]

        assert found == {
            "same": True,
            "early": {"recovered": True, "came": missed("early")},
            "late": {"recovered": True, "came": missed("late")},
        }


async def test_it_does_not_take_the_position_off_so_who_minds_declines_recovery() -> None:
    async with serving(stock_line(recovery=True)) as served:
        assert await play("positions", served.http, "websocket") == [3, 2]


@transports
async def test_each_end_learns_of_the_end_in_socket_ios_words(transports: str) -> None:
    line = stock_line()
    words: list[str] = []
    line.of("/").on_disconnect(lambda socket, reason: words.append(reason))
    async with serving(line) as served:
        assert await play("reasons", served.http, transports) == [
            "io client disconnect",
            "io server disconnect",
            "io server disconnect",
            "forced close",
        ]
        await served.until(lambda: len(words) == 4)
        assert words == [
            "client namespace disconnect",
            "server namespace disconnect",
            "server namespace disconnect",
            "transport close",
        ]


@transports
@pytest.mark.server
async def test_after_a_restart_the_client_is_back_by_itself_as_somebody_new(transports: str, tmp_path: Path) -> None:
    (tmp_path / "chat.py").write_text(PROGRAM)
    with openline(tmp_path, "serve", "chat:line", "--port", "0") as process:
        url, port = process.address()
        async with playing("restart", url, transports) as scenario:
            assert await scenario.line() == {"told": "connected"}
            assert process.end() == 0
            with openline(tmp_path, "serve", "chat:line", "--port", str(port)) as again:
                again.address()
                found = await scenario.result()
                assert found.pop("reason") in ("transport close", "transport error")
                assert found == {"same": False, "recovered": False, "echo": 1}
