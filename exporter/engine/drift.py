"""Concept drift: what is usual has changed, or is changing so slowly that no sample ever stands out.

Two measures of a query, on whole arrays. How often each series was anomalous in the last day: often means that its
baseline does not fit. And the population stability index [1]_ of the last seven days against a pinned week: each series
is measured in its own pinned standard deviations from its own pinned mean, and all of them make one histogram. The
baseline follows a slow drift, the pinned profile does not. Level shifts that were accepted are not counted.

References
----------
.. [1] B. Yurdakul, J. Naranjo (2020), Statistical properties of the population stability index. Journal of Risk
   Model Validation 14(4).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors.columns import Column, Columns

__all__ = ["Drift", "DriftState", "stability_index"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Array = npt.NDArray[np.generic]

DAY = 86400.0
DAYS = 7
"""Days that are compared: a whole week, or a weekend would be a drift."""
PINNED = 84 * DAY
"""The profile is pinned for so long; then the present is."""
EDGES = np.array([-2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
"""Of the histogram, in pinned standard deviations."""
BINS = len(EDGES) + 1
KNOWN = 7 * DAY
"""Seconds that a series is learned for before it is pinned."""
REST = 14 * DAY
"""Seconds of judged samples before the buckets of a series are emptied, and before that happens again: a weekend lasts
longer than a day, and is an anomaly until its hours are known."""
ENOUGH = 100
"""Samples in a histogram before it is compared."""


@dataclass(frozen=True, slots=True)
class DriftState:
    """What is known of the drift of a query.

    Attributes
    ----------
    index : float
        Population stability index; NaN until there is a pinned week and another one.
    often : ndarray, shape (size,)
        Share of the last day's samples of each series that were anomalous.
    moved : ndarray, shape (size,)
        How far the mean of each series is from its pinned mean, in pinned standard deviations; NaN where not pinned.
    """

    index: float
    often: FloatArray
    moved: FloatArray


class Drift:
    """The pinned profile and the last week of one query; 16 bytes a series.

    Parameters
    ----------
    ratio : float, optional
        Share of the last day's samples from which on anomalous ones are summed up; None: they are not.
    """

    def __init__(self, ratio: float | None = None) -> None:
        self.ratio = ratio
        self._columns = Columns(
            {
                "often": Column((), np.float32),
                # Seconds of anomalies outside the band, since `often` is high; below 0 while the buckets are young.
                "over": Column((), np.float32, -REST),
                "mean": Column((), np.float32, np.nan),  # Pinned; of the bucket of all times.
                "std": Column((), np.float32, np.nan),
            }
        )
        self._pinned = np.zeros(BINS)
        self._days = np.zeros((DAYS + 1, BINS))
        self._day = self._since = -np.inf

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._columns.grow(capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        self._columns.forget(rows)

    def arrays(self) -> dict[str, Array]:
        """Return the arrays over rows, by name."""
        return {f"drift/{name}": array for name, array in self._columns.all().items()}

    def state(self) -> FloatArray:
        """Return what is not of a row."""
        return np.concatenate([[self._day, self._since], self._pinned, self._days.ravel()])

    def restore(self, state: Array) -> bool:
        """Take up what `state` gave; False where it does not fit."""
        if state.shape != (2 + BINS * (2 + DAYS),):
            return False
        numbers = state.astype(np.float64)
        self._day, self._since = numbers[:2].tolist()
        self._pinned, self._days = numbers[2 : 2 + BINS], numbers[2 + BINS :].reshape(DAYS + 1, BINS)
        return True

    def see(self, rows: slice, anomalous: BoolArray, said: BoolArray, outside: BoolArray, seconds: float) -> None:
        """Note which samples are anomalous, and which of them are outside the band; shapes (t, n).

        What is anomalous inside it, such as the days after a leak has ended, says nothing against the buckets.
        """
        state, share = self._columns.of(rows), np.float32(min(1.0, seconds / DAY))
        often, over = state["often"], state["over"]
        for one, known, out in zip(anomalous, said, outside, strict=True):
            often += np.where(known, share * (one - often), np.float32(0.0))
            if self.ratio is not None:
                resting = over < 0.0
                over += np.where(known & (resting | (one & out)), np.float32(seconds), np.float32(0.0))
                over *= resting | (often > self.ratio)

    def lasted(self, rows: slice, after: float) -> npt.NDArray[np.intp]:
        """Return which of `rows` were often anomalous until `after` seconds of anomalous samples had come together."""
        over = self._columns.of(rows)["over"]
        lasted: npt.NDArray[np.intp] = rows.start + np.flatnonzero(over >= after)
        return lasted

    def empty(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`, whose buckets were emptied."""
        self.forget(rows)
        self._columns.all()["over"][rows] -= np.float32(DAY)

    def fresh(self, rows: slice) -> BoolArray:
        """Return which of `rows` were emptied less than a day ago: all that they show is learned as it is."""
        fresh: BoolArray = self._columns.of(rows)["over"] < -REST
        return fresh

    def settle(self, rows: npt.NDArray[np.intp]) -> None:
        """Sum up anomalous samples of `rows` anew: their buckets were moved."""
        over = self._columns.all()["over"]
        over[rows] = np.minimum(over[rows], np.float32(0.0))

    def turn(self, at: float) -> bool:
        """Begin another day at `at` if it is one, and return whether; pin anew when the profile is old enough."""
        day = at // DAY
        if day == self._day:
            return False
        for ended in range(
            int(max(self._day, day - DAYS - 1)) + 1 if np.isfinite(self._day) else int(day), int(day) + 1
        ):
            self._days[ended % (DAYS + 1)] = 0.0
        if day * DAY - self._since > PINNED:
            self._since, self._pinned[:] = np.inf, 0.0
            for name in ("mean", "std"):
                self._columns.all()[name][:] = np.nan
        self._day = day
        return True

    def learn(self, rows: slice, sample: FloatArray, every: npt.NDArray[np.float32]) -> None:
        """Learn one sample of every series, shape (n,); `every` is the bucket of all times, shape (5, n)."""
        state = self._columns.of(rows)
        mean, std, _, _, weight = every
        new = np.isnan(state["mean"]) & (weight >= KNOWN) & (std > 0.0)
        np.copyto(state["mean"], mean, where=new)
        np.copyto(state["std"], std, where=new)
        away = (sample - state["mean"]) / state["std"]
        counts = np.bincount(np.searchsorted(EDGES, away[np.isfinite(away)]), minlength=BINS)
        if counts.any():
            today = self._day * DAY
            self._since = min(self._since, today) if np.isfinite(self._since) else today
            if today < self._since + DAYS * DAY:
                self._pinned += counts
            self._days[int(self._day) % (DAYS + 1)] += counts

    def measure(self, every: npt.NDArray[np.float32]) -> DriftState:
        """Return how far things have drifted; `every` has shape (5, size)."""
        size = every.shape[1]
        often, mean, std = (self._columns.all()[name][:size].astype(np.float64) for name in ("often", "mean", "std"))
        index = float("nan")
        # Before the first block has ended there is no day.
        if np.isfinite(self._since) and self._day * DAY >= self._since + 2 * DAYS * DAY:
            ended = np.delete(self._days, int(self._day) % (DAYS + 1), axis=0)
            index = stability_index(self._pinned, ended.sum(axis=0))
        with np.errstate(all="ignore"):
            return DriftState(index, often, (every[0] - mean) / std)


def stability_index(before: FloatArray, now: FloatArray) -> float:
    """Return the population stability index of two histograms with the same bins; NaN where there is too little.

    >>> round(stability_index(np.array([500.0, 500.0]), np.array([300.0, 700.0])), 3)
    0.169
    """
    if min(before.sum(), now.sum()) < ENOUGH:
        return float("nan")
    p, q = ((one + 0.5) / (one.sum() + 0.5 * len(one)) for one in (before, now))
    return float(np.sum((q - p) * np.log(q / p)))
