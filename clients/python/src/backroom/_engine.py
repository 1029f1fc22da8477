"""What a worker does over time: claims, heartbeats, reports, commits, and the stop."""

from __future__ import annotations

import asyncio
import collections
import inspect
import logging
import socket
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Deque, Dict, List, Mapping, Optional, Set, Tuple

from . import _calls as calls
from . import _outcome
from ._calls import Answer, Lost, Request
from ._stream import Http
from ._threads import Threads
from .errors import Problem
from .run import Run, clip
from .workflow import Codes, Driver

if TYPE_CHECKING:
    from .sealed import Sealing

logger = logging.getLogger("backroom")

#: Most ends that wait for their commit. Then no job is claimed.
UNRECORDED_MAX = 4000
#: Most commits and reports in one request, and most bytes.
BATCH = 1000
BATCH_BYTES = 4 << 20
LINES_PER_REQUEST = 8000
#: Reports that no commit waits for are sent so many seconds apart.
REPORT_SECS = 0.2
#: How long a handler that was asked to stop may take before its end is committed for it.
STOP_SECS = 5.0
#: How long a worker that stops tries to have its commits answered.
FLUSH_SECS = 20.0
#: A job whose key is missing is claimed again after so many seconds.
LOCKED_SECS = 60.0


@dataclass
class Options:
    server: str
    token: Optional[str]
    queues: Mapping[str, int]
    name: Optional[str]
    lease: float
    grace: float
    sealing: Optional[Sealing] = None


