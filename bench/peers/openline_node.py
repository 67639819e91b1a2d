"""One of several nodes, as a user would run it. usage: PORT ENGINE HISTORY; the cluster key is in the environment."""

import sys

import openline

line = openline.Openline(settings=openline.Settings(engine=sys.argv[2]))
line.channel("bench:*", history=int(sys.argv[3]), public=True)

openline.serve(line, host="127.0.0.1", port=int(sys.argv[1]))
