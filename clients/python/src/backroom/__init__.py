"""Background jobs of a Backroom server: enqueue them, follow them, and do them."""

from .aio import AsyncClient
from .client import Client
from .errors import BackroomError, Cancel, Discard, Outcome, Problem, Retry, Snooze, Stopped, Unreachable, Unsuccessful
from .run import Run
from .worker import Worker
from .workflow import ChildFailed, NameInUse, StepFailed, TimedOut, Won, Workflow

__all__ = [
    "AsyncClient", "BackroomError", "Cancel", "ChildFailed", "Client", "Discard", "NameInUse", "Outcome", "Problem", "Retry", "Run",
    "Snooze", "StepFailed", "Stopped", "TimedOut", "Unreachable", "Unsuccessful", "Won", "Worker", "Workflow",
]
__version__ = "0.1.0"
