"""Who is behind a token, wherever it stands, and what becomes of those who have none."""

import logging

import pytest
from tests.clients import bare_line, bare_socket, fetch, json_client, opened, upgrade_head
from tests.server import plainly_serving, serving
from websockets.exceptions import ConnectionClosed

from openline import CommandError, LineSettings, Openline, Request, Settings, User

SECRET = "s3cret-Token~1"
QUICK = Settings(line=LineSettings(connect_within_seconds=0.5, silent_after_seconds=0.01))


def application(settings: Settings | None = None) -> Openline:
    line = Openline(settings=settings)

    @line.authenticate
    def who(token: str | None, request: Request) -> str | None:
        return "ada" if token == SECRET else None

    @line.on("whoami")
    def whoami(connection) -> str | None:  # type: ignore[no-untyped-def]
        return connection.user.id if connection.user else None

    line.channel("open", public=True)
    return line


async def test_the_token_of_connect_names_the_user() -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        assert (await client.get("$connect", token=SECRET))["user"] == "ada"
        assert await client.get("whoami") == "ada"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_token_of_a_header_counts_as_the_one_of_connect(scheme: str) -> None:
    async with serving(application()) as served:
        headers = {"Authorization": f"{scheme} {SECRET}"}
        async with json_client(served.ws, additional_headers=headers) as client:
            assert (await client.get("$connect"))["user"] == "ada"
        async with json_client(served.ws, additional_headers=headers) as client:
            assert await client.get("whoami") == "ada"


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_the_token_may_be_offered_as_a_subprotocol_and_is_never_echoed(hosting) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served, bare_socket(served.port) as socket:
        socket.send(upgrade_head("/openline", f"Sec-WebSocket-Protocol: openline.token.{SECRET}, openline.v1"))
        head = await socket.head()
        assert b"Sec-WebSocket-Protocol: openline.v1\r\n" in head
        assert SECRET.encode() not in head
        socket.send_text('{"type":"whoami","id":1}')
        assert (await socket.item())[1] == b'{"type":"$reply","id":1,"payload":"ada"}'


async def test_a_token_alone_is_not_echoed_either() -> None:
    async with serving(application()) as served:
        for path in ("/openline", "/raw/open"):
            async with bare_socket(served.port) as socket:
                socket.send(upgrade_head(path, f"Sec-WebSocket-Protocol: openline.token.{SECRET}"))
                head = await socket.head()
                assert head.startswith(b"HTTP/1.1 101 ")
                assert b"sec-websocket-protocol" not in head.lower()


@pytest.mark.parametrize("path", ["/openline", "/raw/open"])
@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_a_page_that_offers_a_token_alone_is_told_what_to_offer_beside_it(hosting, path: str) -> None:  # type: ignore[no-untyped-def]
    # It would give up anyway, because nothing may be echoed, and nobody would know why.
    async with hosting(application()) as served, bare_socket(served.port) as socket:
        offer = f"Sec-WebSocket-Protocol: openline.token.{SECRET}"
        socket.send(upgrade_head(path, offer, "Origin: http://127.0.0.1"))
        assert await socket.status() == 400
        answer = await socket.rest()
        assert b'["openline.v1", "openline.token.' in answer
        assert SECRET.encode() not in answer


async def test_at_the_raw_door_a_browser_may_bring_its_token_beside_any_other_subprotocol() -> None:
    # A browser gives up where it offered subprotocols and none is echoed, and the token must not be.
    async with serving(application()) as served:
        offered = [f"openline.token.{SECRET}", "raw"]
        async with opened(f"{served.ws}/raw/open?echo=1", subprotocols=offered) as socket:
            assert socket.subprotocol == "raw"
            await socket.send("hello")
            assert await socket.recv() == "hello"


async def test_the_token_of_connect_beats_the_one_of_the_request() -> None:
    async with (
        serving(application()) as served,
        json_client(served.ws, additional_headers={"Authorization": "Bearer other"}) as client,
    ):
        assert (await client.get("$connect", token=SECRET))["user"] == "ada"


@pytest.mark.parametrize("token", ["wrong", "", SECRET + " ", SECRET.upper(), "null", None])
async def test_a_bad_token_is_unauthorized_and_closes_with_4401(token: str | None) -> None:
    async with serving(application()) as served, json_client(served.ws) as client:
        answer = await client.ask("$connect", token=token)
        assert answer["code"] == "unauthorized"
        assert await client.close_code() == 4401


async def test_a_token_in_the_url_is_nobodys() -> None:
    async with serving(application()) as served, opened(f"{served.ws}/openline?token={SECRET}") as socket:
        await socket.send('{"type":"whoami","id":1}')
        assert "unauthorized" in await socket.recv()
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401


@pytest.mark.parametrize("hosting", [serving, plainly_serving])
async def test_a_raw_client_without_a_token_is_closed_with_4401_where_one_is_needed(hosting) -> None:  # type: ignore[no-untyped-def]
    async with hosting(application()) as served, bare_line(served.port, "/raw/open") as socket:
        assert await socket.close_code() == 4401


