#!/bin/sh
# Makes the virtual environment and installs Openline into it: `setup.sh PYTHON VENV`. Only Python is needed.
set -eu
python=$1
venv=$2

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Openline needs Python 3.11 or newer; $("$python" --version) is here. Name another one: make PYTHON=python3.12 run" >&2
    exit 1
}
if [ ! -x "$venv/bin/python" ]; then
    echo "Making $venv …"
    "$python" -m venv "$venv" || {
        echo "Python lacks its venv module; on Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi
echo "Installing Openline …"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable .
sh "$(dirname "$0")/fetch_client.sh" || echo "The Socket.IO client's scripts are left out (they need npm); all else works." >&2
