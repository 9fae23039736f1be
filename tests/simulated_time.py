"""A wall clock in the test's hand, which the scheduler's own thread follows."""

from __future__ import annotations

from datetime import datetime, tzinfo
from types import SimpleNamespace

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

__all__ = ["SimulatedTime"]


class SimulatedTime:
    """Time that stands still until `advance`; only jobs that are due then run.

    Parameters
    ----------
    monkeypatch : MonkeyPatch
        The library's clock, and the monotonic clock that a schedule compares the wall clock with, become this one.
    now : float, Unix seconds
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: float = 1_790_000_040.1) -> None:
        self.now = now
        simulated = self

        class Datetime(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:
                return datetime.fromtimestamp(simulated.now, tz)

        monkeypatch.setattr("apscheduler.schedulers.base.datetime", Datetime)
        monkeypatch.setattr("exporter.schedule.time", SimpleNamespace(monotonic=self, time=self))

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float, scheduler: BackgroundScheduler) -> None:
        """Let time pass, and have the scheduler look at it."""
        self.now = round(self.now + seconds, 3)
        scheduler.wakeup()
