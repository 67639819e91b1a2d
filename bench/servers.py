"""Owns the list of servers that can be measured: how each is started, and how the load client talks to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

# The parts of a load client's command line that depend on the server. %s is the payload, %c the number of a channel.
PLAIN_CHANNELS = ("--subscribe", "+%c", "--send", "%c %s")

SOCKET_IO_LINE = ("--path", "/socket.io/?EIO=4&transport=websocket", "--hello", "40")
SOCKET_IO = (*SOCKET_IO_LINE, "--send", '42["message","%s"]')
SOCKET_IO_CHANNELS = (*SOCKET_IO_LINE, "--subscribe", '420["join","%c"]', "--send", '42["say","%c","%s"]')

OPENLINE_LINE = ("--path", "/openline", "--hello", '{"type":"$connect","id":1}')
# The command carries an id, so it is answered; the id may be used again once the answer has come: window 1 only.
OPENLINE_ECHO = (*OPENLINE_LINE, "--send", '{"type":"echo","id":1,"payload":"%s"}')


def openline_member(channel: str) -> tuple[str, ...]:
    """Arguments for wsload: who joins ``channel`` and publishes there."""
    subscribe = '{"type":"$subscribe","channel":"CHANNEL","id":%c}'.replace("CHANNEL", channel)
    publish = '{"type":"message","channel":"CHANNEL","payload":"%s"}'.replace("CHANNEL", channel)
    return (*OPENLINE_LINE, "--subscribe", subscribe, "--send", publish)


OPENLINE_MEMBER = openline_member("bench:%c")
# So many polls of one address may not wait.
OPENLINE_POLLS = (*OPENLINE_MEMBER, "--polls", "/api/messages?channel=bench:%c", "--sources", "4")


@dataclass(frozen=True, slots=True)
class Server:
    """A server under test.

    ``command`` may contain {port}, {mode}, {python} (of the Python peers), {this_python}, {peers} and {build}.
    ``load`` are arguments for wsload in every mode; ``load_by_mode``, where it has the mode, takes their place.
    Modes of a server are fanout, echo, paced, idle and channels (fanout, to those who are in a channel).
    """

    name: str
    command: str
    load: tuple[str, ...] = ()
    load_by_mode: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def load_arguments(self, mode: str) -> tuple[str, ...]:
        return self.load_by_mode.get(mode, self.load)


def _python_peer(name: str) -> Server:
    return Server(name, f"{{python}} {{peers}}/{name}_server.py {{port}} {{mode}}", (), {"channels": PLAIN_CHANNELS})


def _node_peer(name: str) -> Server:
    return Server(name, f"node {{peers}}/{name}_server.js {{port}} {{mode}}", (), {"channels": PLAIN_CHANNELS})


def _speaks_socket_io(server: Server) -> Server:
    return replace(server, load=SOCKET_IO, load_by_mode={"channels": SOCKET_IO_CHANNELS})


def _openline(name: str, command: str) -> Server:
    # As pages do, it asks for its channels along with $connect: what is measured there is how one comes in.
    return Server(name, command, OPENLINE_MEMBER, {"echo": OPENLINE_ECHO, "idle": (*OPENLINE_MEMBER, "--together")})


OPENLINE_COMMAND = "{this_python} {peers}/openline_server.py {port} {mode}"

KNOWN: Mapping[str, Server] = {
    server.name: server
    for server in (
        Server("limit", "{build}/limit {port} {mode}", (), {"channels": PLAIN_CHANNELS}),
        Server("limit_corked", "{build}/limit {port} cork"),
        # As many bytes as Openline's envelopes have.
        Server("limit_enveloped", "{build}/limit {port} {mode}", ("--size", "216")),
        Server("limit_corked_enveloped", "{build}/limit {port} cork", ("--size", "216")),
        _openline("openline", OPENLINE_COMMAND),
        _openline("openline_history", f"{OPENLINE_COMMAND} 100"),
        _openline("openline_pure", f"env OPENLINE_PURE=1 {OPENLINE_COMMAND}"),
        Server("openline_streams", OPENLINE_COMMAND, (*OPENLINE_MEMBER, "--streams", "/events?channel=bench:%c")),
        Server("openline_long_polls", f"{OPENLINE_COMMAND} 100", (*OPENLINE_POLLS, "--poll-wait", "25")),
        Server("openline_short_polls", f"{OPENLINE_COMMAND} 100", (*OPENLINE_POLLS, "--poll-every", "1")),
        _speaks_socket_io(
            Server("openline_socketio", "{this_python} {peers}/openline_socketio_server.py {port} {mode}")
        ),
        Server("openline_raw", OPENLINE_COMMAND, ("--path", "/raw/bench:all?echo=1")),
        _node_peer("ws"),
        _node_peer("ws_framed"),
        _speaks_socket_io(_node_peer("socketio")),
        _python_peer("websockets"),
        _python_peer("starlette"),
        _python_peer("picows"),
        _python_peer("socketify"),
        _speaks_socket_io(_python_peer("python_socketio")),
    )
}
