#!/bin/sh
# A tour without a broker: a picture in a folder makes a thumbnail, a signed request starts an order, a schedule writes the report.
# Needs `backroom` and `curl`; works in a folder of its own and removes it.
set -eu
place=$(mktemp -d)
cd "$place"
mkdir in thumbnails
# A kind of jobs is a program of any language: its args come by standard input, and what it prints is the output of the job.
cat > thumbnail.sh <<'END'
file=$(sed 's/.*"file":"\([^"]*\)".*/\1/')
# A stand-in for a program that makes a small picture.
head -c 8 "$file" > "thumbnails/$(basename "$file")"
printf '{"thumbnail": "thumbnails/%s"}' "$(basename "$file")"
END
cat > report.sh <<'END'
printf '{"thumbnails": %s}' "$(ls thumbnails | wc -l)" | tee report.json
END
cat > backroom.toml <<END
[kinds.thumbnail]
command = ["sh", "$place/thumbnail.sh"]
folder = "$place"

[kinds.order]
command = ["cat"]

[kinds.report]
command = ["sh", "$place/report.sh"]
folder = "$place"

[triggers.uploads]
type = "folder"
path = "in"
settle = "100ms"
kind = "thumbnail"
args = { file = "{{body/path}}" }

[triggers.shop]
type = "hook"
scheme = "secret"
secrets = ["s3cret"]
kind = "order"

[schedules.nightly]
when = "every 1s"
frequent = true
kind = "report"
END
chmod 600 backroom.toml
backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$place"' EXIT
until grep -q 'listening on' server.log; do
  kill -0 $server || { cat server.log; exit 1; }
  sleep 0.1
done
url=$(sed -n 's/.*listening on //p' server.log)
for picture in cat dog owl; do echo "a picture of a $picture" > "in/$picture.jpg"; done
curl -sS -H 'X-Webhook-Secret: s3cret' -H 'Idempotency-Key: 1' -d '{"id": 7}' "$url/v1/hooks/shop"
echo
until [ "$(ls thumbnails | wc -l)" = 3 ]; do sleep 0.1; done
until grep -q ': 3}' report.json 2> /dev/null; do sleep 0.1; done
backroom jobs
backroom schedules
cat report.json
echo
