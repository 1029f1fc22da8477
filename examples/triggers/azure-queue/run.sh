#!/bin/sh
# A message of an Azure Storage Queue becomes a job. Needs `backroom` with the feature `azure-queue`, `curl`, and `azurite-queue` in the
# place of Azure (npm install -g azurite); works in a folder of its own and removes it.
set -eu
place=$(mktemp -d)
cd "$place"
port=${PORT:-10001}
azurite-queue --silent --disableTelemetry --location "$place" --queuePort "$port" > azurite.log 2>&1 &
azurite=$!
trap 'kill $azurite; wait $azurite || true; rm -rf "$place"' EXIT
queue=http://127.0.0.1:$port/devstoreaccount1/orders
until curl -s "$queue" > /dev/null; do sleep 0.1; done
# A signature for Azurite's account, whose key everyone knows.
sas='sp=rwdlacup&ss=bq&srt=sco&se=2099-01-01T00%3A00%3A00Z&spr=https%2Chttp&sv=2021-12-02&sig=v62kJec9P2MRf%2BWXx2XUjIquHB4le%2B96aXhGkHgZkCI%3D'
curl -sS -X PUT "$queue?$sas"
cat > backroom.toml <<END
[triggers.orders]
type = "azure-queue"
url = "$queue"
sas = "$sas"
kind = "order"
END
chmod 600 backroom.toml
backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server $azurite; wait $server $azurite || true; rm -rf "$place"' EXIT
curl -sS -d '<QueueMessage><MessageText>{"id": 7}</MessageText></QueueMessage>' "$queue/messages?$sas" > /dev/null
until backroom jobs --json 2> /dev/null | grep -q order; do sleep 0.1; done
backroom jobs
backroom triggers
backroom triggers test orders --body '{"id": 8}'
