"""What comes at the same hour of most days: a nightly job is no event of its group from the fourth night on.

As severe as it was, it shows in the score, below the threshold; an event that is a third more severe, or comes at
another hour, is anomalous. What lasts longer than a job is an outage, and is never regular, however many days it takes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.joint import Array, FloatArray, Rows
from exporter.engine.recurrence import BEYOND, HOURS, OFTEN, SIZE_MAX
from exporter.engine.seconds import DAY, HOUR

__all__ = ["Regularity"]

_DAYS = 5
"""Today and the four days before."""
_CALM, _LATE = HOUR, 1.5
"""Seconds, and instants, after which an event is another: an outage that comes and goes is one."""
_SHOWN = 0.6
"""Severity that what is regular has at least."""
_JOB = 6
"""Hours from the begin of an event in which it may be what comes every day."""


class Regularity:
    """How severe each entity was at the hours of the last days."""

    def __init__(self) -> None:
        self._own: dict[str, Array] = {
            "hours": np.zeros((0, _DAYS, HOURS), np.float16),  # The largest severity of events, today first.
            "since": np.full(0, np.nan),  # When the newest event began,
            "last": np.full(0, np.nan),  # and its last instant.
        }
        self._day = np.full(1, np.nan)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` entities."""
        for name, old in self._own.items():
            new = np.full((capacity, *old.shape[1:]), 0.0 if name == "hours" else np.nan, old.dtype)
            new[: len(old)] = old
            self._own[name] = new

    def forget(self, rows: Rows) -> None:
        """Begin anew for `rows`, shape (m,)."""
        self._own["hours"][rows], self._own["since"][rows], self._own["last"][rows] = 0.0, np.nan, np.nan

    def step(self, at: float, severity: FloatArray, event: npt.NDArray[np.bool_], seconds: float) -> FloatArray:
        """Return severities in units of what comes every day about this hour, shape (n,).

        Parameters
        ----------
        at : float, Unix seconds
        severity : ndarray, shape (n,)
            NaN: cannot say.
        event : ndarray of bool, shape (n,)
            Entities of which an event goes on.
        seconds : float
            How much time an instant stands for.
        """
        hours, since, last = (array[: len(severity)] for array in self._own.values())
        hour = int(at // HOUR) % HOURS
        self._begin(at)
        since[event & ~(at - last <= max(_CALM, _LATE * seconds))] = at
        last[event] = at
        young = event & (at - since < _JOB * HOUR)
        near = [(hour + shift) % HOURS for shift in (-1, 0, 1)]
        past = hours[:, 1:, near].max(axis=2) if hours.any() else hours[:, 1:, 0]
        often = young & ((past >= 1.0).sum(axis=1) >= OFTEN)
        unit = np.where(often, BEYOND * past.max(axis=1).astype(np.float64), 1.0)
        if young.any():
            now = np.where(young, np.minimum(severity, SIZE_MAX), 0.0).astype(np.float16)
            hours[:, 0, hour] = np.maximum(hours[:, 0, hour], now)
        regular: FloatArray = np.where(often, np.fmax(severity / unit, np.fmin(severity, _SHOWN)), severity)
        return regular

    def _begin(self, at: float) -> None:
        """Begin the day of an instant where it is another than that of the one before."""
        day = at // DAY
        hours = self._own["hours"]
        passed = 0 if np.isnan(self._day[0]) else int(np.clip(day - self._day[0], 0, _DAYS))
        if passed:
            hours[:, passed:] = hours[:, : _DAYS - passed].copy()
            hours[:, :passed] = 0.0
        self._day[0] = day

    def arrays(self) -> dict[str, Array]:
        """Return the state, by name."""
        return {f"event_{name}": array for name, array in self._own.items()} | {"event_day": self._day}

    def restore(self, parts: Mapping[str, Array], size: int) -> None:
        """Restore the stored state of `size` entities; what does not fit begins anew."""
        fresh = Regularity()
        fresh.grow(size)
        if all(name in parts and parts[name].shape == array.shape for name, array in fresh.arrays().items()):
            fresh._own = {name: parts[f"event_{name}"].astype(array.dtype) for name, array in fresh._own.items()}
            fresh._day = parts["event_day"].astype(np.float64)
        self._own, self._day = fresh._own, fresh._day
