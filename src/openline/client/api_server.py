"""A server as publishers see it: where its backend API is, with which key, and how its requests travel in httpx."""

import random
import re
import ssl as tls
import time
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx

from openline.client.calls import Call, address_of
from openline.client.socket import is_here
from openline.client.tries import Answer, Tries
from openline.errors import SettingsError

__all__ = ["DEFAULT_URL", "ApiServer", "answer_of", "broken"]

T = TypeVar("T")
DEFAULT_URL: Final = "http://127.0.0.1:8000"
_KEY: Final = re.compile(r"[!-~]+")
#: What the request did not leave with.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class ApiServer:
    """Where the server is, how it is asked, and how long one is patient with it."""

    def __init__(self, url: str, key: str, timeout: float, patience: float, ssl: tls.SSLContext | None) -> None:
        """Raises :class:`SettingsError`."""
        self.url = address_of(url)
        if not _KEY.fullmatch(key):
            raise SettingsError("key", "is the server's API key: printable ASCII characters without blanks")
        if ssl is not None and not self.url.startswith("https:"):
            raise SettingsError("ssl", f"is for https://, not for {url}")
        if timeout <= 0 or patience < 0:
            raise SettingsError("timeout", "is more than 0, and patience 0 or more")
        self._patience = patience
        #: Of the httpx client that is to carry the requests.
        self.options: dict[str, Any] = {
            "headers": {"Authorization": f"Bearer {key}"},
            "timeout": timeout,
            "trust_env": not is_here(urlsplit(self.url).hostname or ""),
            "verify": ssl or self.url.startswith("https:"),
        }

    def tries(self, call: Call[T]) -> Tries[T]:
        """The tries of ``call``, which begin now."""
        return Tries(call, self.url, self._patience, time.monotonic, random.random)

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """What httpx is to request."""
        url = f"{self.url}/{call.name}"
        if call.body is None:
            return {"method": "GET", "url": url, "params": call.query}
        return {"method": "POST", "url": url, "content": call.body, "headers": {"Content-Type": "application/json"}}


def answer_of(response: httpx.Response) -> Answer:
    """What came back, read to its end."""
    return Answer(response.status_code, response.headers, response.content)


def broken(tries: Tries[Any], error: httpx.HTTPError) -> float:
    """Seconds until the next try, after ``error``; raises :class:`~openline.client.tries.UnansweredError`."""
    reason = str(error) or type(error).__name__
    return tries.broken(reason, sent=not isinstance(error, _NOT_SENT))
