"""The plain client: it blocks the thread that calls it, and any number of threads may share it."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from . import _calls as calls
from ._calls import Answer, JsonObject, Lost, Request, Sleep
from .errors import Unreachable

if TYPE_CHECKING:
    from .sealed import Sealing


class Client:
    """Enqueues jobs and reads them.

    Each call that may be repeated is repeated until the server answers, for up to `patience` seconds. An enqueue bears a random
    `Idempotency-Key`, so a repeat stores nothing twice. With a `Sealing` the args of its kinds are sealed, and outputs opened.
    """

    def __init__(
        self, server: str, token: Optional[str] = None, *, patience: float = 120.0, sealing: Optional[Sealing] = None
    ) -> None:
        self._url = urlsplit(server)
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise ValueError(f"{server!r} is no URL of a server")
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._patience = patience
        self._sealing = sealing
        self._idle: List[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def enqueue(self, kind: str, args: Any = None, *, idempotency_key: Optional[str] = None, **options: Any) -> str:
        """Stores a job and answers its id. Options have the names of the API: `queue`, `delay_ms`, `priority`, `unique`, …"""
        job = calls.sealed(calls.new_job(kind, args, options), self._sealing)
        return str(self._drive(calls.enqueue(job, idempotency_key, self._patience)))

    def enqueue_many(self, jobs: Iterable[Mapping[str, Any]]) -> List[JsonObject]:
        """Stores jobs, each a mapping as `{"kind": "add", "args": [1, 2]}`, and answers `id` and `outcome` of each, in order.

        Up to 1,000 jobs are stored together, all or none. After an error, earlier thousands are stored.
        """
        outcomes: List[JsonObject] = self._drive(calls.enqueue_many((calls.sealed(job, self._sealing) for job in jobs), self._patience))
        return outcomes

    def get(self, job: str) -> JsonObject:
        """The job as it is now."""
        found: JsonObject = self._drive(calls.get(job, self._patience))
        return found

    def wait(self, job: str, timeout: Optional[float] = None) -> JsonObject:
        """The job once it has ended. Raises `TimeoutError` after `timeout` seconds."""
        found: JsonObject = self._drive(calls.wait(job, timeout, self._patience))
        return found

    def result(self, job: str, timeout: Optional[float] = None) -> Any:
        """The output of the job once it has ended. Raises `Unsuccessful` if it has none."""
        return self._drive(calls.result(job, timeout, self._patience, self._sealing))

    def cancel(self, job: str, reason: Optional[str] = None) -> JsonObject:
        """Cancels a job, or asks a running one to stop."""
        found: JsonObject = self._drive(calls.cancel(job, reason, self._patience))
        return found

    def signal(self, job: str, name: str, value: Any = None) -> None:
        """Sends a signal to a workflow. It may come before the workflow waits for it."""
        self._drive(calls.signal(job, name, value, self._patience))

    def journal(self, job: str) -> Optional[JsonObject]:
        """The journal of a workflow, with what it last `published`; none before it begins. No worker is asked."""
        found: Optional[JsonObject] = self._drive(calls.journal(job, self._patience))
        return found

    def follow(self, job: str) -> Iterator[JsonObject]:
        """What happens to a job, as `{"event": "state" | "progress" | "line" | "attempt", "data": …}`, until it has ended.

        A connection that breaks is opened again; each line and each attempt comes once.
        """
        events = calls.Events()
        lost_at: Optional[float] = None
        number = 0
        while True:
            connection = self._connect(calls.ANSWER_SECS)
            try:
                response = self._send(connection, events.request(job))
                if response.status != 200:
                    answer = _answer(response)
                    if not calls.is_temporary(answer):
                        raise calls.problem(answer)
                    raise Lost(str(calls.problem(answer)))
                for line in response:
                    lost_at, number = None, 0
                    event = events.line(line.decode().rstrip("\r\n"))
                    if event is not None:
                        last = calls.is_last(event)
                        yield event
                        if last:
                            return
                raise Lost("the stream ended")
            except (Lost, OSError, http.client.HTTPException) as error:
                events.cut()
                lost_at = time.monotonic() if lost_at is None else lost_at
                if time.monotonic() - lost_at > self._patience:
                    raise Unreachable(f"follow {job}: {error}") from error
                time.sleep(calls.pause(number))
                number += 1
            finally:
                connection.close()

    def close(self) -> None:
        """Closes idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _drive(self, call: calls.Call) -> Any:
        try:
            step = next(call)
            while True:
                if isinstance(step, Sleep):
                    time.sleep(step.secs)
                    step = next(call)
                    continue
                try:
                    answer = self._exchange(step)
                except Lost as lost:
                    step = call.throw(lost)
                else:
                    step = call.send(answer)
        except StopIteration as ended:
            return ended.value

    def _exchange(self, request: Request) -> Answer:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect(request.secs)
        try:
            connection.timeout = request.secs
            if connection.sock is not None:
                connection.sock.settimeout(request.secs)
            answer = _answer(self._send(connection, request))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            # The other idle connections are likely as dead as this one.
            self.close()
            raise Lost(str(error) or type(error).__name__) from error
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        return answer

    def _connect(self, secs: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=secs, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=secs)

    def _send(self, connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
        path = self._url.path.rstrip("/") + request.path
        connection.request(request.method, path, request.body, {**self._headers, **request.headers})
        return connection.getresponse()


def _answer(response: http.client.HTTPResponse) -> Answer:
    headers: Dict[str, str] = {name.lower(): value for name, value in _pairs(response)}
    return Answer(response.status, headers, response.read())


def _pairs(response: http.client.HTTPResponse) -> List[Tuple[str, str]]:
    return list(response.getheaders())
