"""Finding the server that an engine's URL means, and getting to a connection that may be used."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import hiredis

from openline.brokers.redis_connection import Connection, Hear, Reply
from openline.brokers.redis_url import RedisUrl
from openline.errors import BrokerError

__all__ = ["Server", "open_server"]

#: For one address: connecting, and everything that is said before the connection may be used.
CONNECT_SECONDS: Final = 3.0

_log = logging.getLogger("openline")


@dataclass(frozen=True, slots=True)
class Server:
    """What a server says of itself.

    ``run`` names its data's history: it is another one when the server was started anew, and when it took over from
    another or was filled from one.
    """

    version: str
    run: str
    evicts: bool


async def open_server(
    loop: asyncio.AbstractEventLoop, url: RedisUrl, hear: Hear, lost: Callable[[str], None]
) -> tuple[Connection, Server]:
    """A connection to the server, which takes writes.

    Raises :class:`BrokerError`, which says what is wrong and who would have to mend it.
    """
    try:
        if url.master:
            return await _open_by_sentinel(loop, url, hear, lost)
        address = url.addresses[0] if url.addresses else ("", 0)
        return await _open(loop, url, address, hear, lost)
    except OSError as error:
        raise BrokerError(str(error) or type(error).__name__) from error


async def _open(
    loop: asyncio.AbstractEventLoop, url: RedisUrl, address: tuple[str, int], hear: Hear, lost: Callable[[str], None]
) -> tuple[Connection, Server]:
    connection: Connection | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await Connection.open(loop, url, address, url.tls_context(), hear, lost)
            return connection, await _greet(connection, url)
    except BaseException as error:
        if connection is not None:
            connection.abort("it could not be used")
        if isinstance(error, TimeoutError):
            raise BrokerError(f"it did not answer within {CONNECT_SECONDS:g} s") from None
        if isinstance(error, hiredis.ReplyError):
            raise BrokerError(str(error)) from None
        raise


async def _greet(connection: Connection, url: RedisUrl) -> Server:
    login = ("AUTH", url.username or "default", url.password) if url.password else ()
    try:
        hello: Mapping[bytes, Any] = await connection.ask("HELLO", "3", *login)
    except hiredis.ReplyError as error:
        text = str(error)
        if text.startswith("NOAUTH"):
            raise BrokerError("it asks for a password: redis://:PASSWORD@HOST, or redis://USER:PASSWORD@HOST") from None
        if text.startswith("WRONGPASS"):
            raise BrokerError("it does not take this name and password") from None
        if "unknown command" in text or text.startswith("NOPROTO"):
            raise BrokerError("Redis 6 or later is needed, or any Valkey") from None
        raise
    if hello.get(b"role") != b"master":
        raise BrokerError("it is a replica, which takes no writes")
    if hello.get(b"mode") == b"cluster":
        raise BrokerError("it is part of a Redis Cluster, which Openline does not know; give it a server of its own")
    if url.db:
        await connection.ask("SELECT", url.db)
    facts = await _facts(connection)
    run = f"{facts.get('run_id', '')}.{facts.get('master_replid', '')}"
    policy = facts.get("maxmemory_policy", "noeviction")
    return Server(_text(hello.get(b"version")), run, policy != "noeviction")


async def _facts(connection: Connection) -> dict[str, str]:
    try:
        text = _text(await connection.ask("INFO"))
    except hiredis.ReplyError as error:
        _log.warning("The engine does not say when it was started anew (%s): an older copy may go unnoticed", error)
        return {}
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def _text(reply: Reply) -> str:
    return reply.decode("utf-8", "replace") if isinstance(reply, bytes) else ""


# -- Sentinel


async def _open_by_sentinel(
    loop: asyncio.AbstractEventLoop, url: RedisUrl, hear: Hear, lost: Callable[[str], None]
) -> tuple[Connection, Server]:
    reasons: list[str] = []
    for sentinel in url.addresses:
        try:
            return await _open(loop, url, await _ask_sentinel(loop, url, sentinel), hear, lost)
        except (OSError, BrokerError) as error:
            reasons.append(f"{sentinel[0]}:{sentinel[1]}: {error}")
    raise BrokerError("; ".join(reasons))


async def _ask_sentinel(loop: asyncio.AbstractEventLoop, url: RedisUrl, sentinel: tuple[str, int]) -> tuple[str, int]:
    """The address of the master; see the Sentinel client guidelines of Redis: ask one after the other."""
    connection: Connection | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            connection = await Connection.open(loop, url, sentinel, url.tls_context(), _hear_nothing, _ignore)
            if url.sentinel_password:
                await connection.ask("AUTH", url.sentinel_username or "default", url.sentinel_password)
            found = await connection.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", url.master)
    except TimeoutError:
        raise BrokerError("it did not answer in time") from None
    except hiredis.ReplyError as error:
        raise BrokerError(str(error)) from None
    finally:
        if connection is not None:
            connection.abort("it has answered")
    if found is None:
        raise BrokerError(f"it knows no master {url.master!r}")
    return _text(found[0]), int(found[1])


def _hear_nothing(_: bytes, __: bytes) -> None:
    """Nothing is listened to."""


def _ignore(_: str) -> None:
    """It is over anyway."""
