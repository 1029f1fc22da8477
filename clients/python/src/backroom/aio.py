"""The client for asyncio. It has the calls of the plain one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, AsyncIterator, Iterable, List, Mapping, Optional

from . import _calls as calls
from ._calls import Answer, JsonObject, Lost, Sleep
from ._stream import Http
from .errors import Unreachable

if TYPE_CHECKING:
    from .sealed import Sealing


class AsyncClient:
    """Enqueues jobs and reads them. See `Client`; it belongs to one event loop."""

    def __init__(
        self, server: str, token: Optional[str] = None, *, patience: float = 120.0, sealing: Optional[Sealing] = None
    ) -> None:
        self._http = Http(server, token)
        self._patience = patience
        self._sealing = sealing

    async def enqueue(
        self, kind: str, args: Any = None, *, idempotency_key: Optional[str] = None, **options: Any
    ) -> str:
        job = calls.sealed(calls.new_job(kind, args, options), self._sealing)
        return str(await drive(self._http, calls.enqueue(job, idempotency_key, self._patience)))

    async def enqueue_many(self, jobs: Iterable[Mapping[str, Any]]) -> List[JsonObject]:
        outcomes: List[JsonObject] = await drive(self._http, calls.enqueue_many((calls.sealed(job, self._sealing) for job in jobs), self._patience))
        return outcomes

    async def get(self, job: str) -> JsonObject:
        found: JsonObject = await drive(self._http, calls.get(job, self._patience))
        return found

    async def wait(self, job: str, timeout: Optional[float] = None) -> JsonObject:
        found: JsonObject = await drive(self._http, calls.wait(job, timeout, self._patience))
        return found

    async def result(self, job: str, timeout: Optional[float] = None) -> Any:
        return await drive(self._http, calls.result(job, timeout, self._patience, self._sealing))

    async def cancel(self, job: str, reason: Optional[str] = None) -> JsonObject:
        found: JsonObject = await drive(self._http, calls.cancel(job, reason, self._patience))
        return found

    async def signal(self, job: str, name: str, value: Any = None) -> None:
        await drive(self._http, calls.signal(job, name, value, self._patience))

    async def journal(self, job: str) -> Optional[JsonObject]:
        found: Optional[JsonObject] = await drive(self._http, calls.journal(job, self._patience))
        return found

    async def follow(self, job: str) -> AsyncIterator[JsonObject]:
        events = calls.Events()
        lost_at: Optional[float] = None
        number = 0
        while True:
            lines = self._http.lines(events.request(job))
            try:
                status = int((await lines.__anext__()).split(" ")[1])
                if status != 200:
                    # Its document is read by a request of its own.
                    await self.get(job)
                    raise Lost(f"status {status}")
                async for line in lines:
                    lost_at, number = None, 0
                    event = events.line(line)
                    if event is not None:
                        last = calls.is_last(event)
                        yield event
                        if last:
                            return
                raise Lost("the stream ended")
            except Lost as error:
                events.cut()
                lost_at = time.monotonic() if lost_at is None else lost_at
                if time.monotonic() - lost_at > self._patience:
                    raise Unreachable(f"follow {job}: {error}") from error
                await asyncio.sleep(calls.pause(number))
                number += 1
            finally:
                await lines.aclose()  # type: ignore[attr-defined]

    async def close(self) -> None:
        self._http.close()
        # The transports are closed by the loop.
        await asyncio.sleep(0)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def drive(http: Http, call: calls.Call) -> Any:
    """Carries a call out."""
    try:
        step = next(call)
        while True:
            if isinstance(step, Sleep):
                await asyncio.sleep(step.secs)
                step = next(call)
                continue
            try:
                answer: Answer = await http.exchange(step)
            except Lost as lost:
                step = call.throw(lost)
            else:
                step = call.send(answer)
    except StopIteration as ended:
        return ended.value
