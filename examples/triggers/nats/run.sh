#!/bin/sh
# A message of a stream of NATS JetStream becomes a job. Needs `backroom`, `python3` and a NATS server with JetStream, whose URL is the first argument.
# With NATS's own command, the program below is `nats stream add` and `nats pub`. Works in a folder of its own and removes it.
set -eu
url=${1:-nats://127.0.0.1:4222}
place=$(mktemp -d)
cd "$place"
cat > backroom.toml <<END
[triggers.orders]
type = "nats"
url = "$url"
stream = "ORDERS"
kind = "order"
lane = "{{header.subject}}"
END
chmod 600 backroom.toml
cat > nats.py <<'END'
"""nats.py URL SUBJECT TEXT: sends a request by the protocol of NATS, and prints the answer."""
import json, socket, sys, urllib.parse
url, subject, text = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2], sys.argv[3].encode()
stream = socket.create_connection((url.hostname, url.port or 4222), 10).makefile("rwb")
stream.readline()
options = {"verbose": False, "user": url.username or "", "pass": url.password or ""}
stream.write(b"CONNECT %s\r\nSUB answer 1\r\n" % json.dumps(options).encode())
stream.write(b"PUB %s answer %d\r\n%s\r\n" % (subject.encode(), len(text), text))
stream.flush()
for line in stream:
    if line.startswith(b"MSG"):
        print(stream.readline().decode().strip()[:80])
        break
    if line.startswith(b"-ERR"):
        sys.exit(line.decode())
END
python3 nats.py "$url" '$JS.API.STREAM.CREATE.ORDERS' '{"name": "ORDERS", "subjects": ["orders.>"], "storage": "file"}'
backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$place"' EXIT
until grep -q 'listening on' server.log; do sleep 0.1; done
python3 nats.py "$url" orders.created '{"id": 7}'
until backroom jobs --json 2> /dev/null | grep -q '"order"'; do sleep 0.1; done
backroom jobs
# What a server counts is stored every five seconds.
until backroom triggers show orders | grep -q ' 1 received'; do sleep 0.2; done
backroom triggers show orders
