"""The calls of the API as generators, without any input or output of their own.

A generator yields a `Request` and receives an `Answer`, or the exception `Lost`; or it yields a `Sleep`. The plain and the
asynchronous client each drive the same generators.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, Iterable, List, Mapping, Optional, Sequence, Union

from .errors import Problem, Unreachable, Unsuccessful

if TYPE_CHECKING:
    from .sealed import Sealing

JsonObject = Dict[str, Any]

#: One answer never waits longer for a job than so many seconds. A longer wait is several requests.
WAIT_SECS = 20.0
#: Requests that the server answers at once have so many seconds.
ANSWER_SECS = 30.0
#: Jobs in one request of `enqueue_many`, and most bytes of one.
BATCH_JOBS = 1000
BATCH_BYTES = 4 << 20


class Lost(Exception):
    """No answer arrived, or no whole one."""


@dataclass
class Request:
    method: str
    path: str
    body: Optional[bytes] = None
    headers: Dict[str, str] = field(default_factory=dict)
    #: How long the answer may take.
    secs: float = ANSWER_SECS


@dataclass
class Sleep:
    secs: float


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body) if self.body else None


Step = Union[Request, Sleep]
Call = Generator[Step, Optional[Answer], Any]


def encode(value: Any) -> bytes:
    """JSON as the server reads it: no NaN, no infinity."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def post(path: str, value: Any, secs: float = ANSWER_SECS, **headers: str) -> Request:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Request("POST", path, encode(value), {"content-type": "application/json", **named}, secs)


def problem(answer: Answer) -> Problem:
    """The error of an answer that refuses."""
    try:
        document = answer.json()
        return Problem(answer.status, str(document["code"]), str(document.get("detail", "")), document)
    except (ValueError, KeyError, TypeError, AttributeError):
        text = answer.body[:200].decode("utf-8", "replace")
        return Problem(answer.status, "unknown", f"status {answer.status}: {text}")


def is_temporary(answer: Answer) -> bool:
    """Whether the same request may succeed later: a proxy or server that is away or stopping, or a repeat that came too early."""
    if answer.status in (408, 429, 502, 503, 504):
        return True
    return answer.status == 409 and problem(answer).code == "in-flight"


def pause(number: int) -> float:
    """The wait before repeat `number`: a random part of a span that doubles up to 2 s."""
    return float(random.uniform(0.5, 1.0) * min(2.0, 0.05 * 2 ** min(number, 6)))


def advised(answer: Answer, number: int) -> float:
    """The wait that the answer asks for, within reason."""
    text = answer.headers.get("retry-after", "")
    return max(pause(number), min(float(text), 30.0)) if text.isdigit() else pause(number)


def repeated(request: Request, patience: float, now: Callable[[], float] = time.monotonic) -> Call:
    """Sends a request until it is answered. It must be safe to repeat."""
    until = now() + patience
    number = 0
    while True:
        why = "no answer"
        try:
            answer = yield request
            assert answer is not None
            if not is_temporary(answer):
                if answer.status >= 400:
                    raise problem(answer)
                return answer
            if answer.status == 429:
                # The queue is full: the caller decides.
                raise problem(answer)
            wait = advised(answer, number)
            why = str(problem(answer))
        except Lost as lost:
            wait, why = pause(number), str(lost)
        if now() + wait > until:
            raise Unreachable(f"{request.method} {request.path}: {why}")
        yield Sleep(wait)
        number += 1


def new_job(kind: str, args: Any, options: Mapping[str, Any]) -> JsonObject:
    """A job as the API takes it. Options have the API's names; None means that it is left out."""
    return {"kind": kind, "args": args, **{name: value for name, value in options.items() if value is not None}}


def sealed(job: Mapping[str, Any], sealing: Optional[Sealing]) -> Mapping[str, Any]:
    """The job as it is sent."""
    return job if sealing is None else sealing.job(job)


def enqueue(job: Mapping[str, Any], key: Optional[str], patience: float) -> Call:
    request = post("/v1/jobs", job, idempotency_key=key or str(uuid.uuid4()))
    answer = yield from repeated(request, patience)
    return answer.json()["id"]


