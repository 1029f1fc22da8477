#!/bin/sh
# An object in a bucket becomes a job. Needs `backroom` with the feature `objects`, `curl`, and `moto_server` in the place of Amazon
# (pip install 'moto[server]'); works in a folder of its own and removes it.
set -eu
place=$(mktemp -d)
cd "$place"
port=${PORT:-5000}
moto_server -H 127.0.0.1 -p "$port" > moto.log 2>&1 &
moto=$!
trap 'kill $moto; wait $moto || true; rm -rf "$place"' EXIT
s3=http://127.0.0.1:$port
until curl -s "$s3" > /dev/null; do sleep 0.1; done
curl -sS -X PUT "$s3/photos"
cat > backroom.toml <<END
[triggers.uploads]
type = "objects"
url = "s3://photos/in/"
endpoint = "$s3"
access_key = "test"
secret_key = "test"
names = ["*.jpg"]
rescan = "1s"
kind = "thumbnail"
args = { bucket = "{{body/bucket}}", key = "{{body/key}}", width = 320 }
END
chmod 600 backroom.toml
backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server $moto; wait $server $moto || true; rm -rf "$place"' EXIT
curl -sS -X PUT -d 'a picture' "$s3/photos/in/cat.jpg"
until backroom jobs --json 2> /dev/null | grep -q thumbnail; do sleep 0.1; done
backroom jobs
backroom triggers
backroom triggers show uploads
