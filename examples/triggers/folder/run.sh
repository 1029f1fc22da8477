#!/bin/sh
# A file in a folder becomes a job. Needs `backroom` in the PATH; works in a folder of its own and removes it.
set -eu
place=$(mktemp -d)
cd "$place"
mkdir in
cat > backroom.toml <<END
[triggers.uploads]
type = "folder"
path = "in"
kind = "thumbnail"
settle = "100ms"
args = { file = "{{body/path}}", width = 320 }
END
backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$place"' EXIT
echo "a picture" > in/cat.jpg
backroom jobs --help > /dev/null
until backroom jobs --json 2> /dev/null | grep -q thumbnail; do sleep 0.1; done
backroom jobs
backroom triggers
backroom triggers show uploads
