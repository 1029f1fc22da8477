#!/bin/sh
# A message of MQTT becomes a job. Needs `backroom`, `mosquitto_pub` and a broker, whose URL is the first argument. Works in a folder of its own and
# removes it.
set -eu
url=${1:-mqtt://127.0.0.1:1883}
place=$(mktemp -d)
cd "$place"
cat > backroom.toml <<END
[triggers.orders]
type = "mqtt"
url = "$url"
topics = ["shop/#"]
kind = "order"
lane = "{{header.topic}}"
END
chmod 600 backroom.toml

backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$place"' EXIT
until grep -q 'listening on' server.log; do sleep 0.1; done
until backroom triggers show orders 2> /dev/null | grep -q running; do sleep 0.1; done
mosquitto_pub -V mqttv5 -q 1 -L "$url/shop/berlin/orders" -m '{"id": 7}'
until backroom jobs --json 2> /dev/null | grep -q '"order"'; do sleep 0.1; done
backroom jobs
# What a server counts is stored every five seconds.
until backroom triggers show orders | grep -q ' 1 received'; do sleep 0.2; done
backroom triggers show orders
