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
#: What keeps the tests of hanging handlers short.
IMPATIENT = "from openline.app import runtime\nruntime.PATIENCE_SECONDS = 0.3\n"
MOUNTED = """
from fastapi import FastAPI
from chat import line

app = FastAPI()
app.mount("/", line)
"""
