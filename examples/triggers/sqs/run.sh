#!/bin/sh
# A message of Amazon SQS becomes a job. Needs `backroom` with the feature `sqs`, `curl`, and `moto_server` in the place of Amazon
# (pip install 'moto[server]'); works in a folder of its own and removes it.
set -eu
place=$(mktemp -d)
cd "$place"
port=${PORT:-5000}
moto_server -H 127.0.0.1 -p "$port" > moto.log 2>&1 &
moto=$!
trap 'kill $moto; wait $moto || true; rm -rf "$place"' EXIT
aws=http://127.0.0.1:$port
until curl -s "$aws" > /dev/null; do sleep 0.1; done
sqs() { curl -sS --aws-sigv4 aws:amz:us-east-1:sqs --user test:test "$aws/" "$@" > /dev/null; }
sqs -d Action=CreateQueue -d QueueName=orders
cat > backroom.toml <<END
[triggers.orders]
type = "sqs"
url = "$aws/123456789012/orders"
region = "us-east-1"
access_key = "test"
secret_key = "test"
kind = "order"
END
chmod 600 backroom.toml
backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server $moto; wait $server $moto || true; rm -rf "$place"' EXIT
sqs -d Action=SendMessage -d "QueueUrl=$aws/123456789012/orders" --data-urlencode 'MessageBody={"id": 7}'
until backroom jobs --json 2> /dev/null | grep -q order; do sleep 0.1; done
backroom jobs
backroom triggers
backroom triggers test orders --body '{"id": 8}'
