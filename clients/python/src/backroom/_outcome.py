"""From what a handler does to what is committed. Pure."""

from __future__ import annotations

import traceback
from typing import Any, Dict, Optional

from . import _calls as calls
from .errors import Cancel, Discard, Retry, Snooze, Stopped
from .run import clip

ERROR_BYTES_MAX = 8 * 1024


def milliseconds(secs: float) -> int:
    return max(0, int(secs * 1000))


def of_error(error: BaseException, reason: Optional[str]) -> Optional[Dict[str, Any]]:
    """What becomes of a run whose handler raised this, after it was asked to stop for `reason`. None: nothing is committed."""
    if reason == "lost":
        return None
    if isinstance(error, Snooze):
        return {"outcome": "snooze", "delay_ms": milliseconds(error.delay)}
    if isinstance(error, Retry):
        failed: Dict[str, Any] = {"outcome": "failed", "error": clip(str(error), ERROR_BYTES_MAX)}
        return failed if error.delay is None else {**failed, "delay_ms": milliseconds(error.delay)}
    if isinstance(error, Discard):
        return {"outcome": "discard", "error": clip(str(error), ERROR_BYTES_MAX)}
    if isinstance(error, Cancel):
        return {"outcome": "cancel", "error": clip(str(error), ERROR_BYTES_MAX)}
    if isinstance(error, Stopped) or type(error).__name__ == "CancelledError":
        return of_stop(reason)
    return {"outcome": "failed", "error": described(error)}


def of_stop(reason: Optional[str]) -> Optional[Dict[str, Any]]:
    """What becomes of a run that ended because it was asked to."""
    if reason == "lost":
        return None
    if reason == "cancelled":
        return {"outcome": "cancel", "error": "the handler stopped, because the job was cancelled"}
    if reason == "timeout":
        return {"outcome": "timed_out", "error": "the attempt took longer than its timeout"}
    if reason == "stopping":
        return {"outcome": "release"}
    return {"outcome": "failed", "error": "the handler stopped without being asked to"}


def described(error: BaseException) -> str:
    """The error in one line, and then as much of its traceback as there are bytes for, the end of it first."""
    first = "".join(traceback.format_exception_only(type(error), error)).strip()
    trace = "".join(traceback.format_tb(error.__traceback__))
    first = clip(first, ERROR_BYTES_MAX)
    left = ERROR_BYTES_MAX - len(first.encode()) - 1
    return f"{first}\n{trace.encode('utf-8', 'replace')[-left:].decode('utf-8', 'ignore')}" if trace and left > 0 else first


def commit(job: str, lease: str, outcome: Dict[str, Any], ran_ms: Optional[int]) -> bytes:
    """The commit as JSON. An output that is no JSON discards the job: it was done, and doing it again would not help."""
    body = {"job": job, "lease": lease, **outcome}
    if ran_ms is not None:
        body["ran_ms"] = ran_ms
    try:
        return calls.encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        why = clip(f"the output is no JSON: {error}", ERROR_BYTES_MAX)
        return calls.encode({"job": job, "lease": lease, "outcome": "discard", "error": why})
