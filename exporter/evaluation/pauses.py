"""When a query may be asked again, and when its history: pauses after refusals, each longer than the one before."""

from __future__ import annotations

from time import monotonic

from exporter.errors import PrometheusError, Reason

__all__ = ["HistoryPauses", "Pauses"]

_LONGEST = 300.0
"""Seconds. No server and no internal error pauses a query for longer."""
_FIRST = 5.0
"""Seconds after the first refusal; twice as long after each further one in a row."""
_ENOUGH, _LONGEST_OF_HISTORY = 8, 60.0
"""Attempts in a row that come no further before a query goes on without history, and seconds between two of them: some
four minutes together. By then a part has been halved as often as it may be."""
_FIRST_AGAIN, _LONGEST_AGAIN = 300.0, 6 * 3600.0
"""Seconds before history that could not be read, or not all of it, is asked for again; twice as long each time."""


class Pauses:
    """For how long no query is sent."""

    def __init__(self) -> None:
        self._until = -float("inf")
        self._rate_limited = 0

    @property
    def left(self) -> float:
        """Seconds; 0 where a query may be sent."""
        return max(0.0, self._until - monotonic())

    def pause(self, seconds: float) -> None:
        """Send no query for so long."""
        self._until = monotonic() + min(seconds, _LONGEST)

    def failed(self, fault: PrometheusError) -> None:
        """Pause where a server wants it, or has too many requests."""
        if fault.retry_after is not None:
            self.pause(fault.retry_after)
        elif fault.reason is Reason.RATE_LIMITED:
            self._rate_limited += 1
            self.pause(_FIRST * 2.0 ** min(self._rate_limited - 1, 16))

    def answered(self) -> None:
        """Note that the server answered."""
        self._rate_limited = 0


class HistoryPauses:
    """For how long history is not asked for, while slots may be: a server may refuse one and answer the other."""

    def __init__(self) -> None:
        self._until = -float("inf")
        self._refused = self._again = 0

    @property
    def left(self) -> float:
        """Seconds; 0 where history may be asked for."""
        return max(0.0, self._until - monotonic())

    def refused(self) -> bool:
        """Note an attempt that came no further; return whether it is time to go on without history."""
        self._refused += 1
        self._until = monotonic() + min(_FIRST * 2.0 ** (self._refused - 1), _LONGEST_OF_HISTORY)
        return self._refused >= _ENOUGH

    def answered(self) -> None:
        """Note that a part of history was answered."""
        self._refused = 0

    def later(self) -> float:
        """Plan to read history again; return in how many seconds."""
        seconds: float = min(_FIRST_AGAIN * 2.0 ** min(self._again, 16), _LONGEST_AGAIN)
        self._again += 1
        self._until = monotonic() + seconds
        return seconds
