"""How many no-op jobs per second one Python worker process does: `python3 clients/bench/noop.py [JOBS]`.

BACKROOM_BIN names the server's program, PYTHONPATH the client: `clients/python/src`.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "python"))

from backroom import Client, Run, Worker  # noqa: E402
from tests.support import Server  # noqa: E402

jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
server = Server()
for sort in ("plain", "async"):
    with Client(server.url) as client:
        client.enqueue_many({"kind": sort, "args": n} for n in range(jobs))
    worker = Worker(server.url, queues={"default": 1000})
    done = 0

    def count() -> None:
        global done
        done += 1
        if done == jobs:
            worker.stop()

    if sort == "plain":

        @worker.handles(sort)
        def plain(run: Run) -> None:
            count()

    else:

        @worker.handles(sort)
        async def asynchronous(run: Run) -> None:
            count()

    began = time.monotonic()
    # Ends when all ends are recorded.
    worker.run()
    took = time.monotonic() - began
    print(f"Python {sys.version.split()[0]}, {sort} handler, 1 process, 1000 slots: {jobs / took:.0f} jobs/s")
server.close()
