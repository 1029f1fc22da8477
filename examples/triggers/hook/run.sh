#!/bin/sh
# A request of another service becomes a job, once. Needs `backroom` and `curl`; works in a folder of its own and removes it.
set -eu
place=$(mktemp -d)
cd "$place"
cat > backroom.toml <<END
[triggers.orders]
type = "hook"
scheme = "secret"
secrets = ["s3cret"]
kind = "order"
END
chmod 600 backroom.toml
backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$place"' EXIT
until grep -q 'listening on' server.log; do sleep 0.1; done
url=$(sed -n 's/.*listening on //p' server.log)
for attempt in 1 2; do
  curl -sS -H 'X-Webhook-Secret: s3cret' -H 'Idempotency-Key: 1' -d '{"id": 7}' "$url/v1/hooks/orders"
  echo
done
curl -sS -d '{"id": 7}' "$url/v1/hooks/orders"
echo
backroom jobs
backroom triggers test orders --body '{"id": 8}'
