"""Pong at 20 updates a second: two play, the others watch; the ball is the server's, the paddles are the players'."""

import asyncio
from pathlib import Path

from openline import HubSettings, Openline, Settings

queue = asyncio.Queue(maxsize=1000)  # who wants to play
line = Openline(settings=Settings(hub=HubSettings(window_seconds=5)))  # whose line breaks may come back so long
line.channel("court", volatile=True, subscribe=True)
line.on("play")(queue.put_nowait)
line.page("/", Path(__file__).with_name("index.html"))
line.page("/look.css", Path(__file__).parent.with_name("look.css"))


@line.on("move")
def move(connection, y: float):
    connection.state["y"] = min(max(y, 0), 1)


@line.task
async def court():
    while True:
        players = [await queue.get(), await queue.get()]
        ball, speed, goals = [0.8, 0.5], [0.03, 0.01], [0, 0]
        while len({*players}) == 2 and all(player.alive for player in players):  # nobody plays against themselves
            paddles = {player.id: player.state.get("y", 0.5) for player in players}
            ball = [ball[0] + speed[0], ball[1] + speed[1]]
            speed[1] *= 1 if 0 < ball[1] < 1 else -1
            side = int(ball[0] > 0.8)  # in whose half it is
            off = ball[1] - paddles[players[side].id]
            if abs(ball[0] - 0.8) > 0.75 and abs(off) < 0.13:
                speed = [-1.04 * speed[0], off / 4]
            elif abs(ball[0] - 0.8) > 0.8:
                goals[1 - side] += 1
                ball, speed = [0.8, 0.5], [0.03 if side else -0.03, 0.01]
            line.publish("court", "now", {"ball": ball, "paddles": paddles, "goals": goals})
            await asyncio.sleep(1 / 20)
        for player in {*players}:
            player.emit("over")
