"""Openline with an engine and a history. usage: PORT fanout memory|sqlite HISTORY FOLDER"""

import sys
import tempfile
from pathlib import Path

import openline

port, _, engine, history, folder = sys.argv[1:]
with tempfile.TemporaryDirectory(dir=folder) as made:
    url = "memory" if engine == "memory" else f"sqlite:{Path(made) / 'store.db'}"
    line = openline.Openline(settings=openline.Settings(engine=url))
    line.channel("bench:*", public=True, history=int(history))
    openline.serve(line, host="127.0.0.1", port=int(port))
