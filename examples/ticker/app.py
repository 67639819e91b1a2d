"""A stock ticker: prices move by themselves, and who comes late sees every one at once."""

import asyncio
import random
from pathlib import Path

from openline import Openline

HERE = Path(__file__).parent
OPENING = {"ACME": 184.20, "BOLT": 61.35, "CRUX": 402.75, "DUNE": 27.48, "ECHO": 118.06, "FERN": 73.90}
prices = dict(OPENING)

line = Openline()
line.channel("price:*", history=90, last_value=True, subscribe=True, see_history=True)
line.page("/", HERE / "index.html")
line.page("/look.css", HERE.parent / "look.css")


@line.on("opening")
def opening(connection) -> dict[str, float]:
    return OPENING


def trade(symbol: str) -> None:
    home = (OPENING[symbol] - prices[symbol]) / 100  # far away is far enough
    prices[symbol] = round(prices[symbol] * random.gauss(1, 0.002) + home, 2)
    line.publish(f"price:{symbol}", "price", prices[symbol])


@line.task
async def market():
    for symbol in [*OPENING] * 60:  # what happened before anybody came
        trade(symbol)
    while True:
        for symbol in random.sample([*OPENING], k=len(OPENING)):
            trade(symbol)
            await asyncio.sleep(0.15)
