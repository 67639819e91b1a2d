"""Openline for a load that takes minutes: it waits long for pongs, and has a kind of channel per prefix. usage: PORT"""

import sys

import openline

# The load client answers no pings.
line = openline.Openline(settings=openline.Settings(line=openline.LineSettings(pong_within_seconds=600.0)))
line.channel("bench:*", public=True)
line.channel("kept:*", history=100, public=True)
line.channel("latest:*", when_slow="latest", public=True)

openline.serve(line, host="127.0.0.1", port=int(sys.argv[1]))
