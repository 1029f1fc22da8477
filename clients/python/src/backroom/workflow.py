"""Workflows: coroutine functions that go on where they were after a crash, a deploy, or a wait of months.

The server holds the journal of a workflow. The code asks for steps, timers, signals and children by name; what is recorded is
answered from the journal, and runs no second time. When all of the code waits, the workflow is parked and holds no slot.
"""

from __future__ import annotations

import asyncio
import inspect
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Awaitable, Callable, Dict, Iterator, List, Mapping, NoReturn, Optional, Sequence, Set, Tuple

from ._outcome import ERROR_BYTES_MAX, described, milliseconds
from .errors import BackroomError, Cancel, Discard, Retry, Snooze, Stopped
from .run import Run, clip

#: The code is parked once all of it has waited for so many seconds.
QUIET_SECS = 0.02

#: Of all that is derived from a workflow and a key, the same in every language.
_NAMESPACE = uuid.UUID("3d1f0c6a-77b9-4f02-8e4d-5c1b90aa62f3")

Call = Callable[[Dict[str, Any]], Awaitable[Dict[str, Any]]]
#: The code of a workflow by its versions, the newest first; one without a name if the kind has no versions.
Codes = Sequence[Tuple[Optional[str], Callable[["Workflow"], Awaitable[Any]]]]


class StepFailed(BackroomError):
    """A step failed for good: its tries are spent, or it raised `Discard`. Every run gets the same error."""


class ChildFailed(BackroomError):
    """A child ended without an output."""


class TimedOut(BackroomError):
    """A signal did not come in time. That is recorded: a signal that comes later is left to the next wait."""


class NameInUse(BackroomError):
    """Two parts of the code use one name at the same time: give each a scope of its own, or another name."""


class ContinueAsNew(Exception):
    """Ends the run; the workflow begins again with other args and an empty journal. See `Workflow.continue_as_new`."""

    def __init__(self, args: Any) -> None:
        super().__init__("the workflow begins again")
        self.new_args = args


@dataclass(frozen=True)
class Won:
    """The branch that came first in a race, and what it returned."""

    branch: str
    output: Any


