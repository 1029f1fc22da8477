"""Background jobs of a Backroom server: enqueue them, follow them, and do them."""

from .aio import AsyncClient
from .client import Client
from .errors import BackroomError, Cancel, Discard, Outcome, Problem, Retry, Snooze, Stopped, Unreachable, Unsuccessful
from .run import Run
from .worker import Worker

__all__ = [
    "AsyncClient", "BackroomError", "Cancel", "Client", "Discard", "Outcome", "Problem", "Retry", "Run", "Snooze", "Stopped",
    "Unreachable", "Unsuccessful", "Worker",
]
__version__ = "0.1.0"
