#!/bin/sh
# Fetches the stock Socket.IO client's scripts, which Openline serves, from npm into the package: `fetch_client.sh`.
# They are no part of the repository. Without npm, or without a network, the server says where they are missing.
set -eu
cd "$(dirname "$0")"
target=src/openline/web/socketio
version=$(sed -n 's/.*"socket.io-client": *"\([0-9.]*\)".*/\1/p' package.json)
if [ "$(cat "$target/version" 2>/dev/null)" = "$version" ]; then
    exit 0
fi
command -v npm >/dev/null || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "Fetching the Socket.IO client $version …"
npm install --prefix "$work" --no-audit --no-fund --no-save --loglevel=error "socket.io-client@$version" >/dev/null
from=$work/node_modules/socket.io-client
mkdir -p "$target"
for name in socket.io.js socket.io.min.js socket.io.esm.min.js; do
    cp "$from/dist/$name" "$from/dist/$name.map" "$target/"
done
cp "$from/LICENSE" "$target/LICENSE"
echo "$version" >"$target/version"