def batches(jobs: Iterable[Mapping[str, Any]]) -> Generator[bytes, None, None]:
    """The jobs as arrays that one request takes."""
    texts: List[bytes] = []
    size = 0
    for job in jobs:
        text = encode(job)
        if texts and (len(texts) >= BATCH_JOBS or size + len(text) > BATCH_BYTES):
            yield b"[" + b",".join(texts) + b"]"
            texts, size = [], 0
        texts.append(text)
        size += len(text) + 1
    if texts:
        yield b"[" + b",".join(texts) + b"]"


def enqueue_many(jobs: Iterable[Mapping[str, Any]], patience: float) -> Call:
    outcomes: List[JsonObject] = []
    for body in batches(jobs):
        headers = {"content-type": "application/json", "idempotency-key": str(uuid.uuid4())}
        answer = yield from repeated(Request("POST", "/v1/jobs/batch", body, headers), patience)
        outcomes.extend(answer.json()["jobs"])
    return outcomes


def get(job: str, patience: float) -> Call:
    answer = yield from repeated(Request("GET", f"/v1/jobs/{job}"), patience)
    return answer.json()


def journal(job: str, patience: float) -> Call:
    answer = yield from repeated(Request("GET", f"/v1/jobs/{job}/journal"), patience)
    return answer.json()["journal"]


def wait(job: str, timeout: Optional[float], patience: float, now: Callable[[], float] = time.monotonic) -> Call:
    until = None if timeout is None else now() + timeout
    while True:
        left = WAIT_SECS if until is None else max(0.0, min(WAIT_SECS, until - now()))
        path = f"/v1/jobs/{job}?wait={int(left * 1000)}ms"
        answer = yield from repeated(Request("GET", path, secs=left + ANSWER_SECS), patience)
        found = answer.json()
        if found["finished_at"] is not None:
            return found
        if until is not None and now() >= until:
            raise TimeoutError(f"job {job} is {found['state']} after {timeout} s")


def result(job: str, timeout: Optional[float], patience: float, sealing: Optional[Sealing] = None) -> Call:
    found = yield from wait(job, timeout, patience)
    if found["state"] != "completed":
        raise Unsuccessful(found)
    return found["output"] if sealing is None else sealing.result(found)


def cancel(job: str, reason: Optional[str], patience: float) -> Call:
    body = {} if reason is None else {"reason": reason}
    answer = yield from repeated(post(f"/v1/jobs/{job}/cancel", body), patience)
    return answer.json()


def signal(job: str, name: str, value: Any, patience: float) -> Call:
    # A repeated request is the same signal.
    body = {"name": name, "value": value, "id": str(uuid.uuid4())}
    yield from repeated(post(f"/v1/jobs/{job}/signals", body), patience)


class Events:
    """Reads server-sent events line by line."""

    def __init__(self) -> None:
        self.last_id: Optional[str] = None
        self._fields: Dict[str, str] = {}

    def line(self, text: str) -> Optional[JsonObject]:
        """The event that this line ends, if it ends one."""
        if text:
            name, _, value = text.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if name in ("id", "event", "data"):
                before = self._fields.get(name)
                self._fields[name] = value if before is None or name != "data" else f"{before}\n{value}"
            return None
        fields, self._fields = self._fields, {}
        if "id" in fields:
            self.last_id = fields["id"]
        if "data" not in fields:
            return None
        return {"event": fields.get("event", "message"), "data": json.loads(fields["data"])}

    def cut(self) -> None:
        """The connection ended: half an event is dropped, and comes again."""
        self._fields = {}

    def request(self, job: str) -> Request:
        headers = {"accept": "text/event-stream"}
        if self.last_id is not None:
            headers["last-event-id"] = self.last_id
        return Request("GET", f"/v1/jobs/{job}/events", None, headers)


def is_last(event: Mapping[str, Any]) -> bool:
    """Whether nothing follows this event."""
    if event["event"] == "problem":
        document = event["data"]
        raise Problem(document.get("status", 500), document.get("code", "unknown"), document.get("detail", ""), document)
    return event["event"] == "state" and event["data"].get("finished_at") is not None


__all__: Sequence[str] = ()
