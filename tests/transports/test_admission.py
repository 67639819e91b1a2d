"""A browser's word that a page is our own stands for the Origin that it leaves out, and for nothing more."""

from dataclasses import dataclass, replace

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from openline.errors import RequestRefused
from openline.model import Request
from openline.transports.admission import Gate, own_origin
from openline.transports.settings import GateSettings
from openline.transports.vouching import HEADER, Vouched, Vouching

KEY = "a secret that nodes share"
OUR_PAGE = ("sec-fetch-site", "same-origin")
SIGNED_IN = ("cookie", "session=1")
NAMES = ("chat.example.com", "CHAT.example.com", "localhost", "[::1]", "127.0.0.1")

schemes = st.sampled_from(["http", "https"])
hosts = st.builds(str.__add__, st.sampled_from(NAMES), st.sampled_from(["", ":80", ":443", ":7"]))
origins = st.builds(own_origin, schemes, hosts)


@dataclass(frozen=True)
class Asked:
    """A request: where it arrived, what a proxy or another node adds to it, and what the server lists."""

    host: str
    secure: bool
    listed: list[str]
    forwarded: tuple[tuple[str, str], ...]
    trusted: bool
    vouched: bool

    @property
    def own(self) -> str:
        """Our origin, as the page's address bar shows it."""
        told = dict(self.forwarded) if self.trusted else {}
        scheme = told.get("x-forwarded-proto") or ("https" if self.secure else "http")
        return own_origin(scheme, told.get("x-forwarded-host", self.host))

    def admit(self, *headers: tuple[str, str]) -> Request:
        given = [("host", self.host), *self.forwarded, *headers]
        vouching, secure = Vouching(KEY, lambda: 1000.0), self.secure
        if self.vouched:
            # The other node has seen the client; who passes it on speaks plain HTTP from an address of its own.
            given.append((HEADER, vouching.write("GET", "/events", "", Vouched("10.0.0.1", secure))))
            secure = False
        settings = GateSettings(
            allow_origins=tuple(self.listed),
            allow_hosts=("chat.example.com",),
            trusted_proxies=("10.0.0.1",) if self.trusted else (),
        )
        return Gate(settings, vouching).admit(
            path="/events",
            query="",
            headers=[(name.encode(), value.encode()) for name, value in given],
            peer="10.0.0.9" if self.vouched else "10.0.0.1",
            secure=secure,
        )

    def shared(self, *headers: tuple[str, str]) -> dict[str, str]:
        return Gate(GateSettings(allow_origins=tuple(self.listed))).shared_with(self.admit(*headers))


ways = st.one_of(
    st.just(()),
    st.tuples(
        st.tuples(st.just("x-forwarded-proto"), schemes),
        st.tuples(st.just("x-forwarded-host"), hosts),
        st.just(("x-forwarded-for", "203.0.113.9")),
    ),
)
asked = st.builds(
    Asked,
    host=hosts,
    secure=st.booleans(),
    listed=st.lists(origins, max_size=8),
    forwarded=ways,
    trusted=st.booleans(),
    vouched=st.booleans(),
)


def less(request: Request, *names: str) -> Request:
    """The request without headers of these names."""
    return msgspec.structs.replace(request, headers={n: v for n, v in request.headers.items() if n not in names})


@given(asked)
def test_our_own_page_is_taken_as_if_it_had_said_its_origin(asked: Asked) -> None:
    said = asked.admit(("origin", asked.own), SIGNED_IN)
    meant = asked.admit(OUR_PAGE, SIGNED_IN)
    assert less(meant, "sec-fetch-site") == less(said, "origin")
    assert meant.origin == asked.own
    assert meant.headers.get("cookie") == ("session=1" if asked.own in asked.listed else None)
    assert asked.shared(OUR_PAGE) == {"vary": "Origin"}


@given(asked, st.sampled_from(["*", None]))
def test_a_cookie_counts_for_nobody_where_our_own_origin_is_not_listed(asked: Asked, every: str | None) -> None:
    others = [origin for origin in asked.listed if origin != asked.own]
    unlisted = replace(asked, listed=[*others, every] if every else others)
    assert "cookie" not in unlisted.admit(OUR_PAGE, SIGNED_IN).headers


@given(
    asked,
    st.one_of(
        st.sampled_from(
            [
                *("cross-site", "same-site", "none", "", "SAME-ORIGIN", "same-origin;x", "same-origin, same-origin"),
                *("cross-site, same-origin", "same-origin, cross-site", '"same-origin"', "?1"),
            ]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126)).filter(lambda word: word != "same-origin"),
    ),
)
def test_no_other_word_of_a_browser_says_anything(asked: Asked, word: str) -> None:
    without, told = asked.admit(SIGNED_IN), asked.admit(("sec-fetch-site", word), SIGNED_IN)
    assert (without.origin, "cookie" in without.headers) == (None, False)
    assert less(told, "sec-fetch-site") == without


@given(asked, origins | st.just("null"))
def test_an_origin_that_is_said_is_the_one_that_counts(asked: Asked, origin: str) -> None:
    def judged(*headers: tuple[str, str]) -> Request | int:
        try:
            return less(asked.admit(("origin", origin), SIGNED_IN, *headers), "sec-fetch-site")
        except RequestRefused as refusal:
            return refusal.status

    assert judged(OUR_PAGE) == judged()


def test_a_word_that_came_twice_is_none() -> None:
    asked = Asked("localhost", secure=False, listed=["http://localhost"], forwarded=(), trusted=False, vouched=False)
    assert asked.admit(OUR_PAGE, SIGNED_IN).headers["cookie"] == "session=1"
    assert "cookie" not in asked.admit(OUR_PAGE, ("sec-fetch-site", "cross-site"), SIGNED_IN).headers
    assert "cookie" not in asked.admit(OUR_PAGE, OUR_PAGE, SIGNED_IN).headers
