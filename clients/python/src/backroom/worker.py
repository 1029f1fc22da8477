"""The worker: it claims jobs, runs their handlers, and commits what became of them.

Handlers may be plain functions, which run in threads, or coroutine functions, which run in the worker's event loop. All
requests are made in that loop, by `_engine`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Awaitable, Callable, Dict, Mapping, Optional, Sequence, Tuple, TypeVar

from ._engine import Engine, Options, WorkflowCode as _Flow
from .run import Run
from .workflow import Codes, Workflow

if TYPE_CHECKING:
    from .sealed import Sealing

Handler = TypeVar("Handler", bound=Callable[[Run], Any])
Flow = TypeVar("Flow", bound=Callable[[Workflow], Awaitable[Any]])


class Worker:
    """Does jobs. Register handlers with `handles`, then call `run`, or await `serve` in a loop of your own.

    `queues` maps each queue to its slots: how many of its jobs run at once. `lease` is how many seconds the server waits for a
    worker that is silent before its jobs run elsewhere. A stop waits up to `grace` seconds for handlers. With a `Sealing` handlers get
    the args of its kinds open, and what they answer is sealed; jobs whose key is missing stay in their queue.
    """

    def __init__(
        self,
        server: Optional[str] = None,
        token: Optional[str] = None,
        *,
        queues: Optional[Mapping[str, int]] = None,
        name: Optional[str] = None,
        lease: float = 30.0,
        grace: float = 25.0,
        sealing: Optional[Sealing] = None,
    ) -> None:
        server = server or os.environ.get("BACKROOM_SERVER") or "http://127.0.0.1:8080"
        token = token or os.environ.get("BACKROOM_TOKEN") or None
        queues = dict(queues or {"default": 10})
        if any(slots < 1 for slots in queues.values()):
            raise ValueError("a queue needs at least one slot")
        if not 0.5 <= lease <= 3600:
            raise ValueError("a lease is 0.5 s to an hour")
        self._options = Options(server, token, queues, name, lease, grace, sealing)
        self._handlers: Dict[str, Callable[[Run], Any]] = {}
        self._engine: Optional[Engine] = None
        self._is_stopped = False
        self._lock = threading.Lock()

    def handles(self, kind: str) -> Callable[[Handler], Handler]:
        """Names the handler of a kind: a function of a `Run` whose result is the output of the job."""

        def register(handler: Handler) -> Handler:
            if kind in self._handlers:
                raise ValueError(f"kind {kind!r} has a handler already")
            self._handlers[kind] = handler
            return handler

        return register

    def workflow(self, kind: str) -> Callable[[Flow], Flow]:
        """Names the code of a workflow: a coroutine function of a `Workflow` whose result is the output of the job."""

        def register(code: Flow) -> Flow:
            self._register(kind, [(None, code)])
            return code

        return register

    def workflow_versions(self, kind: str, versions: Sequence[Tuple[str, Callable[[Workflow], Awaitable[Any]]]]) -> None:
        """Names the code of a workflow by its versions, the newest first. A run stays on the version that it began with."""
        if not versions or len({version for version, _ in versions}) < len(versions):
            raise ValueError("a workflow needs versions, each with a name of its own")
        self._register(kind, list(versions))

    def _register(self, kind: str, codes: Codes) -> None:
        if not all(inspect.iscoroutinefunction(code) for _, code in codes):
            raise TypeError("the code of a workflow is a coroutine function")
        self.handles(kind)(_Flow(codes))

    def run(self) -> None:
        """Works until SIGTERM, SIGINT or `stop`, then stops in order. A second signal ends the process at once."""
        asyncio.run(self.serve(signals=True))

    async def serve(self, *, signals: bool = False) -> None:
        """Works until `stop` is called; with `signals` also until SIGTERM or SIGINT."""
        if not self._handlers:
            raise ValueError("the worker has no handler")
        loop = asyncio.get_running_loop()
        with self._lock:
            engine = self._engine = Engine(self._options, dict(self._handlers), loop)
            if self._is_stopped:
                engine.stop()
        numbers = (signal.SIGTERM, signal.SIGINT) if signals else ()
        is_main = threading.current_thread() is threading.main_thread()

        def on_signal() -> None:
            engine.stop()
            for number in numbers:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_DFL)

        installed = []
        if is_main:
            for number in numbers:
                loop.add_signal_handler(number, on_signal)
                installed.append(number)
        try:
            await engine.run()
        finally:
            for number in installed:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Asks the worker to stop. Any thread may call it."""
        with self._lock:
            self._is_stopped = True
            if self._engine is not None:
                self._engine.stop_from_any_thread()
