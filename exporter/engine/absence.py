"""Missing series: those that should be there now and are not.

A series is due if it was there at nearly all past instants of this time of the week, and was not away several times
lately: one that comes and goes by habit is never due. Time away counts only while a series is due and the answer is
complete. After a day it is taken as gone for good.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Column, Columns
from exporter.engine.constants import ZERO, single
from exporter.engine.detectors.base import CERTAIN
from exporter.engine.ordered import any_of
from exporter.engine.seconds import DAY, HOUR, WEEK

__all__ = ["Absence", "Attendance", "Habit", "lasting"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

NEARLY = 0.9
"""Share of the past instants of this time of the week at which a series was there, if it should be now: an
hour that lost a few samples still counts."""
LEAST_DAYS, LEAST_WEEKS = 3, 2
"""Age in days before a series is due at all, and in weeks before the hour of the week decides:
once or twice is no habit."""
LEAST_SECONDS, LEAST_INSTANTS = 300.0, 3
"""How long something lasts before it is anomalous: a server looks five minutes back, a restart takes as long."""
TOO_OFTEN = 3.0
"""What has happened so many times lately is a habit, and no anomaly the next time."""
HALF_LIFE = 14 * DAY
"""Until a time counts half: what happens every week becomes a habit, what happens once a month does not."""
ACCEPTED = single(-np.inf)
"""In place of seconds: normal now, until it ends."""


@dataclass(frozen=True, slots=True)
class Attendance:
    """How long some series were there at this time of the week; arrays of shape (n,).

    Attributes
    ----------
    first : ndarray, Unix seconds
        The first sample; NaN before it.
    week, day : pair of ndarray and float, seconds
        What was learned at this hour of the week, and of the day, and where counting ends.
    """

    first: FloatArray
    week: tuple[npt.NDArray[np.float32], float]
    day: tuple[npt.NDArray[np.float32], float]

    def due(self, at: float | FloatArray) -> BoolArray:
        """Return which series were there at nearly all past instants of this time of the week.

        Of an instant, shape (n,), or of some of shape (t, 1): (t, n).
        """
        age = at - self.first
        weeks, days = np.floor(age / WEEK), np.floor(age / DAY)
        by_week, by_day = (
            seen >= NEARLY * np.minimum(visits * HOUR, most)
            for visits, (seen, most) in ((weeks, self.week), (days, self.day))
        )
        due: BoolArray = (days >= LEAST_DAYS) & np.where(weeks >= LEAST_WEEKS, by_week, by_day)
        return due


class Habit:
    """How long something unusual has lasted for each row, and how often it did so lately.

    Parameters
    ----------
    more : mapping, optional
        Further columns.
    """

    def __init__(self, name: str, **more: Column) -> None:
        self._name = name
        self.columns = Columns({"seconds": Column((), np.float32), "times": Column((), np.float32), **more})

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.columns.grow(capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        self.columns.forget(rows)

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return all of the state, by name."""
        return {f"{self._name}/{name}": array for name, array in self.columns.arrays().items()}

    def accept(self, rows: npt.NDArray[np.intp]) -> None:
        """Take what goes on as normal until it ends."""
        seconds = self.columns.arrays()["seconds"]
        seconds[rows] = np.where(seconds[rows] > 0.0, ACCEPTED, seconds[rows])

    def fade(self, rows: slice, seconds: float) -> None:
        """Let the count of times fade for so many seconds."""
        times = self.columns.views(rows)["times"]
        if any_of(times):
            times *= np.float32(0.5 ** (seconds / HALF_LIFE))

    def going_on(self, rows: slice) -> bool:
        """Return whether anything goes on."""
        return any_of(self.columns.views(rows)["seconds"])

    def accepted(self, rows: slice) -> BoolArray:
        """Return the rows for which what goes on is taken as normal."""
        accepted: BoolArray = self.columns.views(rows)["seconds"] < 0.0
        return accepted

    def regular(self, rows: slice) -> BoolArray:
        """Return the rows that do not have the habit."""
        regular: BoolArray = self.columns.views(rows)["times"] < TOO_OFTEN
        return regular

    def note(self, rows: slice, on: BoolArray, ended: BoolArray, counts: BoolArray, step: float, after: float) -> None:
        """Note one instant; arrays of shape (n,).

        Parameters
        ----------
        on, ended : ndarray of bool
            Where it goes on, and where it is over.
        counts : ndarray of bool
            Where its end makes it one more time.
        step, after : float, seconds
            What an instant stands for, and how long it takes until it is accepted.
        """
        state = self.columns.views(rows)
        seconds = state["seconds"]
        state["times"][...] += ended & counts & (seconds >= lasting(step))
        seconds[...] = np.where(ended, ZERO, seconds + np.where(on, np.float32(step), ZERO))
        seconds[seconds >= after] = ACCEPTED

    def severity(self, rows: slice, on: BoolArray, step: float) -> FloatArray:
        """Return how bad it is where it is `on` and no habit: 1 when it has lasted long enough, 0 before."""
        on = on & self.regular(rows) & ~self.accepted(rows)
        lasted = self.columns.views(rows)["seconds"].astype(np.float64) / lasting(step)
        return np.where(on & (lasted >= 1.0), np.minimum(lasted, CERTAIN), 0.0)


def lasting(step: float) -> float:
    """Return for how many seconds something goes on before it is anomalous, where samples are `step` seconds apart."""
    return max(LEAST_SECONDS, LEAST_INSTANTS * step)


class Absence(Habit):
    """Which series are away though they are due; 8 bytes a series."""

    def __init__(self) -> None:
        super().__init__("absence")

    def update(
        self,
        rows: slice,
        at: float,
        here: BoolArray,
        learn: BoolArray,
        attendance: Attendance,
        complete: bool | BoolArray,
        step: float,
        after: float,
    ) -> tuple[BoolArray, FloatArray]:
        """Note which series have samples at one instant; where the answer is not complete, none is missing.

        Returns
        -------
        missing : ndarray of bool, shape (n,)
            Series that are due and not there.
        severity : ndarray, shape (n,)
            Of that; 0 before it has lasted.
        """
        away = ~here & attendance.due(at) & complete
        self.note(rows, away, here, learn, step, after)
        return away & self.regular(rows) & ~self.accepted(rows), self.severity(rows, away, step)