async def test_where_anonymous_is_not_allowed_a_client_without_connect_is_closed_with_4401_in_time() -> None:
    async with serving(application(QUICK)) as served, bare_line(served.port) as socket:
        assert await socket.close_code(within=2) == 4401


async def test_pings_do_not_put_off_the_deadline_of_connect() -> None:
    async with serving(application(QUICK)) as served, bare_line(served.port) as socket:
        socket.send(b"\x89\x80mask" * 3)
        assert await socket.close_code(within=2) == 4401


async def test_a_silent_client_whose_request_brought_the_token_is_let_in() -> None:
    line = application(QUICK)
    met: list[str] = []

    @line.on_connect
    def connected(connection) -> None:  # type: ignore[no-untyped-def]
        met.append(connection.user.id)

    async with serving(line) as served, bare_line(served.port, "/openline", f"Authorization: Bearer {SECRET}"):
        await served.until(lambda: met)
    assert met == ["ada"]


async def test_a_silent_client_is_nobody_where_nobody_may_come_in() -> None:
    line = Openline(settings=QUICK)
    met: list[object] = []
    line.on_connect(lambda connection: met.append(connection.user))
    async with serving(line) as served, bare_line(served.port):
        await served.until(lambda: met)
    assert met == [None]


# -- the application's function


async def test_authenticate_may_be_async_and_may_say_why_not() -> None:
    line = Openline()

    @line.authenticate
    async def who(token: str | None, request: Request) -> User:
        if token != SECRET:
            raise CommandError("unauthorized", "This token has expired.")
        return User("ada", {"colour": "red"})

    async with serving(line) as served:
        async with json_client(served.ws) as client:
            assert (await client.get("$connect", token=SECRET))["user"] == "ada"
        async with json_client(served.ws) as client:
            assert (await client.ask("$connect", token="old"))["message"] == "This token has expired."
            assert await client.close_code() == 4401
            assert client.socket.close_reason == "This token has expired."


async def test_an_authenticate_that_raises_is_logged_and_the_client_sees_no_internals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    line = Openline()

    @line.authenticate
    def who(token: str | None, request: Request) -> str:
        raise ValueError("the password of the database is 12345")

    async with serving(line) as served, json_client(served.ws) as client:
        answer = await client.ask("$connect", token=SECRET)
        assert (answer["code"], await client.close_code()) == ("failed", 1011)
        assert "12345" not in str(answer) + (client.socket.close_reason or "")
    records = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(records) == 1
    assert SECRET not in records[0].getMessage()


async def test_a_user_id_that_cannot_be_shown_lets_nobody_in() -> None:
    line = Openline()
    line.authenticate(lambda token, request: "ada\nlin")
    async with serving(line) as served, json_client(served.ws) as client:
        assert (await client.ask("$connect", token="x"))["code"] == "unauthorized"
        assert await client.close_code() == 4401


async def test_authenticate_sees_the_request_without_what_is_secret_or_of_the_transport() -> None:
    line = Openline()
    seen: list[Request] = []

    @line.authenticate
    def who(token: str | None, request: Request) -> str:
        seen.append(request)
        return "ada"

    async with serving(line) as served:
        headers = {"Authorization": f"Bearer {SECRET}", "X-Device": "phone", "Cookie": "a=1"}
        async with opened(f"{served.ws}/openline?room=1", additional_headers=headers) as socket:
            await socket.send('{"type":"$connect","id":1}')
            await socket.recv()
    request = seen[0]
    assert (request.path, request.query, request.headers["x-device"]) == ("/openline", "room=1", "phone")
    assert request.token == SECRET
    assert not {"authorization", "cookie", "sec-websocket-key"} & set(request.headers)


async def test_where_anonymous_is_allowed_explicitly_no_token_is_nobody_and_a_bad_one_is_refused() -> None:
    line = Openline(anonymous=True)
    line.authenticate(lambda token, request: "ada" if token == SECRET else None)
    async with serving(line) as served:
        async with json_client(served.ws) as client:
            assert "user" not in await client.get("$connect")
        async with json_client(served.ws) as client:
            assert (await client.ask("$connect", token="bad"))["code"] == "unauthorized"


async def test_a_connect_handler_that_turns_a_client_away_closes_with_4403_and_its_words() -> None:
    line = Openline()

    @line.on_connect
    def connected(connection) -> None:  # type: ignore[no-untyped-def]
        raise CommandError("banned", "You are banned.")

    async with serving(line) as served, json_client(served.ws) as client:
        await client.ask("$connect")
        assert await client.close_code() == 4403
        assert client.pushes[-1]["code"] == "banned"
        assert line.connections == ()


async def test_health_needs_no_token() -> None:
    async with serving(application()) as served:
        assert (await fetch(served.port, "GET /healthz HTTP/1.1"))[0] == 200
        assert (await fetch(served.port, "GET /readyz HTTP/1.1"))[0] == 200
