"""Owns the list of servers that can be measured: how each is started, and how the load client talks to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SOCKET_IO = ("--path", "/socket.io/?EIO=4&transport=websocket", "--hello", "40", "--send", '42["message","%s"]')


def openline_member(channel: str) -> tuple[str, ...]:
    """Arguments for wsload: who joins ``channel`` and publishes there."""
    subscribe = '{"type":"$subscribe","channel":"CHANNEL","id":1}'.replace("CHANNEL", channel)
    publish = '{"type":"message","channel":"CHANNEL","payload":"%s"}'.replace("CHANNEL", channel)
    return ("--path", "/openline", "--hello", subscribe, "--send", publish)


# The command carries an id, so it is answered; the id may be used again once the answer has come: window 1 only.
OPENLINE_ECHO = ("--path", "/openline", "--send", '{"type":"echo","id":1,"payload":"%s"}')


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test.

    ``command`` may contain {port}, {mode}, {python} (of the Python peers), {this_python}, {peers} and {build}.
    ``load`` are arguments for wsload in every mode; ``load_by_mode``, where it has the mode, takes their place.
    """

    name: str
    command: str
    load: tuple[str, ...] = ()
    load_by_mode: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def load_arguments(self, mode: str) -> tuple[str, ...]:
        return self.load_by_mode.get(mode, self.load)


def _python_peer(name: str, *load: str) -> Server:
    return Server(name, f"{{python}} {{peers}}/{name}_server.py {{port}} {{mode}}", load)


def _node_peer(name: str, *load: str) -> Server:
    return Server(name, f"node {{peers}}/{name}_server.js {{port}} {{mode}}", load)


OPENLINE_COMMAND = "{this_python} {peers}/openline_server.py {port} {mode}"

KNOWN: Mapping[str, Server] = {
    server.name: server
    for server in (
        Server("limit", "{build}/limit {port} {mode}"),
        Server("limit_corked", "{build}/limit {port} cork"),
        Server("openline", OPENLINE_COMMAND, openline_member("bench:all"), {"echo": OPENLINE_ECHO}),
        Server("openline_raw", OPENLINE_COMMAND, ("--path", "/raw/bench:all?echo=1")),
        _node_peer("ws"),
        _node_peer("ws_framed"),
        _node_peer("socketio", *SOCKET_IO),
        _python_peer("websockets"),
        _python_peer("starlette"),
        _python_peer("picows"),
        _python_peer("socketify"),
        # A message takes it a tenth of a second: fewer of them keep a run short.
        _python_peer("python_socketio", *SOCKET_IO, "--rounds", "40"),
    )
}
