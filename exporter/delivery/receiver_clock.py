"""The clock of a receiver, by the ``Date`` of its answers. The times that we send are read on it.

Alertmanager keeps the latest end that it was ever sent for an alert that fires. So a clock of ours that is wrong for
seconds must not reach it: an end 90 days ahead would hold long after this program is gone.
"""

from __future__ import annotations

import threading

from exporter.http_client import http_date

__all__ = ["ReceiverClock", "ReceiverClocks"]

_EARLIEST = 1_735_689_600.0
"""The year 2025. No clock that counts says less, and ends before it would resolve everything."""
_JUMP = 30.0
"""Seconds by which our clock may move against the monotonic one before the receiver is asked for its time."""


class ReceiverClock:
    """What time it is at one receiver. Safe for many threads."""

    def __init__(self) -> None:
        self._noted: tuple[float, float, float] | None = None

    def note(self, date: str, *, now: float, mono: float) -> float | None:
        """Take the ``Date`` of an answer; return the receiver's clock minus ours, or None where it is no date.

        Parameters
        ----------
        now, mono : float
            Unix and monotonic seconds of the answer.
        """
        theirs = http_date(date)
        if theirs is None:
            return None
        # The header has whole seconds, rounded down.
        theirs += 0.5
        if theirs >= _EARLIEST:
            self._noted = (theirs, now, mono)
        skew = theirs - now
        return 0.0 if abs(skew) <= 1.0 else skew

    def at(self, mono: float) -> float | None:
        """Return its time, Unix seconds; None before its first answer."""
        noted = self._noted
        return None if noted is None else noted[0] + (mono - noted[2])

    def moved(self, now: float, mono: float) -> bool:
        """Return whether our clock was set, or the machine slept, since its last answer."""
        noted = self._noted
        return noted is not None and abs((now - noted[1]) - (mono - noted[2])) > _JUMP


class ReceiverClocks:
    """The clocks of all receivers, by URL."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_url: dict[str, ReceiverClock] = {}

    def of(self, url: str) -> ReceiverClock:
        """Return the clock of a receiver; the same object every time."""
        with self._lock:
            return self._by_url.setdefault(url, ReceiverClock())