class WorkflowCode:
    """The code of a workflow, in the place of a handler."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes

    def __call__(self, run: Run) -> Any:
        raise TypeError("a workflow runs by its journal")


@dataclass
class Active:
    """A run from its claim until the answer to its commit."""

    run: Run
    began: float
    task: Optional["asyncio.Task[None]"] = None
    timer: Optional[asyncio.TimerHandle] = None
    #: The handler has ended, and its slot is free.
    has_ended: bool = False
    commit: Optional[bytes] = None
    #: The commit was refused once, and replaced.
    is_replaced: bool = False
    #: A cancel lets it undo what it has done.
    is_workflow: bool = False
    lines_sent: int = 0
    #: Its args are open, and what it answers is sealed.
    is_open: bool = False

    @property
    def key(self) -> Tuple[str, str]:
        return self.run.id, self.run.lease


@dataclass
class Identity:
    """Under which name the worker is known. It changes when the server has declared it dead."""

    name: str
    instance: str = field(default_factory=lambda: str(uuid.uuid4()))


class Engine:
    def __init__(
        self, options: Options, handlers: Mapping[str, Callable[[Run], Any]], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._options = options
        self._handlers = {kind: (handler, _is_async(handler)) for kind, handler in handlers.items()}
        self._loop = loop
        self._http = Http(options.server, options.token)
        self._identity = self._new_identity()
        self._threads = Threads(sum(options.queues.values()))
        self._runs: Dict[Tuple[str, str], Active] = {}
        self._occupied = {queue: 0 for queue in options.queues}
        self._claims: Set[str] = set()
        self._unrecorded: Deque[Active] = collections.deque()
        self._ended: Deque[Tuple[Active, Optional[Dict[str, Any]]]] = collections.deque()
        self._is_woken = False
        self._stopping = asyncio.Event()
        self._news = asyncio.Event()
        self._freed = {queue: asyncio.Event() for queue in options.queues}
        self._all_ended = asyncio.Event()
        self._is_closing = False
        self._give_up_at: Optional[float] = None
        self._fatal: Optional[BaseException] = None

    def stop(self) -> None:
        self._stopping.set()

    def stop_from_any_thread(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._stopping.set)
        except RuntimeError:
            pass  # The loop is closed, so the worker has stopped.

    async def run(self) -> None:
        claimers = [self._spawn(self._claim_for(queue)) for queue in self._options.queues]
        others = [self._spawn(self._extend()), self._spawn(self._record())]
        try:
            await self._stopping.wait()
            await self._wind_up(claimers, others)
        finally:
            for task in claimers + others:
                task.cancel()
            await asyncio.gather(*claimers, *others, return_exceptions=True)
            self._threads.end()
            self._http.close()
            # The transports are closed by the loop.
            await asyncio.sleep(0)
        if self._fatal is not None:
            raise self._fatal

    def _spawn(self, work: Awaitable[None]) -> "asyncio.Task[None]":
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # The stop goes on, and `run` raises it.
                self._fatal = self._fatal or error
                self.stop()

        return self._loop.create_task(guarded())

    # The stop.

    async def _wind_up(self, claimers: List["asyncio.Task[None]"], others: List["asyncio.Task[None]"]) -> None:
        self._wake_claimers()
        self._give_up_at = time.monotonic() + self._options.grace + FLUSH_SECS
        until = time.monotonic() + self._options.grace
        await asyncio.wait(claimers, timeout=self._options.grace)
        await self._until_all_ended(until - time.monotonic())
        for active in self._running():
            self._ask_to_stop(active, "stopping")
        await self._until_all_ended(STOP_SECS)
        for active in self._running():
            logger.warning("job %s (%s) still runs after the stop; it is released", active.run.id, active.run.kind)
            self._commit(active, {"outcome": "release"})
        self._is_closing = True
        self._news.set()
        recorder = others[1]
        _, late = await asyncio.wait([recorder], timeout=FLUSH_SECS)
        if late:
            logger.warning("%d ends could not be committed; their jobs run again", len(self._unrecorded))
        try:
            await self._http.exchange(calls.post("/v1/leases/leave", {"worker": self._worker()}, 5.0))
        except Lost as lost:
            logger.info("the server did not answer when the worker left: %s", lost)

    def _running(self) -> List[Active]:
        return [active for active in self._runs.values() if not active.has_ended and active.commit is None]

    async def _until_all_ended(self, secs: float) -> None:
        until = time.monotonic() + secs
        while self._running() and time.monotonic() < until:
            self._all_ended.clear()
            try:
                await asyncio.wait_for(self._all_ended.wait(), max(0.0, until - time.monotonic()))
            except asyncio.TimeoutError:
                return

    # Who the worker is.

    def _new_identity(self) -> Identity:
        return Identity(f"{self._options.name or socket.gethostname()}-{uuid.uuid4().hex[:12]}")

    def _worker(self) -> Dict[str, Any]:
        sealing = self._options.sealing
        return {
            "name": self._identity.name,
            "instance": self._identity.instance,
            "host": socket.gethostname(),
            "kinds": sorted(self._handlers),
            "queues": [{"name": queue, "slots": slots} for queue, slots in self._options.queues.items()],
            "lease_ms": int(self._options.lease * 1000),
            "stopping": self._stopping.is_set(),
            "running": sum(self._occupied.values()),
            **({} if sealing is None else {"keys": sealing.opening()}),
        }

    def _declared_dead(self, identity: Identity) -> None:
        """Its jobs run elsewhere. It goes on under another name."""
        if identity is not self._identity:
            return
        self._identity = self._new_identity()
        logger.warning("the server declared worker %s dead; it goes on as %s", identity.name, self._identity.name)
        lost, self._runs = list(self._runs.values()), {}
        self._unrecorded.clear()
        for active in lost:
            self._ask_to_stop(active, "lost")
        self._all_ended.set()

    # Claims: one loop for each queue, so that no queue exceeds its slots.

    async def _claim_for(self, queue: str) -> None:
        slots, freed = self._options.queues[queue], self._freed[queue]
        while not self._stopping.is_set():
            freed.clear()
            free = slots - self._occupied[queue]
            if free < 1 or len(self._unrecorded) > UNRECORDED_MAX:
                await freed.wait()
                # Short jobs end close together: one claim for many costs less than many claims for one.
                if slots > 4 and slots - self._occupied[queue] < slots // 4:
                    await asyncio.sleep(0.002)
                continue
            for job in await self._claim(queue, min(free, 1000)):
                self._begin(job)

    async def _claim(self, queue: str, limit: int) -> List[Dict[str, Any]]:
        claim, identity, number = str(uuid.uuid4()), self._identity, 0
        is_repeated = False
        self._claims.add(claim)
        try:
            while True:
                # A waiting claim counts as a sign of life. A machine that is gone must not seem alive for long.
                wait = 0.0 if is_repeated else min(calls.WAIT_SECS, self._options.lease / 2)
                body = {"worker": self._worker(), "claim": claim, "repeated": is_repeated, "queues": [queue], "limit": limit}
                body["wait_ms"] = int(wait * 1000)
                if self._options.sealing is not None:
                    # Kinds whose key is missing stay in their queue.
                    body["kinds"] = [kind for kind in self._handlers if self._options.sealing.can_open(kind)]
                try:
                    request = calls.post("/v1/claim", body, wait + calls.ANSWER_SECS)
                    answer = await self._unless_stopped(request, is_repeated)
                    if not calls.is_temporary(answer):
                        jobs: List[Dict[str, Any]] = self._checked(answer, identity).get("jobs", [])
                        return jobs
                    pause, why = calls.advised(answer, number), str(calls.problem(answer))
                except Lost as lost:
                    pause, why = calls.pause(number), str(lost)
                # What the claim took is asked for until there is an answer.
                is_repeated = True
                if identity is not self._identity or self._has_given_up():
                    return []
                if not self._stopping.is_set():
                    logger.info("a claim has no answer and is repeated: %s", why)
                await asyncio.sleep(pause)
                number += 1
        finally:
            self._claims.discard(claim)

    async def _unless_stopped(self, request: Request, is_repeated: bool) -> Answer:
        """A stop cuts a waiting claim off. The repeat then says what it took."""
        if is_repeated:
            return await self._http.exchange(request)
        exchange = self._loop.create_task(self._http.exchange(request))
        stop = self._loop.create_task(self._stopping.wait())
        try:
            await asyncio.wait([exchange, stop], return_when=asyncio.FIRST_COMPLETED)
            if exchange.done():
                return exchange.result()
            raise Lost("the worker stops")
        finally:
            for task in (exchange, stop):
                task.cancel()
            await asyncio.gather(exchange, stop, return_exceptions=True)

    def _checked(self, answer: Answer, identity: Identity) -> Dict[str, Any]:
        """The JSON of an answer. Nothing, if the worker was declared dead."""
        if answer.status == 409 and calls.problem(answer).code == "refused":
            self._declared_dead(identity)
            return {}
        if answer.status >= 400:
            raise calls.problem(answer)
        value: Dict[str, Any] = answer.json()
        return value

    def _has_given_up(self) -> bool:
        return self._give_up_at is not None and time.monotonic() > self._give_up_at

    def _wake_claimers(self) -> None:
        for freed in self._freed.values():
            freed.set()

    # Runs.

    def _begin(self, job: Mapping[str, Any]) -> None:
        active = Active(Run(job, self._wake), time.monotonic())
        if active.key in self._runs:
            return
        self._runs[active.key] = active
        self._occupied[active.run.queue] = self._occupied.get(active.run.queue, 0) + 1
        handler = self._handlers.get(active.run.kind)
        if self._stopping.is_set() or handler is None:
            self._end(active, {"outcome": "release"})
            return
        if self._options.sealing is not None and not self._opened(active, job, self._options.sealing):
            return
        if job.get("timeout_ms") is not None:
            active.timer = self._loop.call_later(job["timeout_ms"] / 1000, self._time_out, active)
        function, is_async = handler
        if isinstance(function, WorkflowCode):
            active.is_workflow = True
            active.task = self._loop.create_task(self._run_workflow(active, function))
        elif is_async:
            active.task = self._loop.create_task(self._run_here(active, function))
        else:
            self._threads.start(lambda: self._run_in_thread(active, function))

    def _opened(self, active: Active, job: Mapping[str, Any], sealing: Sealing) -> bool:
        """Opens the args of a sealed kind. False: the run has ended."""
        from .sealed import KeyMissing, OpenError

        try:
            active.run.args = sealing.args(job)
            active.is_open = True
            return True
        except KeyMissing as missing:
            logger.warning("job %s (%s) waits for key %s", active.run.id, active.run.kind, missing.key)
            active.run.progress(0, f"waits for key {missing.key}")
            self._end(active, {"outcome": "snooze", "delay_ms": _outcome.milliseconds(LOCKED_SECS)})
        except OpenError as error:
            self._end(active, {"outcome": "discard", "error": f"the args of the job cannot be used: {error}"})
        return False

    def _sealed(self, active: Active, outcome: Dict[str, Any]) -> Dict[str, Any]:
        """The outcome as it is stored."""
        sealing, run = self._options.sealing, active.run
        if sealing is None or not active.is_open:
            return outcome
        sealed = dict(outcome)
        try:
            if "output" in sealed:
                sealed["output"] = sealing.value(run.id, run.kind, run.lease, sealed["output"])
        except (TypeError, ValueError, RecursionError) as error:
            sealed = {"outcome": "discard", "error": clip(f"the output is no JSON: {error}", _outcome.ERROR_BYTES_MAX)}
        if "error" in sealed:
            sealed["error"] = sealing.text(run.id, run.kind, f"error {run.lease}", sealed["error"])
        return sealed

    async def _run_here(self, active: Active, handler: Callable[[Run], Any]) -> None:
        outcome: Optional[Dict[str, Any]]
        try:
            outcome = {"outcome": "done", "output": await handler(active.run)}
        except BaseException as error:
            outcome = _outcome.of_error(error, active.run.stop_reason)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self._fatal = self._fatal or error
                self.stop()
        self._end(active, outcome)

    async def _run_workflow(self, active: Active, function: WorkflowCode) -> None:
        identity = self._identity

        async def call(body: Dict[str, Any]) -> Dict[str, Any]:
            asked = calls.encode({"worker": identity.name, **body})
            return await self._answered("/v1/leases/workflow", asked, identity)

        outcome: Optional[Dict[str, Any]] = None
        try:
            await Driver(active.run, call, self._threads.start).drive(function.codes)
        except BaseException as error:
            outcome = _outcome.of_error(error, active.run.stop_reason)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                self._fatal = self._fatal or error
                self.stop()
        self._end(active, outcome)

    def _run_in_thread(self, active: Active, handler: Callable[[Run], Any]) -> None:
        outcome: Optional[Dict[str, Any]]
        try:
            outcome = {"outcome": "done", "output": handler(active.run)}
        except BaseException as error:
            outcome = _outcome.of_error(error, active.run.stop_reason)
        self._ended.append((active, outcome))
        self._wake()

    def _wake(self) -> None:
        """From any thread: there are ends or reports."""
        if not self._is_woken:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._woken)
            except RuntimeError:
                pass  # The loop is closed: a handler ended after its worker.

    def _woken(self) -> None:
        self._is_woken = False
        while self._ended:
            self._end(*self._ended.popleft())
        self._news.set()

    def _time_out(self, active: Active) -> None:
        self._ask_to_stop(active, "timeout")

        def is_over() -> None:
            if not active.has_ended and active.commit is None:
                # Its thread goes on, and holds its slot until it ends.
                self._commit(active, _outcome.of_stop("timeout"))

        active.timer = self._loop.call_later(STOP_SECS, is_over)

    def _ask_to_stop(self, active: Active, reason: str) -> None:
        active.run._ask_to_stop(reason)
        undoes = active.is_workflow and reason == "cancelled"
        if active.task is not None and not active.has_ended and not undoes:
            active.task.cancel()

    def _end(self, active: Active, outcome: Optional[Dict[str, Any]]) -> None:
        """The handler has ended."""
        active.has_ended = True
        if active.timer is not None:
            active.timer.cancel()
        queue = active.run.queue
        self._occupied[queue] -= 1
        if queue in self._freed:
            self._freed[queue].set()
        if active.commit is None:
            self._commit(active, outcome)
        self._all_ended.set()

    def _commit(self, active: Active, outcome: Optional[Dict[str, Any]]) -> None:
        """None: the lease is lost, and nothing is committed."""
        if outcome is None or active.key not in self._runs:
            self._runs.pop(active.key, None)
            return
        ran_ms = None if outcome["outcome"] == "release" else int((time.monotonic() - active.began) * 1000)
        active.commit = _outcome.commit(active.run.id, active.run.lease, self._sealed(active, outcome), ran_ms)
        self._unrecorded.append(active)
        self._news.set()

    # Heartbeats.

    async def _extend(self) -> None:
        every = min(5.0, self._options.lease / 4)
        number = 0
        while True:
            await asyncio.sleep(every if number == 0 else min(every, calls.pause(number)))
            identity, named = self._identity, list(self._runs.values())[:10_000]
            body = {"worker": self._worker(), "leases": [_run_of(active) for active in named], "claims": sorted(self._claims)}
            try:
                request = calls.post("/v1/leases/extend", body, max(1.0, self._options.lease / 3))
                answer = await self._http.exchange(request)
            except Lost as lost:
                number += 1
                logger.info("a heartbeat has no answer: %s", lost)
                continue
            try:
                if not calls.is_temporary(answer):
                    self._heard(named, self._checked(answer, identity).get("leases", []))
                number = 0
            except Problem as problem:
                logger.warning("a heartbeat was refused: %s", problem)

    def _heard(self, named: List[Active], answers: List[str]) -> None:
        for active, answer in zip(named, answers):
            if answer == "cancel":
                self._ask_to_stop(active, "cancelled")
            elif answer == "lost" and active.commit is None:
                self._runs.pop(active.key, None)
                self._ask_to_stop(active, "lost")
                self._all_ended.set()

    # Reports and commits: one request at a time, reports first, so that a job has its lines before it ends.

    async def _record(self) -> None:
        reported_at = 0.0
        while not (self._is_closing and not any(active.commit for active in self._runs.values())):
            await self._news.wait()
            self._news.clear()
            if not self._unrecorded:
                left = reported_at + REPORT_SECS - time.monotonic()
                if left > 0 and not self._is_closing:
                    await asyncio.sleep(left)
            ends = self._next_ends()
            await self._report()
            reported_at = time.monotonic()
            if ends:
                await self._commit_all(ends)
                self._wake_claimers()
            if self._unrecorded:
                self._news.set()

    def _next_ends(self) -> List[Active]:
        ends: List[Active] = []
        size = 0
        while self._unrecorded and len(ends) < BATCH:
            size += len(self._unrecorded[0].commit or b"")
            if ends and size > BATCH_BYTES:
                break
            ends.append(self._unrecorded.popleft())
        return ends

    async def _report(self) -> None:
        while True:
            named: List[Tuple[Active, int]] = []
            reports: List[Dict[str, Any]] = []
            lines, size = 0, 0
            for active in self._runs.values():
                if len(reports) >= BATCH or lines >= LINES_PER_REQUEST or size > BATCH_BYTES:
                    break
                if not active.run._has_unsent():
                    continue
                progress, more = active.run._unsent(LINES_PER_REQUEST - lines)
                report: Dict[str, Any] = {**_run_of(active), "lines": more, "first_line": active.lines_sent}
                if progress is not None:
                    report["progress"] = {"percent": progress[0], "message": progress[1]}
                self._seal_report(active, report)
                named.append((active, len(more)))
                reports.append(report)
                lines += len(more)
                size += sum(len(line) for line in more)
            if not reports:
                return
            identity = self._identity
            body = {"worker": identity.name, "reports": reports}
            try:
                answer = await self._answered("/v1/leases/report", calls.encode(body), identity)
                self._heard([active for active, _ in named], answer.get("leases", []))
            except Problem as problem:
                logger.warning("%d reports were refused and are dropped: %s", len(reports), problem)
            for active, count in named:
                active.lines_sent += count
                active.run._sent(count)

    def _seal_report(self, active: Active, report: Dict[str, Any]) -> None:
        sealing, run = self._options.sealing, active.run
        if sealing is None or not active.is_open:
            return
        first = report["first_line"]
        report["lines"] = [
            sealing.text(run.id, run.kind, f"log {run.lease} {first + place}", line)
            for place, line in enumerate(report["lines"])
        ]
        if "progress" in report:
            message = report["progress"]["message"]
            report["progress"]["message"] = sealing.text(run.id, run.kind, f"progress {run.lease}", message)

    async def _commit_all(self, ends: List[Active]) -> None:
        identity = self._identity
        name = calls.encode(identity.name)
        commits = b",".join(active.commit or b"" for active in ends)
        try:
            answer = await self._answered(
                "/v1/leases/commit", b'{"worker":' + name + b',"commits":[' + commits + b"]}", identity
            )
        except Problem as problem:
            await self._refused(ends, problem)
            return
        for active, settled in zip(ends, answer.get("commits", [])):
            if settled["status"] == "later":
                self._loop.call_later(0.2, self._again, active)
                continue
            if settled["status"] != "recorded":
                logger.warning("the end of job %s was not recorded: %s", active.run.id, settled["status"])
            self._runs.pop(active.key, None)

    def _again(self, active: Active) -> None:
        if active.key in self._runs:
            self._unrecorded.append(active)
            self._news.set()

    async def _refused(self, ends: List[Active], problem: Problem) -> None:
        """One of the commits is wrong, such as an output that is too large. It is found by halves, and its job discarded."""
        if len(ends) > 1:
            half = len(ends) // 2
            await self._commit_all(ends[:half])
            await self._commit_all(ends[half:])
            return
        active = ends[0]
        if active.is_replaced:
            logger.error("the end of job %s cannot be recorded: %s", active.run.id, problem)
            self._runs.pop(active.key, None)
            return
        active.is_replaced = True
        why = {"outcome": "discard", "error": clip(str(problem), _outcome.ERROR_BYTES_MAX)}
        active.commit = _outcome.commit(active.run.id, active.run.lease, why, None)
        await self._commit_all(ends)

    async def _answered(self, path: str, body: bytes, identity: Identity) -> Dict[str, Any]:
        """Sends a request that is safe to repeat until it has an answer."""
        number = 0
        while True:
            try:
                request = Request("POST", path, body, {"content-type": "application/json"})
                answer = await self._http.exchange(request)
                # A token may be replaced while the worker runs: its ends must not be lost by that.
                if not calls.is_temporary(answer) and answer.status not in (401, 403) and answer.status != 500:
                    return self._checked(answer, identity)
                pause, why = calls.advised(answer, number), str(calls.problem(answer))
            except Lost as lost:
                pause, why = calls.pause(number), str(lost)
            if identity is not self._identity:
                return {}
            logger.info("%s has no answer and is repeated: %s", path, why)
            await asyncio.sleep(pause)
            number += 1


def _run_of(active: Active) -> Dict[str, Any]:
    return {"job": active.run.id, "lease": active.run.lease}


def _is_async(handler: Callable[[Run], Any]) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))
