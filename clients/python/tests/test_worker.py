"""The worker against a real server, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path
from typing import Any, Dict, List

from backroom import Cancel, Client, Discard, Retry, Run, Snooze, Unreachable, Worker

from .support import HERE, PATIENCE, Forgetful, Server, environment, eventually, sometimes
from .test_client import Working


def read(server: Server, path: str) -> Any:
    with urllib.request.urlopen(server.url + path) as answer:
        return json.load(answer)


class Workers(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.close)
        self.client = Client(self.server.url)
        self.addCleanup(self.client.close)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def work(self, worker: Worker) -> Working:
        working = Working(worker)
        self.addCleanup(working.stop)
        return working

    def process(self, **more: str) -> "subprocess.Popen[bytes]":
        """A worker process, see `jobs.py`."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.jobs", str(self.folder)],
            cwd=HERE.parent,
            env=environment(BACKROOM_SERVER=self.server.url, **more),
            stderr=subprocess.DEVNULL,
        )

        def end() -> None:
            process.kill()
            process.wait()

        self.addCleanup(end)
        return process

    def lines(self, name: str) -> List[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    def ended(self, jobs: Dict[str, str]) -> Dict[str, Any]:
        return {name: self.client.wait(job, PATIENCE) for name, job in jobs.items()}

    def test_a_handler_decides_what_becomes_of_its_job(self) -> None:
        worker = Worker(self.server.url)

        def handle(kind: str, does: Any) -> None:
            worker.handles(kind)(does)

        def raising(error: BaseException) -> Any:
            def handler(run: Run) -> None:
                raise error

            return handler

        async def doubled(run: Run) -> Any:
            await asyncio.sleep(0)
            return run.args * 2

        def snoozed_once(run: Run) -> str:
            if not self.lines("snoozed"):
                (self.folder / "snoozed").write_text("once")
                raise Snooze(0.01)
            return f"attempt {run.attempt}"

        def retried_once(run: Run) -> str:
            if run.attempt == 1:
                raise Retry("not yet", 0.01)
            return f"attempt {run.attempt}"

        handle("doubled", doubled)
        handle("text", lambda run: "ä\u2028" + chr(0x1F600))
        handle("nothing", lambda run: None)
        handle("no-json", lambda run: object())
        handle("too-large", lambda run: "x" * (9 << 20))
        handle("discarded", raising(Discard("no such customer")))
        handle("cancelled", raising(Cancel("sold out")))
        handle("broken", raising(RuntimeError("disk full")))
        handle("exits", raising(SystemExit(3)))
        handle("snoozed", snoozed_once)
        handle("retried", retried_once)
        self.work(worker)
        names = list(worker._handlers)
        jobs = {name: self.client.enqueue(name, 21, max_attempts=2 if name == "retried" else 1) for name in names}
        ended = self.ended(jobs)
        outputs = {name: job["output"] for name, job in ended.items() if job["state"] == "completed"}
        self.assertEqual(
            outputs,
            {"doubled": 42, "text": "ä\u2028\U0001F600", "nothing": None, "snoozed": "attempt 1", "retried": "attempt 2"},
        )
        reasons = {name: (job["state"], job["reason"]) for name, job in ended.items() if name not in outputs}
        self.assertEqual(reasons["cancelled"][0], "cancelled")
        for name, why in [("discarded", "no such customer"), ("no-json", "no JSON"), ("too-large", ""), ("exits", "3")]:
            self.assertEqual(reasons[name][0], "discarded", name)
            self.assertIn(why, reasons[name][1])
        self.assertIn("RuntimeError: disk full", reasons["broken"][1])

    def test_progress_and_lines_arrive_in_order_although_answers_are_lost(self) -> None:
        forgetful = Forgetful(self.server, sometimes)
        self.addCleanup(forgetful.close)
        worker = Worker(forgetful.url)

        @worker.handles("talk")
        def talk(run: Run) -> None:
            for n in range(200):
                run.log(f"line {n}")
                run.progress(n // 2, f"at {n}")
                if n % 50 == 0:
                    run.sleep(0.25)

        self.work(worker)
        job = self.client.enqueue("talk")
        self.assertEqual(self.client.wait(job, PATIENCE)["progress"]["percent"], 99)
        lines = [line["line"] for line in read(self.server, f"/v1/jobs/{job}/logs")["log"]]
        self.assertEqual(lines, [f"line {n}" for n in range(200)])

    def test_a_cancel_and_a_timeout_stop_handlers_of_both_sorts(self) -> None:
        worker = Worker(self.server.url, lease=2.0)

        @worker.handles("thread")
        def in_thread(run: Run) -> None:
            run.log("began")
            run.sleep(600)

        @worker.handles("task")
        async def in_task(run: Run) -> None:
            run.log("began")
            await asyncio.sleep(600)

        self.work(worker)
        for kind in ("thread", "task"):
            job = self.client.enqueue(kind)
            for event in self.client.follow(job):
                if event["event"] == "line":
                    self.client.cancel(job, "enough")
            self.assertEqual(self.client.get(job)["state"], "cancelled", kind)
            job = self.client.enqueue(kind, timeout_ms=100, max_attempts=1)
            found = self.client.wait(job, PATIENCE)
            self.assertEqual((found["state"], "timeout" in found["reason"]), ("discarded", True), kind)

    def test_no_queue_exceeds_its_slots(self) -> None:
        worker = Worker(self.server.url, queues={"a": 2, "b": 5})
        lock, now, most = threading.Lock(), {"a": 0, "b": 0}, {"a": 0, "b": 0}

        @worker.handles("count")
        def count(run: Run) -> None:
            with lock:
                now[run.queue] += 1
                most[run.queue] = max(most[run.queue], now[run.queue])
            time.sleep(0.02)
            with lock:
                now[run.queue] -= 1

        jobs = self.client.enqueue_many({"kind": "count", "queue": queue} for queue in "ab" * 30)
        self.work(worker)
        for job in jobs:
            self.client.wait(job["id"], PATIENCE)
        self.assertEqual(most, {"a": 2, "b": 5})

    def test_commits_and_claims_whose_answers_are_lost_are_recorded_once(self) -> None:
        forgetful = Forgetful(self.server, sometimes)
        self.addCleanup(forgetful.close)
        worker = Worker(forgetful.url, queues={"default": 50})
        runs: List[str] = []

        @worker.handles("once")
        def once(run: Run) -> str:
            runs.append(run.id)
            return run.lease

        self.work(worker)
        jobs = [job["id"] for job in self.client.enqueue_many({"kind": "once"} for _ in range(500))]
        for job in jobs:
            self.assertEqual(self.client.wait(job, PATIENCE)["attempt"], 1)
        self.assertEqual(sorted(runs), sorted(jobs), "no job ran twice")
        self.assertTrue({"/v1/claim", "/v1/leases/commit"} <= set(forgetful.lost), forgetful.lost)

    def test_a_worker_that_was_declared_dead_drops_its_run_and_goes_on_under_another_name(self) -> None:
        frozen = self.process()
        long = self.client.enqueue("long", 8.0)
        eventually("the job runs", lambda: self.lines("began"))
        frozen.send_signal(signal.SIGSTOP)
        other = self.process()
        eventually("the job runs elsewhere", lambda: len(self.lines("began")) == 2)
        frozen.send_signal(signal.SIGCONT)
        found = self.client.wait(long, PATIENCE)
        self.assertEqual(found["state"], "completed")
        other.send_signal(signal.SIGTERM)
        self.assertEqual(other.wait(PATIENCE), 0)
        note = self.client.enqueue("note")
        self.assertEqual(self.client.wait(note, PATIENCE)["state"], "completed")
        frozen.send_signal(signal.SIGTERM)
        self.assertEqual(frozen.wait(PATIENCE), 0)

    def test_a_stop_waits_for_handlers_and_leaves(self) -> None:
        process = self.process()
        job = self.client.enqueue("long", 1.0)
        eventually("the job runs", lambda: self.lines("began"))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(self.lines("stopped"), ["in order"])
        found = self.client.get(job)
        self.assertEqual((found["state"], found["output"]), ("completed", "slept"))
        self.assertEqual([row for row in read(self.server, "/v1/workers")["workers"] if "long" in row["kinds"]], [])

    def test_a_stop_releases_what_exceeds_its_grace(self) -> None:
        process = self.process(GRACE="0.2")
        job = self.client.enqueue("long", 600)
        eventually("the job runs", lambda: self.lines("began"))
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0)
        found = self.client.get(job)
        self.assertEqual((found["state"], found["shown"]), ("queued", "available"))

    def test_kills_of_the_server_and_of_workers_lose_nothing_that_was_acknowledged(self) -> None:
        processes = [self.process(), self.process()]
        acknowledged: List[str] = []
        is_over = threading.Event()

        def enqueue() -> None:
            with Client(self.server.url, patience=5.0) as client:
                while not is_over.is_set():
                    try:
                        acknowledged.extend(job["id"] for job in client.enqueue_many([{"kind": "note"}] * 20))
                    except Unreachable:
                        pass  # Not acknowledged: they may be stored or not.
                    time.sleep(0.02)

        enqueuer = threading.Thread(target=enqueue)
        enqueuer.start()
        self.addCleanup(enqueuer.join)
        self.addCleanup(is_over.set)
        for turn in range(int(os.environ.get("TURNS", "3"))):
            ran = len(self.lines("ran"))
            eventually("jobs run", lambda: len(self.lines("ran")) > ran + 50)
            self.server.kill()
            self.server.start()
            ran = len(self.lines("ran"))
            eventually("jobs run again", lambda: len(self.lines("ran")) > ran + 50)
            victim = processes[turn % 2]
            victim.kill()
            victim.wait()
            processes[turn % 2] = self.process()
        is_over.set()
        enqueuer.join()
        self.assertGreater(len(acknowledged), 100)
        ran_leases: Dict[str, Any] = {}
        found = {job: self.client.wait(job, PATIENCE) for job in acknowledged}
        for line in self.lines("ran"):
            job, lease = line.split(" ")
            ran_leases.setdefault(job, set()).add(lease)
        for job in acknowledged:
            self.assertEqual(found[job]["state"], "completed", found[job])
            self.assertIn(found[job]["output"], ran_leases[job], "the outcome is that of a run")
            if len(ran_leases[job]) > 1:
                self.check_attempts(job, found[job])
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            self.assertEqual(process.wait(PATIENCE), 0)

    def check_attempts(self, job: str, found: Dict[str, Any]) -> None:
        """No lease has two outcomes: neither two ends without success, nor one beside the success."""
        attempts = read(self.server, f"/v1/jobs/{job}/attempts")["attempts"]
        leases = [attempt["lease_id"] for attempt in attempts]
        self.assertEqual(len(leases), len(set(leases)), attempts)
        self.assertNotIn(found["output"], leases, attempts)


if __name__ == "__main__":
    unittest.main()
