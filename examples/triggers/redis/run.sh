#!/bin/sh
# An entry of a Redis stream becomes a job. Needs `backroom`, `redis-cli` and a Redis server, whose URL is the first argument. Works in a
# folder of its own and removes it.
set -eu
url=${1:-redis://127.0.0.1:6379}
place=$(mktemp -d)
cd "$place"
cat > backroom.toml <<END
[triggers.orders]
type = "redis"
url = "$url"
stream = "orders"
kind = "order"
args = { order = "{{body/id}}", tenant = "{{header.tenant}}" }
END
chmod 600 backroom.toml

backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$place"' EXIT
until grep -q 'listening on' server.log; do sleep 0.1; done
redis-cli --no-auth-warning -u "$url" XADD orders "*" data '{"id": 7}' tenant acme
until backroom jobs --json 2> /dev/null | grep -q '"order"'; do sleep 0.1; done
backroom jobs
# What a server counts is stored every five seconds.
until backroom triggers show orders | grep -q ' 1 received'; do sleep 0.2; done
backroom triggers show orders
