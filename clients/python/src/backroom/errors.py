"""What can go wrong, and what a handler may raise to end its run in its own way."""

from __future__ import annotations

from typing import Any, Dict, Optional


class BackroomError(Exception):
    """The base of every error of this package."""


class Unreachable(BackroomError):
    """The server did not answer within the client's patience. Whether it carried the request out is unknown."""


class Problem(BackroomError):
    """The server refused a request. `code` does not change its meaning; the server's page of problems lists all codes."""

    def __init__(self, status: int, code: str, detail: str, members: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.members: Dict[str, Any] = members or {}


class Unsuccessful(BackroomError):
    """The job ended without an output. `job` is its last state."""

    def __init__(self, job: Dict[str, Any]) -> None:
        super().__init__(f"job {job['id']} is {job['state']}: {job.get('reason')}")
        self.job = job


class Outcome(Exception):
    """The base of what a handler raises to end its run in another way than by success or failure."""


class Discard(Outcome):
    """Trying again cannot help: the job is discarded."""


class Cancel(Outcome):
    """The job is no longer wanted: it is cancelled."""


class Retry(Outcome):
    """The run failed. The job is tried again after `delay` seconds, or after its usual back-off."""

    def __init__(self, reason: str, delay: Optional[float] = None) -> None:
        super().__init__(reason)
        self.delay = delay


class Snooze(Outcome):
    """The job runs again after `delay` seconds. No attempt is charged."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"snoozed for {delay} s")
        self.delay = delay


class Stopped(Outcome):
    """The run was asked to stop. `Run.check` raises it; its `reason` is that of `Run.stop_reason`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
