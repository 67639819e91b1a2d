"""A head that came in one piece is read as the server's own HTTP would read it, or left to that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openline.errors import RequestRefused
from openline.transports.whole_head import WholeHead, split_target
from tests.clients import upgrade_head


def test_an_upgrade_in_one_piece_is_read_and_what_follows_it_is_left() -> None:
    head = upgrade_head("/openline?x=1", "Origin: http://a.example", "X-Much: 1", "X-Much: 2")
    found = WholeHead.read(head + b"\x81\x80mask")
    assert found is not None
    assert (found.method, found.version, found.target, found.size) == ("GET", "1.1", b"/openline?x=1", len(head))
    assert found.headers[-3:] == [(b"origin", b"http://a.example"), (b"x-much", b"1"), (b"x-much", b"2")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /websocket HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX: websocket\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nX: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + upgrade_head(),
        b"\x16\x03\x01 websocket",
        upgrade_head().replace(b"Host", b"Ho st"),
    ],
)
def test_everything_else_is_left_to_the_servers_own_http(data: bytes) -> None:
    assert WholeHead.read(data) is None


@given(st.integers(0, len(upgrade_head()) - 1))
def test_a_head_that_is_not_whole_is_left_to_the_servers_own_http(size: int) -> None:
    assert WholeHead.read(upgrade_head()[:size]) is None


@pytest.mark.parametrize(
    ("target", "parts"),
    [(b"/", ("/", "")), (b"/raw/a%20b?echo=1&x", ("/raw/a%20b", "echo=1&x")), (b"http://h/p?q", ("/p", "q"))],
)
def test_a_target_is_a_path_and_a_query(target: bytes, parts: tuple[str, str]) -> None:
    assert split_target(target) == parts


def test_a_target_that_is_none_is_refused() -> None:
    with pytest.raises(RequestRefused, match="malformed"):
        split_target(b"http://")
