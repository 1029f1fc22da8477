#!/bin/sh
# A row of a table becomes a job. Needs `backroom` and `sqlite3`; works in a folder of its own and removes it.
set -eu
place=$(mktemp -d)
cd "$place"
sqlite3 shop.db 'CREATE TABLE orders (id INTEGER PRIMARY KEY, price REAL)'
cat > backroom.toml <<END
[triggers.orders]
type = "sqlite"
path = "shop.db"
table = "orders"
operations = ["insert"]
kind = "order.created"
pointer = "/row"
END
backroom serve --listen 127.0.0.1:0 2> server.log &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$place"' EXIT
until backroom triggers --json 2> /dev/null | grep -q running; do sleep 0.1; done
sqlite3 shop.db 'INSERT INTO orders (price) VALUES (2.20)'
until backroom jobs --json 2> /dev/null | grep -q order.created; do sleep 0.1; done
backroom jobs
backroom triggers
backroom triggers show orders
