"""What a handler gets: one run of one job."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .errors import Stopped

LINES_MAX = 1000
LINE_BYTES_MAX = 4096
MESSAGE_BYTES_MAX = 256


def clip(text: str, most: int) -> str:
    """The text, cut to so many bytes of UTF-8. What UTF-8 cannot have is replaced."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore").replace("\0", " ")


class Run:
    """One run of a job. Its methods may be called from any thread."""

    def __init__(self, job: Mapping[str, Any], wake: Callable[[], None]) -> None:
        #: The id of the job.
        self.id: str = job["id"]
        #: The lease of this run. With the id it names the run.
        self.lease: str = job["lease"]
        self.kind: str = job["kind"]
        self.queue: str = job["queue"]
        self.args: Any = job["args"]
        #: Which attempt this is; the first one is 1.
        self.attempt: int = job["attempt"]
        self.max_attempts: int = job["max_attempts"]
        self.tags: List[str] = job["tags"]
        #: Everything else that the caller chose, with the API's names.
        self.extras: Dict[str, Any] = job.get("extras") or {}
        self._wake = wake
        self._lock = threading.Lock()
        self._lines: List[str] = []
        self._line_count = 0
        self._progress: Optional[Tuple[int, str]] = None
        self._reason: Optional[str] = None
        self._stop = threading.Event()
        self._on_stop: List[Callable[[], object]] = []

    def progress(self, percent: int, message: str = "") -> None:
        """Says how far the run is. It never waits; of several reports in a short time the last one is sent."""
        with self._lock:
            self._progress = (max(0, min(100, int(percent))), clip(message, MESSAGE_BYTES_MAX))
        self._wake()

    def log(self, line: str) -> None:
        """Adds a line to the log of the job. It never waits. A run has at most 1,000 lines of 4 KiB; later lines are dropped."""
        lines = clip(line, 8 * LINE_BYTES_MAX).splitlines() or [""]
        with self._lock:
            for one in lines:
                if self._line_count >= LINES_MAX:
                    return
                self._line_count += 1
                self._lines.append(clip(one, LINE_BYTES_MAX))
        self._wake()

    @property
    def stop_reason(self) -> Optional[str]:
        """Why the run is to stop: `cancelled`, `timeout`, `lost` (the job runs elsewhere) or `stopping` (the worker stops)."""
        return self._reason

    def check(self) -> None:
        """Raises `Stopped` if the run is to stop."""
        if self._reason is not None:
            raise Stopped(self._reason)

    def sleep(self, secs: float) -> None:
        """Waits, and raises `Stopped` as soon as the run is to stop. For handlers that are plain functions."""
        self._stop.wait(secs)
        self.check()

    async def stopped(self) -> str:
        """Waits until the run is to stop, and answers why. For handlers that shield themselves from being cancelled."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()
        with self._lock:
            self._on_stop.append(lambda: loop.call_soon_threadsafe(event.set))
            is_stopped = self._reason is not None
        if not is_stopped:
            await event.wait()
        assert self._reason is not None
        return self._reason

    def _ask_to_stop(self, reason: str) -> None:
        with self._lock:
            if self._reason is not None and reason != "lost":
                return
            self._reason = reason
            waiting, self._on_stop = self._on_stop, []
        self._stop.set()
        for wake in waiting:
            wake()

    def _unsent(self, most: int) -> Tuple[Optional[Tuple[int, str]], List[str]]:
        """What was not sent yet. Lines stay until `_sent` says that they have arrived."""
        with self._lock:
            progress, self._progress = self._progress, None
            return progress, self._lines[:most]

    def _sent(self, lines: int) -> None:
        with self._lock:
            del self._lines[:lines]

    def _has_unsent(self) -> bool:
        return self._progress is not None or bool(self._lines)
