"""Programs that the tests of the command line serve."""

CHAT = """
import asyncio, time
from openline import Openline

line = Openline()
line.channel("chat:*", history=100, public=True)

@line.on("hello")
def hello(connection, name: str):
    return f"Hello, {name}!"

@line.on("hang")
async def hang(connection):
    await asyncio.sleep(1000)

@line.on("block", thread=True)
def block(connection):
    time.sleep(1000)

@line.on("fail")
def fail(connection, text: str):
    raise ValueError(text)

not_an_app = {}

def make():
    return line
"""
#: What the tests of other ASGI servers serve; it prints who has gone, and why.
HOSTED = """
from openline import LineSettings, Openline, Settings, SocketIoSettings

line = Openline(
    settings=Settings(
        line=LineSettings(outbox_bytes=131_072, close_within_seconds=0.3),
        socketio=SocketIoSettings(ping_interval_seconds=2, ping_timeout_seconds=1, connect_within_seconds=1),
    )
)
line.channel("chat:*", history=10_000, public=True)
line.channel("closed")
space = line.of("/")
space.on("echo")(lambda socket, *values: values)
space.on("bye")(lambda socket: socket.disconnect(True))

@line.on("hello")
async def hello(connection, name: str):
    return f"Hello, {name}!"

@line.on("leave")
def leave(connection, reason: str):
    connection.disconnect(reason)

@line.on("lines")
def lines(connection):
    return sum(c.wire is not None for c in line.connections)

@line.on_disconnect
def gone(connection, reason):
    print("gone", connection.id, reason, flush=True)
"""
#: What keeps the tests of hanging handlers short.
IMPATIENT = "from openline.app import runtime\nruntime.PATIENCE_SECONDS = 0.3\n"
#: What the tests of several nodes serve; it prints who has gone, and why.
NODE = """
import os
from openline import Openline, Presence, Settings, SocketIoSettings

line = Openline(settings=Settings(socketio=SocketIoSettings(recovery=True)))
line.channel("room", history=1000, presence=Presence(grace_seconds=3), public=True)

@line.authenticate
def authenticate(token, request):
    return token

space = line.of("/")

@space.on("join")
async def join(socket, room: str):
    await socket.join(room)
    return "joined"

@space.on("say")
async def say(socket, room: str, number: int):
    await space.to(room).emit("said", number)

@space.on("where")
def where(socket):
    return os.getpid()

@space.on("whence")
def whence(socket):
    return socket.handshake.address

@line.on_disconnect
def gone(connection, reason):
    print("gone", connection.id, reason, flush=True)
"""
MOUNTED = """
from fastapi import FastAPI
from chat import line

app = FastAPI()
app.mount("/", line)
"""
