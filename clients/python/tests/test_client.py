"""The clients against a real server."""

from __future__ import annotations

import asyncio
import json
import threading
import unittest
import urllib.request
from typing import Any, Dict, List

from backroom import AsyncClient, Client, Problem, Run, Unreachable, Unsuccessful, Worker

from .support import Forgetful, Server, sometimes


class Working:
    """A worker in a thread of the test."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._thread = threading.Thread(target=lambda: asyncio.run(worker.serve()))
        self._thread.start()

    def stop(self) -> None:
        self.worker.stop()
        self._thread.join()


def adder(url: str) -> Worker:
    worker = Worker(url)

    @worker.handles("add")
    def add(run: Run) -> Any:
        run.progress(50, "half")
        run.log("adding")
        return sum(run.args)

    return worker


class Clients(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.close)
        self.client = Client(self.server.url)
        self.addCleanup(self.client.close)

    def work(self, worker: Worker) -> Working:
        working = Working(worker)
        self.addCleanup(working.stop)
        return working

    def test_a_job_is_enqueued_awaited_and_read(self) -> None:
        self.work(adder(self.server.url))
        job = self.client.enqueue("add", [1, 2], tags=["sum"])
        self.assertEqual(self.client.result(job, 60), 3)
        found = self.client.get(job)
        self.assertEqual((found["state"], found["tags"]), ("completed", ["sum"]))

    def test_many_jobs_are_enqueued_together(self) -> None:
        jobs: List[Dict[str, Any]] = [{"kind": "later", "args": n, "delay_ms": 3_600_000} for n in range(2500)]
        outcomes = self.client.enqueue_many(jobs)
        self.assertEqual(len({outcome["id"] for outcome in outcomes}), 2500)
        self.assertEqual(self.client.get(outcomes[2001]["id"])["args"], 2001)

    def test_a_wait_ends_in_time_and_a_cancelled_job_has_no_result(self) -> None:
        job = self.client.enqueue("never")
        with self.assertRaises(TimeoutError):
            self.client.wait(job, 0.1)
        self.client.cancel(job, "not wanted")
        with self.assertRaises(Unsuccessful) as raised:
            self.client.result(job, 60)
        self.assertEqual(raised.exception.job["state"], "cancelled")

    def test_what_the_server_refuses_is_an_error_with_its_code(self) -> None:
        with self.assertRaises(Problem) as raised:
            self.client.enqueue("add", [1], priority=77)
        self.assertEqual((raised.exception.status, raised.exception.code), (422, "invalid"))
        with self.assertRaises(Problem) as raised:
            self.client.get("00000000-0000-7000-8000-000000000000")
        self.assertEqual(raised.exception.code, "not-found")
        with self.assertRaises(ValueError):
            self.client.enqueue("add", float("nan"))

    def test_an_enqueue_whose_answers_are_lost_stores_one_job(self) -> None:
        forgetful = Forgetful(self.server, lambda path, count: count <= 2)
        self.addCleanup(forgetful.close)
        with Client(forgetful.url) as client:
            job = client.enqueue("once")
            many = client.enqueue_many([{"kind": "many"}] * 10)
        self.assertEqual(forgetful.lost, ["/v1/jobs"] * 2 + ["/v1/jobs/batch"] * 2)
        self.assertEqual(self.client.get(job)["kind"], "once")
        with self.subTest("nothing is stored twice"):
            with urllib.request.urlopen(self.server.url + "/v1/counts") as answer:
                counts = json.load(answer)["counts"]
            self.assertEqual(sum(row["jobs"] for row in counts), 1 + len(many))

    def test_a_server_that_is_away_is_an_error_after_the_patience(self) -> None:
        self.server.kill()
        with Client(self.server.url, patience=0.3) as client, self.assertRaises(Unreachable):
            client.enqueue("add")

    def test_a_job_is_followed_over_a_kill_of_the_server(self) -> None:
        worker = Worker(self.server.url, lease=5.0)
        go_on = threading.Event()

        @worker.handles("tell")
        def tell(run: Run) -> None:
            run.log("before")
            go_on.wait(60)
            run.log("after")

        self.work(worker)
        job = self.client.enqueue("tell")
        lines: List[str] = []
        states: List[str] = []
        for event in self.client.follow(job):
            if event["event"] == "line":
                lines.append(event["data"]["line"])
                if lines == ["before"]:
                    self.server.kill()
                    self.server.start()
                    go_on.set()
            if event["event"] == "state":
                states.append(event["data"]["state"])
        self.assertEqual((lines, states[-1]), (["before", "after"], "completed"))

    def test_the_asynchronous_client_has_the_same_calls(self) -> None:
        self.work(adder(self.server.url))
        forgetful = Forgetful(self.server, sometimes)
        self.addCleanup(forgetful.close)

        async def calls() -> None:
            async with AsyncClient(forgetful.url) as client:
                job = await client.enqueue("add", [1, 2])
                self.assertEqual(await client.result(job, 60), 3)
                many = await client.enqueue_many({"kind": "add", "args": [n, n]} for n in range(20))
                ended = await asyncio.gather(*(client.wait(one["id"], 60) for one in many))
                self.assertEqual([one["output"] for one in ended], [2 * n for n in range(20)])
                self.assertEqual((await client.get(job))["output"], 3)
                never = await client.enqueue("never")
                self.assertEqual((await client.cancel(never))["state"], "cancelled")
            async with AsyncClient(self.server.url) as client:
                events = [event async for event in client.follow(job)]
                self.assertEqual(events[-1]["data"]["output"], 3)
                self.assertIn("adding", [event["data"].get("line") for event in events])
                with self.assertRaises(Problem):
                    async for _ in client.follow("00000000-0000-7000-8000-000000000000"):
                        pass

        asyncio.run(calls())


if __name__ == "__main__":
    unittest.main()
