"""Workflows against a real server, over real sockets."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Awaitable, Callable, Dict, List, Sequence

from backroom import Client, Run, StepFailed, TimedOut, Worker, Workflow
from backroom.workflow import Driver

from .support import HERE, PATIENCE, Forgetful, Server, environment, eventually, sometimes
from .test_client import Working
from .test_worker import read

#: Retries at once.
QUICK = {"backoff": {"constant": 1}}


def order_of(url: str, notes: List[str]) -> Worker:
    """A worker with the workflow that all clients are tested with."""
    worker = Worker(url)

    @worker.handles("doubled")
    def doubled(run: Run) -> int:
        number: int = run.args
        return number * 2

    @worker.workflow("order")
    async def order(ctx: Workflow) -> List[Any]:
        notes.append("begin")

        def charge() -> int:
            notes.append("charge")
            if notes.count("charge") == 1:
                raise RuntimeError("the bank does not answer")
            return 990

        async def pack(side: str) -> str:
            notes.append(f"pack {side}")
            return side

        cents = await ctx.step("charge", charge, retry=QUICK)
        sides = await asyncio.gather(
            *(ctx.scope(side).step("pack", lambda side=side: pack(side)) for side in ("left", "right"))
        )
        await ctx.publish("packed")
        carrier = await ctx.wait_signal("shipped")
        try:
            await ctx.wait_signal("never", within=0.01)
        except TimedOut:
            notes.append("timed out")
        twice = await ctx.child("twice", "doubled", 21)
        moment = await ctx.now()
        await ctx.sleep("rest", 0.01)
        for number in range(2):
            await ctx.step("mail", lambda number=number: notes.append(f"mail {number}"))
        return [cents, sides, carrier, twice, moment.year > 2000]

    return worker


class Workflows(unittest.TestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.addCleanup(self.server.close)
        self.client = Client(self.server.url)
        self.addCleanup(self.client.close)

    def work(self, worker: Worker) -> Working:
        working = Working(worker)
        self.addCleanup(working.stop)
        return working

    def journal(self, job: str) -> Dict[str, Any]:
        journal: Dict[str, Any] = self.client.journal(job) or {}
        return journal

    def parked(self, job: str) -> None:
        eventually("it parks", lambda: read(self.server, f"/v1/jobs/{job}")["state"] == "waiting")

    def test_what_is_recorded_runs_once_and_a_parked_workflow_goes_on_with_its_signal(self) -> None:
        notes: List[str] = []
        self.work(order_of(self.server.url, notes))
        job = self.client.enqueue("order")
        eventually("it waits for its signal", lambda: (self.journal(job) or {}).get("published") == "packed")
        self.parked(job)
        self.client.signal(job, "shipped", "bicycle")
        self.assertEqual(self.client.result(job, PATIENCE), [990, ["left", "right"], "bicycle", 42, True])
        # The code itself runs again after it was parked; what it notes outside of steps then stands there again.
        self.assertEqual(
            sorted(note for note in notes if note not in ("begin", "timed out")),
            sorted(["charge", "charge", "pack left", "pack right", "mail 0", "mail 1"]),
        )
        self.assertIn("timed out", notes)
        self.assertGreater(notes.count("begin"), 1, "it was parked")
        keys = [entry["key"] for entry in self.journal(job)["entries"]]
        self.assertEqual(sorted(keys), sorted(
            ["charge", "left/pack", "right/pack", "shipped", "never", "twice", "now", "rest", "mail", "mail#2"]
        ))

    def test_lost_answers_repeat_no_step(self) -> None:
        notes: List[str] = []
        forgetful = Forgetful(self.server, sometimes)
        self.addCleanup(forgetful.close)
        self.work(order_of(forgetful.url, notes))
        job = self.client.enqueue("order")
        self.client.signal(job, "shipped", "bicycle")
        self.assertEqual(self.client.result(job, PATIENCE)[0], 990)
        self.assertEqual(notes.count("charge"), 2)
        self.assertEqual((notes.count("pack left"), notes.count("mail 0"), notes.count("mail 1")), (1, 1, 1))
        self.assertIn("/v1/leases/workflow", forgetful.lost)

    def test_what_was_done_is_undone_in_reverse_when_it_fails_or_is_cancelled(self) -> None:
        undone: List[str] = []
        worker = Worker(self.server.url)

        def undo(name: str) -> None:
            undone.append(name)
            if undone == ["second"]:
                raise RuntimeError("not now")

        @worker.workflow("undoes")
        async def undoes(ctx: Workflow) -> None:
            for name in ("first", "second"):
                await ctx.step(name, lambda: name, compensate=undo)
            try:
                await ctx.step("third", lambda: 1 // 0, max_tries=1, compensate=undo)
            except StepFailed:
                pass
            if ctx.args == "waits":
                await ctx.wait_signal("never")
            raise RuntimeError("there are no socks")

        self.work(worker)
        job = self.client.enqueue("undoes", max_attempts=1)
        ended = self.client.wait(job, PATIENCE)
        self.assertEqual(ended["state"], "discarded")
        self.assertIn("there are no socks", ended["reason"])
        self.assertEqual(undone, ["second", "second", "first"], "a compensation is tried until it succeeds")
        undone.clear()
        undone.append("before")
        job = self.client.enqueue("undoes", "waits")
        self.parked(job)
        self.client.cancel(job, "too dear")
        ended = self.client.wait(job, PATIENCE)
        self.assertEqual((ended["state"], ended["reason"]), ("cancelled", "too dear"))
        self.assertEqual(undone, ["before", "second", "first"])

    def test_a_workflow_that_goes_on_for_ever_begins_an_empty_journal(self) -> None:
        worker = Worker(self.server.url)

        @worker.workflow("counts")
        async def counts(ctx: Workflow) -> int:
            number: int = await ctx.step("one", lambda: ctx.args + 1)
            if number < 3:
                ctx.continue_as_new(number)
            return number

        self.work(worker)
        job = self.client.enqueue("counts", 0)
        self.assertEqual(self.client.result(job, PATIENCE), 3)
        journal = self.journal(job)
        self.assertEqual((journal["generation"], len(journal["entries"])), (2, 1))

    def test_a_race_has_the_same_winner_in_every_run_and_what_has_lost_is_undone_too(self) -> None:
        worker = Worker(self.server.url)
        undone: List[str] = []
        seen: List[Any] = []

        @worker.workflow("quote")
        async def quote(ctx: Workflow) -> List[Any]:
            async def bank(ctx: Workflow) -> Any:
                await ctx.step("ask", lambda: "asked", compensate=undone.append)
                return await ctx.wait_signal("bank")

            async def rest(ctx: Workflow) -> str:
                await ctx.sleep("rest", 0.05)
                return "too late"

            won = await ctx.race("quote", {"bank": bank, "rest": rest})
            seen.append((won, ctx.random("number"), ctx.uuid("key"), ctx.uuid("key")))
            await ctx.wait_signal("go")
            if ctx.args == "fails":
                raise RuntimeError("no")
            return [won.branch, won.output]

        self.work(worker)
        jobs = [self.client.enqueue("quote", args) for args in (None, "fails")]
        for job in jobs:
            eventually("the race is over", lambda: any(e["key"] == "go" for e in self.journal(job).get("entries", [])))
            self.parked(job)
            self.client.signal(job, "bank", "cheap")
            self.client.signal(job, "go")
        self.assertEqual(self.client.result(jobs[0], PATIENCE), ["rest", "too late"])
        self.assertEqual(self.client.wait(jobs[1], PATIENCE)["state"], "discarded")
        self.assertEqual(undone, ["asked"], "the code of a branch that lost tells how its steps are undone")
        states = {entry["key"]: entry["state"] for entry in self.journal(jobs[0])["entries"]}
        self.assertEqual((states["quote/bank/ask"], states["quote/bank/bank"], states["quote"]), ("done", "lost", "done"))
        self.assertGreaterEqual(len(seen), 4, "each was parked")
        self.assertEqual(len(set(seen)), 2, "the same in every run, and another in each workflow")
        self.assertEqual(len({key for _, _, *keys in seen for key in keys}), 4)

    def test_runs_stay_on_the_path_and_on_the_version_that_they_began_with(self) -> None:
        def worker_of(name: str, is_patched: bool, earlier: Sequence[str] = ()) -> Worker:
            worker = Worker(self.server.url)

            @worker.workflow("patched")
            async def patched(ctx: Workflow) -> str:
                await ctx.step("first", lambda: 1)
                faster = is_patched and await ctx.patched("faster")
                await ctx.step("fast" if faster else "slow", lambda: 2)
                await ctx.wait_signal("go")
                return "new" if faster else "old"

            def named(version: str) -> Callable[[Workflow], Awaitable[str]]:
                async def code(ctx: Workflow) -> str:
                    await ctx.wait_signal("go")
                    return version

                return code

            worker.workflow_versions("versioned", [(version, named(version)) for version in (name, *earlier)])
            return worker

        working = self.work(worker_of("2025", False))
        old = [self.client.enqueue(kind) for kind in ("patched", "versioned")]
        for job in old:
            self.parked(job)
        working.stop()
        self.work(worker_of("2026", True, ["2025"]))
        new = [self.client.enqueue(kind) for kind in ("patched", "versioned")]
        for job in new:
            self.parked(job)
        for job in old + new:
            self.client.signal(job, "go")
        self.assertEqual([self.client.result(job, PATIENCE) for job in old + new], ["old", "2025", "new", "2026"])

    def test_random_numbers_and_ids_are_the_same_in_every_language(self) -> None:
        vectors = json.loads((HERE.parent / "vectors" / "derived.json").read_text())
        self.assertTrue(vectors)
        for vector in vectors:
            scope, _, name = vector["key"].rpartition("/")
            name, _, use = name.partition("#")
            driver = Driver(SimpleNamespace(id=vector["workflow"]), None, None)  # type: ignore[arg-type]
            driver._generation = vector["generation"]
            ctx = Workflow(driver, f"{scope}/" if scope else "")
            for _ in range(int(use or 1)):
                number, key = ctx.random(name), ctx.uuid(name)
            self.assertEqual((str(number), str(key)), (vector["random"], vector["uuid"]))

    def test_workflows_survive_workers_that_are_killed(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        jobs = [job["id"] for job in self.client.enqueue_many({"kind": "order", "args": n} for n in range(20))]
        for kill in range(3):
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.jobs", folder.name],
                cwd=HERE.parent,
                env=environment(BACKROOM_SERVER=self.server.url),
                stderr=subprocess.DEVNULL,
            )
            try:
                charged = Path(folder.name) / "charged"
                eventually("it works", lambda: charged.exists() and len(charged.read_text().split()) > kill * 5)
                for job in jobs[kill * 7:(kill + 1) * 7]:
                    self.client.signal(job, "shipped", kill)
                if kill == 2:
                    for number, job in enumerate(jobs):
                        self.assertEqual(self.client.result(job, PATIENCE), [number, number // 7])
                else:
                    time.sleep(0.2)
            finally:
                process.kill()
                process.wait()
