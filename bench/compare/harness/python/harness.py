"""What the Python programs of the comparison share: the workload, the scenarios and the count of what ran.

It does the same as the Rust one beside it (harness/src), by the same contract (README.md). It never knows which peer it
measures.
"""

import asyncio
import json
import math
import os
import re
import sys
import time
import traceback

WARM_UP = 10
SETTLE_SECS = 2
PICKUP_LIMIT_SECS = 10
# So that the whole is about 200 bytes.
BODY_BYTES = 160


def email(number):
    return {"to": f"user{number}@example.com", "body": "x" * BODY_BYTES}


class Seen:
    """What the handlers saw."""

    def __init__(self, jobs):
        self.by_number = [0] * jobs
        self.runs = 0
        self.distinct = 0
        # Called with the number of each job that runs, and the moment.
        self.told = None

    def ran(self, to):
        """The first line of every handler."""
        at = time.perf_counter()
        found = re.match(r"user(\d+)@", to)
        number = int(found.group(1)) if found else len(self.by_number)
        # What is none of our jobs is a run too many: it is counted, but is nobody's first.
        if number < len(self.by_number):
            self.by_number[number] += 1
            self.distinct += self.by_number[number] == 1
        self.runs += 1
        if self.told:
            self.told(number, at)


class Request:
    """What the driver asks for, by environment."""

    def __init__(self):
        self.scenario = os.environ["COMPARE_SCENARIO"]
        self.store = os.environ["COMPARE_STORE"]
        self.jobs = int(os.environ["COMPARE_JOBS"])
        self.batch = int(os.environ["COMPARE_BATCH"])
        self.callers = int(os.environ["COMPARE_CALLERS"])
        self.slots = int(os.environ["COMPARE_SLOTS"])
        self.limit_secs = int(os.environ["COMPARE_LIMIT_SECS"])


async def enqueue_in_batches(peer, asked):
    start = time.perf_counter()
    for first in range(0, asked.jobs, asked.batch):
        last = min(first + asked.batch, asked.jobs)
        await peer.enqueue_batch([email(number) for number in range(first, last)])
    return asked.jobs / (time.perf_counter() - start)


async def enqueue_one_by_one(peer, asked):
    numbers = iter(range(asked.jobs))

    async def caller():
        for number in numbers:
            await peer.enqueue(email(number))

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(asked.callers)))
    return asked.jobs / (time.perf_counter() - start)


async def drain(peer, asked, seen):
    """From just before the workers start until the store says that no job is unfinished."""
    start = time.perf_counter()

    def in_time():
        return time.perf_counter() - start < asked.limit_secs

    await peer.start(seen.ran)
    while seen.distinct < asked.jobs and in_time():
        await asyncio.sleep(0.001)
    ended = False
    while seen.distinct >= asked.jobs and not ended and in_time():
        ended = await peer.unfinished() == 0
        if not ended:
            await asyncio.sleep(0.002)
    took = time.perf_counter() - start
    await peer.stop()
    return {
        "per_s": asked.jobs / took if ended else None,
        "runs": seen.runs,
        "distinct": seen.distinct,
        "unfinished": await peer.unfinished(),
        "finished": await peer.finished(),
    }


async def pickup(peer, asked, seen):
    """One job at a time: from just before the enqueue call to the first line of the handler."""
    await peer.start(seen.ran)
    await asyncio.sleep(SETTLE_SECS)
    told = asyncio.Queue()
    seen.told = lambda number, at: told.put_nowait((number, at))

    async def taken_up(number):
        while True:
            found, at = await told.get()
            if found == number:
                return at

    waits, lost = [], 0
    for number in range(WARM_UP + asked.jobs):
        start = time.perf_counter()
        await peer.enqueue(email(number))
        try:
            at = await asyncio.wait_for(taken_up(number), PICKUP_LIMIT_SECS)
        except asyncio.TimeoutError:
            lost += 1
        else:
            if number >= WARM_UP:
                waits.append((at - start) * 1000)
        await asyncio.sleep((20_000 + number * 7_919 % 23_000) / 1e6)
    await peer.stop()
    waits.sort()

    def percentile(part):
        return waits[max(math.ceil(len(waits) * part) - 1, 0)] if waits else None

    return {"samples": len(waits), "lost": lost, "p50_ms": percentile(0.50), "p99_ms": percentile(0.99)}


async def measure(peer_class):
    asked = Request()
    seen = Seen(asked.jobs + WARM_UP)
    report = {}
    async with peer_class(asked) as peer:
        if asked.scenario == "lifecycle":
            report["bulk_per_s"] = await enqueue_in_batches(peer, asked)
            report["stored"] = await peer.unfinished()
            report["drain"] = await drain(peer, asked, seen)
        elif asked.scenario == "bulk":
            report["bulk_per_s"] = await enqueue_in_batches(peer, asked)
            report["stored"] = await peer.unfinished()
        elif asked.scenario == "single":
            report["single_per_s"] = await enqueue_one_by_one(peer, asked)
            report["stored"] = await peer.unfinished()
        elif asked.scenario == "pickup":
            report["pickup"] = await pickup(peer, asked, seen)
        else:
            raise ValueError(f"there is no scenario {asked.scenario!r}")
        report["durability"] = await peer.durability()
    return report


def main(peer_class):
    """Measures what the environment asks for and prints it as one line of JSON."""
    try:
        print(json.dumps(asyncio.run(measure(peer_class))))
    except Exception as error:
        traceback.print_exc()
        sys.exit(f"failed to measure: {error}")
