"""Concept drift: how often series are anomalous, the population stability index, and changepoints of the level.

Two measures of a query, on whole arrays. How often each series was anomalous in the last day: often means that its
baseline does not fit. And the population stability index [1]_ of the last seven days against a pinned week: each series
is measured in its own pinned standard deviations from its own pinned mean, and all of them make one histogram. The
baseline follows a slow drift, the pinned profile does not. Level shifts that were accepted are not counted.
A changepoint is the begin of the newest level, by PELT [2]_: an exact search for the best segments in linear time.

References
----------
.. [1] B. Yurdakul, J. Naranjo (2020), Statistical properties of the population stability index. Journal of Risk
   Model Validation 14(4).
.. [2] R. Killick, P. Fearnhead, I. A. Eckley (2012), Optimal detection of changepoints with a linear computational
   cost. Journal of the American Statistical Association 107(500).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Column, Columns
from exporter.engine.constants import ZERO
from exporter.engine.ordered import add_to, all_of, any_of
from exporter.engine.seconds import DAY

__all__ = ["Drift", "DriftState", "changepoint", "stability_index", "segments"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Array = npt.NDArray[np.generic]

DAYS = 7
"""Days that are compared: a whole week, or a weekend would be a drift."""
PINNED = 84 * DAY
"""The profile is pinned for so long, a quarter of a year; then the present is."""
EDGES = np.array([-2.5, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
"""Of the histogram, in pinned standard deviations; beyond 2.5 is 1 % of a normal week."""
BINS = len(EDGES) + 1
PIN_AFTER = 7 * DAY
"""Seconds that a series is learned for before it is pinned: every hour of the week."""
REST = 14 * DAY
"""Seconds of judged samples before the buckets of a series are emptied, and before that happens again: a weekend lasts
longer than a day, and is an anomaly until its hours are learned."""
ENOUGH = 100
"""Samples in a histogram before it is compared: with fewer chance alone makes an index of 0.2 in twelve bins."""

HOURS = 168
"""Of a week."""
PENALTY = 40.0
"""What a changepoint costs, in variances: noise that is correlated over hours has none. Half as much
believes shorter and smaller steps."""
POINT = 3
"""Hours that are one point: the search has a third of the points, and a step is known to three hours."""
SHORTEST = 4
"""Points of a level: half a day. What is shorter is an episode."""
LEAST_STEP = 3.0
"""Standard deviations that the level must change by: less is a mean that wandered."""


@dataclass(frozen=True, slots=True)
class DriftState:
    """Drift of a query.

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
        return {f"drift/{name}": array for name, array in self._columns.arrays().items()}

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

    def update(self, rows: slice, anomalous: BoolArray, counted: BoolArray, beyond: BoolArray, seconds: float) -> None:
        """Note which samples count, which are anomalous, and which lie beyond the band; shapes (t, n).

        What is anomalous inside it, such as the days after a leak has ended, says nothing against the buckets.
        """
        state, share = self._columns.views(rows), np.float32(min(1.0, seconds / DAY))
        often, over = state["often"], state["over"]
        odd_and_out = anomalous & beyond
        # With nothing in the sum, and nothing to add, it stays as it is.
        summed = self.ratio is not None and (any_of(over) or any_of(odd_and_out))
        if summed and all_of(over < -2.0 * seconds * len(counted)):
            # All are resting, and will be.
            add_to(over, np.where(counted, np.float32(seconds), ZERO))
            summed = False
        if not summed and not any_of(often) and not any_of(anomalous):
            return
        shares = np.where(counted, share, ZERO)
        for odd, part, count, out in zip(anomalous.astype(np.float32), shares, counted, odd_and_out, strict=True):
            often += part * (odd - often)
            if summed:
                resting = over < 0.0
                over += np.where(count & (resting | out), np.float32(seconds), ZERO)
                over *= resting | (often > self.ratio)

    def due(self, rows: slice, after: float) -> npt.NDArray[np.intp]:
        """Return which of `rows` have `after` seconds of anomalous samples together, and are due to be learned anew."""
        over = self._columns.views(rows)["over"]
        due: npt.NDArray[np.intp] = rows.start + np.flatnonzero(over >= after)
        return due

    def most_seconds(self, rows: slice) -> float:
        """Return the seconds of anomalous samples that one of `rows` has at most; see `due`."""
        return float(self._columns.views(rows)["over"].max(initial=-np.inf))

    def restart(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`, whose buckets were emptied."""
        self.forget(rows)
        self._columns.arrays()["over"][rows] -= np.float32(DAY)

    def restarted(self, rows: slice) -> BoolArray:
        """Return which of `rows` were emptied less than a day ago: their samples are learned as they are."""
        restarted: BoolArray = self._columns.views(rows)["over"] < -REST
        return restarted

    def settle(self, rows: npt.NDArray[np.intp]) -> None:
        """Sum up anomalous samples of `rows` anew: their buckets were moved."""
        over = self._columns.arrays()["over"]
        over[rows] = np.minimum(over[rows], ZERO)

    def begin_day(self, at: float) -> bool:
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
            self.unpin(slice(None))
        self._day = day
        return True

    @property
    def since(self) -> float:
        """When the profile was pinned, Unix seconds; inf where it is to be pinned anew."""
        return self._since

    def unpin(self, rows: slice) -> None:
        """Pin `rows` anew."""
        for name in ("mean", "std"):
            self._columns.arrays()[name][rows] = np.nan

    def learn(self, rows: slice, sample: FloatArray, every: npt.NDArray[np.float32]) -> FloatArray:
        """Pin the series that are old enough, and return how far a sample of each, shape (n,), is from the pinned mean.

        `every` is the bucket of all times, shape (5, n); what is returned, in pinned standard deviations, is for
        `count`.
        """
        state = self._columns.views(rows)
        mean, std, _, _, weight = every
        new = np.isnan(state["mean"]) & (weight >= PIN_AFTER) & (std > 0.0)
        np.copyto(state["mean"], mean, where=new)
        np.copyto(state["std"], std, where=new)
        away: FloatArray = (sample - state["mean"]) / state["std"]
        return away

    def count(self, away: FloatArray) -> None:
        """Count samples in the histogram of today."""
        counts = np.bincount(np.searchsorted(EDGES, away[np.isfinite(away)]), minlength=BINS)
        if any_of(counts):
            today = self._day * DAY
            self._since = min(self._since, today) if np.isfinite(self._since) else today
            if today < self._since + DAYS * DAY:
                self._pinned += counts
            self._days[int(self._day) % (DAYS + 1)] += counts

    def measure(self, every: npt.NDArray[np.float32]) -> DriftState:
        """Return how far the series have drifted; `every` has shape (5, size)."""
        size = every.shape[1]
        often, mean, std = (self._columns.arrays()[name][:size].astype(np.float64) for name in ("often", "mean", "std"))
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
    p, q = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (before, now))
    return float(np.sum((q - p) * np.log(q / p)))


def changepoint(hours: FloatArray) -> int | None:
    """Return the index at which the newest level began, or None where the level has not changed.

    Parameters
    ----------
    hours : ndarray, shape (t,)
        Hourly values, oldest first; NaN = missing. At least two weeks.
    """
    valid = np.isfinite(hours)
    if len(hours) < 2 * HOURS or valid.mean() < 0.75:
        return None
    rest = np.where(valid, hours, np.nan)
    for hour in range(HOURS):
        same = rest[hour::HOURS]
        rest[hour::HOURS] = same - (np.nanmedian(same) if np.isfinite(same).any() else 0.0)
    middle = np.nanmedian(rest)
    scale = 1.4826 * np.nanmedian(np.abs(rest - middle))
    if not scale > 0.0:
        return None
    rest = np.where(np.isfinite(rest), rest - middle, 0.0) / scale
    first = len(rest) % POINT
    rest = rest[first:].reshape(-1, POINT).mean(axis=1)
    edges = segments(rest, PENALTY, SHORTEST)
    for begin, at, end in reversed(list(zip(edges[:-2], edges[1:-1], edges[2:], strict=True))):
        if abs(rest[at:end].mean() - rest[begin:at].mean()) >= LEAST_STEP:
            return first + POINT * int(at)
    return None


def segments(values: FloatArray, penalty: float, shortest: int) -> list[int]:
    """Return the edges, from 0 to the length, of the segments that fit values best by their means.

    The least sum of squared residuals plus `penalty` for each segment of at least `shortest` values, by optimal
    partitioning. With hundreds of values this is some milliseconds, and pruning (PELT) would save none of them.

    >>> segments(np.repeat([0.0, 9.0, 3.0], 8), 5.0, 4)
    [0, 8, 16, 24]
    """
    length = len(values)
    sums, squares = (np.concatenate([[0.0], np.cumsum(values**power)]) for power in (1, 2))
    best = np.full(length + 1, np.inf)
    best[0] = 0.0
    begins = np.zeros(length + 1, np.intp)
    for end in range(shortest, length + 1):
        # Of each begin that leaves room for a segment: the best so far, and what the segment costs.
        begin = np.arange(end - shortest + 1)
        cost = squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / (end - begin)
        total = best[begin] + cost + penalty
        begins[end] = int(total.argmin())
        best[end] = total[begins[end]]
    edges = [length]
    while edges[-1] > 0:
        edges.append(int(begins[edges[-1]]))
    return edges[::-1]
