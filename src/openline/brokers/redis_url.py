"""Where a Redis is and how to speak to it, as an engine's URL says."""

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from openline.errors import SettingsError

__all__ = ["SCHEMES", "RedisUrl", "parse_redis_url"]

SCHEMES: Final = ("redis", "rediss", "valkey", "valkeys", "redis+sentinel", "rediss+sentinel", "redis+unix")
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
#: Without anything that has a meaning in patterns of Redis.
_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:{}-]{1,64}", re.ASCII)
_NAMES: Final = "localhost", "127.0.0.1", "::1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """``addresses`` are the server's, or the Sentinels' that know the server named ``master``; or there is the ``path``
    of a Unix socket.

    Every name in the store begins with ``prefix``. An idle engine is asked every ``probe`` seconds whether it is there;
    what it has not answered ``timeout`` seconds after it was asked fails.
    """

    addresses: tuple[tuple[str, int], ...] = ()
    path: str = ""
    master: str = ""
    tls: bool = False
    ca: str = ""
    username: str = ""
    password: str = ""
    sentinel_username: str = ""
    sentinel_password: str = ""
    db: int = 0
    prefix: str = "openline"
    probe: float = 2.0
    timeout: float = 4.0

    @property
    def shown(self) -> str:
        """For people: without names and passwords."""
        if self.path:
            return self.path
        places = ", ".join(f"{host}:{port}" for host, port in self.addresses)
        return f"{self.master!r} of the Sentinels {places}" if self.master else places

    @property
    def open_to_others(self) -> bool:
        """Whether it is on another machine, as far as its name tells, and asks for no password."""
        return not self.password and any(host not in _NAMES for host, _ in self.addresses)

    def tls_context(self) -> ssl.SSLContext | None:
        """What the connection is secured with, if it is; raises :class:`SettingsError` for a file that is none."""
        if not self.tls:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:
            raise SettingsError("engine", f"ca={self.ca} cannot be read: {error}") from error


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text, re.ASCII) or not least <= float(text) <= most:
            raise ValueError(f"a number of seconds from {least:g} to {most:g}")
        return float(text)

    return read


def _database(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text, re.ASCII):
        raise ValueError("the number of a database, such as 0")
    return int(text)


def _prefix(text: str) -> str:
    if _PREFIX.fullmatch(text) is None:
        raise ValueError("1 to 64 characters out of A-Z a-z 0-9 _ . : { } -")
    return text


_OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "db": _database,
    "prefix": _prefix,
    "probe": _seconds(0.25, 3.0),
    "timeout": _seconds(0.5, 4.0),
    "ca": str,
    "username": str,
    "password": str,
    "sentinel_username": str,
    "sentinel_password": str,
}


def parse_redis_url(url: str) -> RedisUrl:
    """What ``url`` says; raises :class:`SettingsError`, which does not repeat passwords.

    The file of ``ca`` must be there.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES or not rest:
        raise _refused("it looks like redis://HOST:PORT/DB, rediss://…, or redis+sentinel://HOST:PORT,HOST:PORT/MASTER")
    try:
        parts = urlsplit(f"redis://{rest}")
        options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise _refused(f"its URL cannot be read: {error}") from None
    if parts.fragment:
        raise _refused("there is a # in its URL; write it as %23")
    told = _told(options)
    login, at, places = parts.netloc.rpartition("@")
    if at:
        username, _, password = login.partition(":")
        told |= {"username": unquote(username), "password": unquote(password)}
    path = unquote(parts.path)
    if scheme == "redis+unix":
        return RedisUrl(path=path, **told)
    sentinel = scheme.endswith("+sentinel")
    if sentinel:
        told["master"] = path.strip("/")
        if not told["master"]:
            raise _refused(
                "behind the Sentinels' addresses stands the name of the master: redis+sentinel://HOST/MASTER"
            )
    elif path.strip("/"):
        told["db"] = _told({"db": path.strip("/")})["db"]
    addresses = tuple(_address(place, _SENTINEL_PORT if sentinel else _PORT) for place in places.split(","))
    if len(addresses) > 1 and not sentinel:
        raise _refused("several addresses are for redis+sentinel://")
    made = RedisUrl(addresses=addresses, tls=scheme.startswith(("rediss", "valkeys")), **told)
    made.tls_context()
    return made


def _told(options: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, text in options.items():
        if name not in _OPTIONS:
            raise _refused(f"there is no option {name!r}; there are: {', '.join(_OPTIONS)}")
        try:
            told[name] = _OPTIONS[name](text)
        except ValueError as error:
            raise _refused(f"{name} is {error}") from None
    return told


def _address(place: str, port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]*)(?::(\d{1,5}))?", place)
    if match is None or (match[2] and not 0 < int(match[2]) < 65536):
        raise _refused(f"{place!r} is no HOST:PORT")
    return match[1].strip("[]") or "localhost", int(match[2] or port)


def _refused(why: str) -> SettingsError:
    return SettingsError("engine", f"the Redis engine: {why}")
