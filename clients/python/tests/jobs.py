"""A worker process for tests: `python -m tests.jobs FOLDER`. It writes what it does to the folder."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any, List

from backroom import Run, Worker, Workflow

folder = Path(sys.argv[1])
worker = Worker(queues={"default": 20}, lease=3.0, grace=float(os.environ.get("GRACE", "25")))


def write(name: str, line: str) -> None:
    # One write of one line: lines of several processes do not mix.
    with open(folder / name, "a") as file:
        file.write(line + "\n")


@worker.handles("note")
def note(run: Run) -> str:
    write("ran", f"{run.id} {run.lease}")
    time.sleep(0.01)
    return run.lease


@worker.handles("long")
def long(run: Run) -> str:
    write("began", run.id)
    run.sleep(float(run.args))
    return "slept"


@worker.workflow("order")
async def order(ctx: Workflow) -> List[Any]:
    def charge() -> Any:
        write("charged", ctx.run.id)
        return ctx.args

    number = await ctx.step("charge", charge)
    return [number, await ctx.wait_signal("shipped")]


worker.run()
write("stopped", "in order")
