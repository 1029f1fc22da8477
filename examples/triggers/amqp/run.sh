#!/bin/sh
# A message of a queue of RabbitMQ becomes a job. Needs `backroom`, the package `amqp-tools` and a RabbitMQ server, whose URL is the first argument.
# Works in a folder of its own and removes it.
set -eu
url=${1:-amqp://guest:guest@127.0.0.1:5672/%2f}
place=$(mktemp -d)
cd "$place"
cat > backroom.toml <<END
[triggers.orders]
type = "amqp"
url = "$url"
source_queue = "orders"
kind = "order"
args = { order = "{{body/id}}", kind = "{{header.content-type}}" }
END
chmod 600 backroom.toml
amqp-declare-queue --url="$url" -q orders -d
backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$place"' EXIT
until grep -q 'listening on' server.log; do sleep 0.1; done
amqp-publish --url="$url" -r orders -p -C application/json -b '{"id": 7}'
until backroom jobs --json 2> /dev/null | grep -q '"order"'; do sleep 0.1; done
backroom jobs
# What a server counts is stored every five seconds.
until backroom triggers show orders | grep -q ' 1 received'; do sleep 0.2; done
backroom triggers show orders