class Workflow:
    """What the code of a workflow gets. All that has an effect, takes time or differs from run to run goes through it."""

    def __init__(self, driver: "Driver", path: str = "") -> None:
        self._driver = driver
        self._path = path

    @property
    def run(self) -> Run:
        """The run of the job, with its id, its attempt, `log` and `progress`."""
        return self._driver.run

    @property
    def args(self) -> Any:
        return self._driver.run.args

    def scope(self, name: str) -> "Workflow":
        """Names of its own for a part of the code: `ctx.scope("refund").step("charge", …)` has the key `refund/charge`."""
        return Workflow(self._driver, self._driver.scope(self._path, name))

    async def step(
        self,
        name: str,
        code: Callable[[], Any],
        *,
        retry: Optional[Mapping[str, Any]] = None,
        max_tries: Optional[int] = None,
        compensate: Optional[Callable[[Any], Any]] = None,
    ) -> Any:
        """Runs `code`, a function or a coroutine function, unless the step is recorded, and answers with its value, which must be JSON.

        An error is tried again as `retry` says, in the form of the API; `Discard` is not. `compensate` gets the value and undoes the
        step if the workflow fails or is cancelled after it; it is tried until it succeeds.
        """
        ask: Dict[str, Any] = {"kind": "step", "compensated": compensate is not None}
        if retry is not None:
            ask["retry"] = dict(retry)
        if max_tries is not None:
            ask["max_tries"] = max_tries
        key, answer = await self._ask(name, ask, code)
        if answer["state"] != "done":
            raise StepFailed(f"step {key!r} failed: {answer.get('error')}")
        if compensate is not None:
            self._driver.compensations[key] = compensate
        return answer.get("value")

    async def sleep(self, name: str, secs: float) -> None:
        await self._ask(name, {"kind": "timer", "ms": milliseconds(secs)})

    async def sleep_until(self, name: str, moment: datetime) -> None:
        """`moment` has a time zone."""
        await self._ask(name, {"kind": "timer", "until": moment.isoformat()})

    async def wait_signal(self, name: str, within: Optional[float] = None) -> Any:
        """What a signal of this name carries, which may have come before. Raises `TimedOut` if it does not come `within` so many seconds."""
        ask: Dict[str, Any] = {"kind": "signal", "signal": name}
        if within is not None:
            ask["within_ms"] = milliseconds(within)
        key, answer = await self._ask(name, ask)
        if answer["state"] == "timed_out":
            raise TimedOut(f"signal {key!r} did not come within {within} s")
        return answer.get("value")

    async def child(self, name: str, kind: str, args: Any = None, *, policy: str = "cancel", **options: Any) -> Any:
        """The output of another job. `options` are those of a job of the API, as `queue`. `policy` says what becomes of the job if the
        workflow ends first: `cancel`, `cancel_on_failure` or `abandon`."""
        job = {"kind": kind, "args": args, **options}
        key, answer = await self._ask(name, {"kind": "child", "job": job, "policy": policy})
        if answer["state"] != "done":
            raise ChildFailed(f"child {key!r} ended without an output: {answer.get('error')}")
        return answer.get("value")

    async def race(self, name: str, branches: Mapping[str, Callable[["Workflow"], Awaitable[Any]]]) -> Won:
        """Runs coroutine functions beside each other until one has ended. Each gets a `Workflow` with names of its own.

        Who won is recorded. The others are cancelled: what they wait for has ended, and so have children that they began, as their
        policies say. If the winner raises, so does the race.
        """
        if not branches:
            raise ValueError(f"race {name!r} has no branch")
        return await self._driver.race(self._path, name, branches)

    async def patched(self, name: str) -> bool:
        """Whether to take the new path of a change: `False` for runs that had passed this place before the change was deployed.

        A run has passed it if answers are recorded in this scope that the code has not asked for. Remove it once no run is left from
        before.
        """
        return await self._driver.patched(self._path, name)

    def random(self, name: str) -> int:
        """A random number of 64 bits, the same in every run. It is no secret."""
        high, low = divmod(self._driver.derived(self._path, "random", name).int, 1 << 64)
        return high ^ ((low << 32 | low >> 32) & ((1 << 64) - 1))

    def uuid(self, name: str) -> uuid.UUID:
        """A UUID, the same in every run: an idempotency key for what a step calls."""
        return uuid.UUID(bytes=self._driver.derived(self._path, "uuid", name).bytes, version=4)

    async def now(self) -> datetime:
        """The time, the same in every run."""
        _, answer = await self._ask("now", {"kind": "now"})
        whole, _, fraction = str(answer["value"]).rstrip("Z").partition(".")
        moment = datetime.fromisoformat(whole)
        return moment.replace(microsecond=int((fraction + "000000")[:6]), tzinfo=timezone.utc)

    async def publish(self, value: Any) -> None:
        """Publishes a value for queries, in the place of the one before. The journal shows it, also while the workflow is parked."""
        await self._driver.publish(value)

    def continue_as_new(self, args: Any) -> NoReturn:
        """Begins the workflow again with these args and an empty journal, for workflows that would go on for ever."""
        raise ContinueAsNew(args)

    async def _ask(
        self, name: str, ask: Dict[str, Any], code: Optional[Callable[[], Any]] = None
    ) -> Tuple[str, Dict[str, Any]]:
        return await self._driver.named(self._path, name, ask, code)


