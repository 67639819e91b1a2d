"""What one node says of a request that it passes on is believed as it was said, for a moment, and from nobody else."""

from hypothesis import assume, given
from hypothesis import strategies as st

from openline.transports.admission import Gate
from openline.transports.settings import GateSettings
from openline.transports.vouching import HEADER, Vouched, Vouching

KEY = "a secret that nodes share"
words = st.text(st.characters(blacklist_categories=("Cs",)), max_size=20)
clients = st.one_of(st.just(""), st.ip_addresses().map(str))


@given(st.sampled_from(["GET", "POST", "DELETE"]), words, words, clients, st.booleans(), st.integers(-10, 10))
def test_what_was_written_is_read(method: str, path: str, query: str, client: str, secure: bool, late: int) -> None:
    vouched = Vouched(client, secure)
    value = Vouching(KEY, lambda: 1000.0).write(method, path, query, vouched)
    assert Vouching(KEY, lambda: 1000.0 + late).read(value, method, path, query) == vouched


@given(st.integers(0, 200), st.characters(min_codepoint=33, max_codepoint=126))
def test_a_changed_letter_is_not_believed(place: int, letter: str) -> None:
    vouching = Vouching(KEY, lambda: 1000.0)
    value = vouching.write("GET", "/socket.io/", "sid=x", Vouched("10.0.0.1", secure=False))
    place %= len(value)
    assume(value[place] != letter)
    assert vouching.read(value[:place] + letter + value[place + 1 :], "GET", "/socket.io/", "sid=x") is None


def test_it_is_believed_for_its_own_request_with_its_own_key_and_for_a_moment() -> None:
    value = Vouching(KEY, lambda: 1000.0).write("GET", "/a", "b", Vouched("10.0.0.1", secure=True))
    read = Vouching(KEY, lambda: 1000.0).read
    assert read(value, "GET", "/a", "b") is not None
    assert read(value, "POST", "/a", "b") is None
    assert read(value, "GET", "/a\nb", "") is None
    assert read(value, "GET", "/a", "c") is None
    assert Vouching("another secret of theirs", lambda: 1000.0).read(value, "GET", "/a", "b") is None
    assert Vouching(KEY, lambda: 1011.0).read(value, "GET", "/a", "b") is None
    assert Vouching(KEY, lambda: 989.0).read(value, "GET", "/a", "b") is None


@given(st.text(max_size=80))
def test_nothing_that_comes_in_escapes_as_a_failure(value: str) -> None:
    assert Vouching(KEY).read(value, "GET", "/a", "b") is None


def test_without_a_key_nothing_is_believed() -> None:
    lone = Vouching("", lambda: 1000.0)
    assert lone.read(lone.write("GET", "/", "", Vouched("10.0.0.1", secure=False)), "GET", "/", "") is None


def admitted(vouching: Vouching, value: str) -> str:
    headers = [(b"host", b"localhost"), (HEADER.encode(), value.encode())]
    gate = Gate(GateSettings(), vouching)
    return gate.admit(path="/", query="", headers=headers, peer="10.0.0.9", secure=False).client


def test_the_gate_judges_the_client_that_another_node_vouches_for_and_no_other() -> None:
    vouching = Vouching(KEY)
    good = vouching.write("GET", "/", "", Vouched("192.0.2.7", secure=False))
    assert admitted(vouching, good) == "192.0.2.7"
    assert admitted(vouching, good[:-1] + ("0" if good[-1] != "0" else "1")) == "10.0.0.9"
    assert admitted(Vouching(""), good) == "10.0.0.9"
