"""What a replay has in the place of time and of threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

__all__ = ["InPlace", "SimulatedClock"]


class SimulatedClock:
    """The time of the replay."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the slot that is evaluated, Unix seconds."""
        return self.now


class InPlace(Executor):
    """Runs in place what the daemon runs in the background, so that a replay is deterministic."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function, and return its result or its error."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as fault:
            done.set_exception(fault)
        return done
