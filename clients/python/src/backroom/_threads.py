"""Threads for handlers that are plain functions. They are started when they are needed, and end with the process."""

from __future__ import annotations

import queue
import threading
from typing import Callable, Optional


class Threads:
    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._idle = threading.Semaphore(0)
        self._work: "queue.SimpleQueue[Optional[Callable[[], None]]]" = queue.SimpleQueue()

    def start(self, work: Callable[[], None]) -> None:
        """Called by one thread only. `work` raises nothing."""
        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._count < self._most:
            self._count += 1
            # A daemon: a handler that never ends must not hold the process.
            threading.Thread(target=self._run, name=f"backroom-{self._count}", daemon=True).start()

    def end(self) -> None:
        """Ends the threads once they are idle."""
        for _ in range(self._count):
            self._work.put(None)

    def _run(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                return
            work()
            self._idle.release()