class Driver:
    """One run of the code of a workflow."""

    def __init__(self, run: Run, call: Call, start: Callable[[Callable[[], None]], None]) -> None:
        """`start` runs a function in a thread."""
        self.run = run
        self._start = start
        self.compensations: Dict[str, Callable[[Any], Any]] = {}
        self._call = call
        self._recorded: Dict[str, Dict[str, Any]] = {}
        #: Recorded answers that the code has not taken, and whether it takes such answers still.
        self._unread: Set[str] = set()
        self._is_replaying = False
        self._generation: Optional[int] = None
        self._versions: List[str] = []
        self._uses: Dict[str, int] = {}
        self._derived: Dict[Tuple[str, str], int] = {}
        #: Scopes of branches that have lost their race.
        self._lost: Set[str] = set()
        #: Keys of requests under way.
        self._asked: List[Sequence[str]] = []
        self._live: Set[str] = set()
        self._waiting: Dict[str, Tuple[Dict[str, Any], "asyncio.Future[Dict[str, Any]]"]] = {}
        #: Requests under way, and steps that run.
        self._busy = 0
        self._changed = asyncio.Event()
        #: Made when it begins.
        self._over: "asyncio.Future[Dict[str, Any]]"

    async def drive(self, codes: Codes) -> None:
        """Runs the code until it ends, is parked or must stop. Raises what the attempt fails with; otherwise all is recorded."""
        self._over = asyncio.get_running_loop().create_future()
        self._versions = [version for version, _ in codes if version is not None]
        begun = await self._send({"begin": True, "versions": self._versions})
        if begun["status"] not in ("running", "undoing"):
            return
        self._generation = begun["generation"]
        # The oldest code is for runs that began before the kind had versions.
        handler = dict(codes).get(begun.get("version"), codes[-1][1])
        self._recorded = {entry["key"]: entry for entry in begun.get("recorded", [])}
        self._unread = set(self._recorded)
        self._is_replaying = bool(self._unread)
        answer = await self._drive(handler)
        while answer["status"] == "undoing":
            undo = answer.get("undo")
            answer = await self._send({"then": "park"} if undo is None else await self._undo(undo))

    async def _drive(self, handler: Callable[[Workflow], Awaitable[Any]]) -> Dict[str, Any]:
        loop = asyncio.get_running_loop()
        code = loop.create_task(_awaited(handler(Workflow(self))))
        parker = loop.create_task(self._park())
        stop = loop.create_task(self.run.stopped())
        try:
            await asyncio.wait([code, parker, stop, self._over], return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                return self._over.result()
            if code.done():
                return await self._ended(code)
            if parker.done():
                parker.result()
            # A client has cancelled the job. Steps that run are reported first.
            while self._busy > 0 and not self._over.done():
                self._changed.clear()
                await self._changed.wait()
            if self._over.done():
                return self._over.result()
            return await self._send({"then": "stop"})
        finally:
            for task in (code, parker, stop):
                task.cancel()
            await asyncio.gather(code, parker, stop, return_exceptions=True)

    async def _ended(self, code: "asyncio.Task[Any]") -> Dict[str, Any]:
        try:
            return await self._send({"then": "complete", "output": code.result()})
        except ContinueAsNew as new:
            return await self._send({"then": "continue", "args": new.new_args, "versions": self._versions})
        except NameInUse as error:
            # A deploy mends it, so nothing is undone.
            raise Retry(str(error)) from error
        except (Retry, Snooze, Stopped):
            # The attempt ends, and the job runs again from its journal.
            raise
        except (Discard, Cancel) as error:
            why = str(error)
        except Exception as error:
            why = described(error)
        return await self._send({"then": "fail", "error": clip(why, ERROR_BYTES_MAX)})

    async def _undo(self, undo: Mapping[str, Any]) -> Dict[str, Any]:
        compensate = self.compensations.get(undo["key"])
        if compensate is None:
            why = f"step {undo['key']!r} is to be undone, and the code has no compensation for it; deploy code that has one"
            return {"then": "block", "error": why}
        undone: Dict[str, Any] = {"key": undo["key"], "try": undo["try"]}
        try:
            await self._run(lambda: compensate(undo["value"]), compensate)
        except Exception as error:
            undone["error"] = described(error)
        return {"undone": undone}

    # Names.

    def key(self, path: str, name: str) -> str:
        plain = path + name
        count = self._uses[plain] = self._uses.get(plain, 0) + 1
        return plain if count == 1 else f"{plain}#{count}"

    def scope(self, path: str, name: str) -> str:
        """Scopes and entries are counted each by themselves."""
        plain = path + name + "/"
        count = self._uses[plain] = self._uses.get(plain, 0) + 1
        return plain if count == 1 else f"{path}{name}#{count}/"

    def derived(self, path: str, what: str, name: str) -> uuid.UUID:
        plain = path + name
        count = self._derived[what, plain] = self._derived.get((what, plain), 0) + 1
        key = plain if count == 1 else f"{plain}#{count}"
        return uuid.uuid5(_NAMESPACE, f"{self.run.id} {self._generation} {what} {key}")

    @contextmanager
    def _using(self, path: str, name: str) -> Iterator[str]:
        plain = path + name
        if plain in self._live:
            raise NameInUse(f"{plain!r} is in use by another part of the workflow; give each part a scope, or another name")
        self._live.add(plain)
        try:
            yield self.key(path, name)
        finally:
            self._live.discard(plain)

    async def named(
        self, path: str, name: str, ask: Dict[str, Any], code: Optional[Callable[[], Any]]
    ) -> Tuple[str, Dict[str, Any]]:
        with self._using(path, name) as key:
            return key, await self._ask({"key": key, **ask}, code)

    # Races and changes.

    async def race(
        self, path: str, name: str, branches: Mapping[str, Callable[[Workflow], Awaitable[Any]]]
    ) -> Won:
        scope = self.scope(path, name)
        names = list(branches)
        paths = [self.scope(scope, branch) for branch in names]
        with self._using(path, name) as key:
            known = self._known(key, "race")
            if known is not None:
                # The others repeat what is recorded, so that their compensations are known, and go no further.
                self._lost.update(one for place, one in enumerate(paths) if place != known["value"])
            loop = asyncio.get_running_loop()
            ended: List[int] = []
            tasks = []
            for place, branch in enumerate(names):
                task = loop.create_task(_awaited(branches[branch](Workflow(self, paths[place]))))
                task.add_done_callback(lambda _, place=place: ended.append(place))  # type: ignore[misc]
                tasks.append(task)
            try:
                winner = await self._winner(key, paths, tasks, ended, known)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            return Won(names[winner], tasks[winner].result())

    async def _winner(
        self,
        key: str,
        paths: List[str],
        tasks: "List[asyncio.Task[Any]]",
        ended: List[int],
        known: Optional[Dict[str, Any]],
    ) -> int:
        if known is not None:
            winner = int(known["value"])
            if winner >= len(tasks):
                raise BackroomError(f"branch {winner} of race {key!r} won in an earlier run, and the code has no such branch")
            await asyncio.wait([tasks[winner]])
            while any(key.startswith(lost) for key in self._unread for lost in self._lost):
                unread = len(self._unread)
                await asyncio.sleep(QUIET_SECS)
                if unread == len(self._unread):
                    break
            return winner
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        winner = ended[0]
        self._lost.update(one for place, one in enumerate(paths) if place != winner)
        # Else such a request would begin what no part of the code waits for.
        while any(self._has_lost(key) for keys in self._asked for key in keys):
            self._changed.clear()
            await self._changed.wait()
        answer = await self._one({"key": key, "kind": "race", "branches": paths, "won": winner})
        if answer.get("value") != winner:
            raise Retry(f"another branch of race {key!r} is recorded as its winner")
        return winner

    def _has_lost(self, key: str) -> bool:
        return any(key.startswith(lost) for lost in self._lost)

    async def patched(self, path: str, name: str) -> bool:
        with self._using(path, name) as key:
            if self._known(key, "patch") is not None:
                return True
            while any(one.startswith(path) for one in self._unread):
                unread = len(self._unread)
                await asyncio.sleep(QUIET_SECS)
                if unread == len(self._unread):
                    # No part of the code asks for what is recorded: it was recorded behind this place.
                    return False
            answer = await self._one({"key": key, "kind": "patch"})
            return bool(answer["value"])

    # Asks.

    def _known(self, key: str, kind: str) -> Optional[Dict[str, Any]]:
        known = self._recorded.get(key)
        if known is None or known["kind"] != kind:
            return None
        self._unread.discard(key)
        self._is_replaying = bool(self._unread)
        return known

    async def _ask(self, ask: Dict[str, Any], code: Optional[Callable[[], Any]]) -> Dict[str, Any]:
        known = self._known(ask["key"], ask["kind"])
        if known is not None:
            return known
        self._is_replaying = False
        answer = await self._one(ask)
        while True:
            if answer["state"] == "execute" and code is not None:
                answer = await self._one({**ask, "tried": await self._try(code, answer["try"])})
            elif answer["state"] == "waiting":
                answer = await self._wait(ask)
            elif answer["state"] == "refused":
                raise BackroomError(answer.get("error", "refused"))
            else:
                return answer

    async def _one(self, ask: Dict[str, Any]) -> Dict[str, Any]:
        is_to_stop = self.run.stop_reason == "cancelled" and "tried" not in ask
        if is_to_stop or self._has_lost(ask["key"]):
            # The code goes no further.
            await _forever()
        answer = await self._busily({"asks": [ask]})
        asks: List[Dict[str, Any]] = answer["asks"]
        return asks[0]

    async def publish(self, value: Any) -> None:
        # While the code repeats what an earlier run did, it publishes nothing older.
        if not self._is_replaying:
            await self._busily({"publish": value})

    async def _busily(self, body: Dict[str, Any]) -> Dict[str, Any]:
        keys = [ask["key"] for ask in body.get("asks", [])]
        self._busy += 1
        self._asked.append(keys)
        try:
            answer = await self._send(body)
        finally:
            self._busy -= 1
            self._asked.remove(keys)
            self._changed.set()
        if answer["status"] != "running":
            await self._end(answer)
        return answer

    async def _try(self, code: Callable[[], Any], number: int) -> Dict[str, Any]:
        self._busy += 1
        try:
            return {"try": number, "value": await self._run(code, code)}
        except (Discard, Cancel) as error:
            return {"try": number, "error": clip(str(error), ERROR_BYTES_MAX), "gives_up": True}
        except Exception as error:
            return {"try": number, "error": described(error)}
        finally:
            self._busy -= 1
            self._changed.set()

    async def _run(self, call: Callable[[], Any], code: Callable[..., Any]) -> Any:
        """What the code returns. A plain function runs in a thread: the loop goes on to extend leases."""
        if inspect.iscoroutinefunction(code):
            return await call()
        loop = asyncio.get_running_loop()
        returned: "asyncio.Future[Any]" = loop.create_future()

        def settle(value: Any, error: Optional[BaseException]) -> None:
            if returned.done():
                return
            if error is None:
                returned.set_result(value)
            else:
                returned.set_exception(error)

        def work() -> None:
            value: Any = None
            failed: Optional[BaseException] = None
            try:
                value = call()
            except StopIteration as error:
                failed = RuntimeError(f"StopIteration: {error}")
            except BaseException as error:
                failed = error
            try:
                loop.call_soon_threadsafe(settle, value, failed)
            except RuntimeError:
                pass  # The loop is closed: the code ended after its worker.

        self._start(work)
        value = await returned
        return await value if inspect.isawaitable(value) else value

    async def _wait(self, ask: Dict[str, Any]) -> Dict[str, Any]:
        answered: "asyncio.Future[Dict[str, Any]]" = asyncio.get_running_loop().create_future()
        self._waiting[ask["key"]] = (ask, answered)
        self._changed.set()
        try:
            return await answered
        finally:
            self._waiting.pop(ask["key"], None)
            self._changed.set()

    async def _park(self) -> None:
        """Parks the workflow once all of the code waits, or hands out what has been answered meanwhile."""
        while True:
            await self._quiet()
            waiting = list(self._waiting.values())
            answer = await self._busily({"asks": [ask for ask, _ in waiting], "then": "park"})
            # In the order in which they were answered, so that the first one wins a race.
            ready = [(one.get("seq", 0), place) for place, one in enumerate(answer["asks"]) if one["state"] != "waiting"]
            for _, place in sorted(ready):
                answered = waiting[place][1]
                if not answered.done():
                    answered.set_result(answer["asks"][place])

    async def _quiet(self) -> None:
        while True:
            self._changed.clear()
            if self._busy > 0 or not self._waiting:
                await self._changed.wait()
                continue
            try:
                await asyncio.wait_for(self._changed.wait(), QUIET_SECS)
            except asyncio.TimeoutError:
                return

    async def _end(self, answer: Dict[str, Any]) -> NoReturn:
        if not self._over.done():
            self._over.set_result(answer)
        await _forever()

    async def _send(self, body: Dict[str, Any]) -> Dict[str, Any]:
        while True:
            named = {"job": self.run.id, "lease": self.run.lease, "generation": self._generation}
            answer = await self._call({**named, **body})
            if not answer:
                return {"status": "lost", "asks": []}
            if answer["status"] != "later":
                return answer
            await asyncio.sleep(0.2)


async def _forever() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nothing ends this wait but a cancel")


async def _awaited(value: Awaitable[Any]) -> Any:
    return await value
