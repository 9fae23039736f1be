"""The recent damage of every component: the excess of its series over what was expected, slot by slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict

__all__ = ["Component", "DamageHistory", "Damages", "PastVerdicts", "SLOTS", "SPACING"]

FloatArray = npt.NDArray[np.float64]
Component = tuple[str, ...]
_Samples = tuple[npt.NDArray[np.intp], FloatArray, FloatArray, FloatArray]
"""The component of each row (-1: none), observed and expected value and deviation, shape (k,) each."""
PastVerdicts = tuple[FloatArray, FloatArray, FloatArray, FloatArray]
"""Times, shape (t,), observed and expected values and scores, shape (t, n)."""

SLOTS = 128
SPACING = 10.0
"""Seconds between two slots at least. With slots of a minute two hours are kept."""
_MOST = 5000
"""Components; more are left out."""
_UNUSUAL = 3.0
"""Standard deviations from which a component can be a cause."""
_HIGHEST = 1.0 - 2.0**-20
"""Score from which it is not said how far a component was from its expected value."""
_NOISE = 3.0
"""How many times the largest excess of the hours before an excess has to be,"""
_ENOUGH = 12
"""where there are so many slots."""
_LASTING = 0.2
"""Share of its largest excess that a component must have had in another slot."""
_BEFORE = 1800.0
"""Seconds before the beginning that say what was there already."""


@dataclass(frozen=True, slots=True)
class Damages:
    """The damage of all components since an alert began. Arrays of shape (n,).

    Attributes
    ----------
    excess
        The largest so far, less what was there before; 0 where there is none.
    onset
        When a component became unusual, Unix seconds; NaN where it did not.
    judged
        Whether it can be said that a component is unusual.
    distinct
        Whether the excess is far more than that of the hours before, and lasted longer than a slot.
    expected
        The newest expected value; NaN where that is unknown.
    level
        The middle of its values since then; NaN where it has none.
    """

    components: Sequence[Component]
    excess: FloatArray
    onset: FloatArray
    judged: npt.NDArray[np.bool_]
    distinct: npt.NDArray[np.bool_]
    expected: FloatArray
    level: FloatArray


class DamageHistory:
    """Excess, value and deviation of the components of one query in recent slots.

    One thread writes. Readers see whole slots: what is overwritten next is not read.

    Parameters
    ----------
    labels : sequence of str
        Labels that identify a component.
    mean : bool
        Whether series of one component are averaged; they are added up otherwise.
    """

    def __init__(self, labels: Sequence[str], *, mean: bool = False) -> None:
        self._labels, self._mean = tuple(labels), mean
        self._rows: tuple[SeriesTable | None, int, npt.NDArray[np.intp]] = (None, -1, np.zeros(0, np.intp))
        self._index: dict[Component, int] = {}
        self._count = 0
        self._times = np.full(SLOTS, np.nan)
        # Excess, value, deviation.
        self._slots = np.full((3, SLOTS, 0), np.nan, np.float32)
        self._expected = np.zeros(0)
        self._newest: tuple[float, _Samples] | None = None
        """The newest slot, where it is nearer to the last one than those that are kept."""

    def add(self, verdict: Verdict, table: SeriesTable) -> None:
        """Take the verdict of a slot."""
        last = self._times[(self._count - 1) % SLOTS]
        place = self._place(table)
        samples = place, verdict.observed[: len(place)], verdict.expected[: len(place)], verdict.z[: len(place)]
        if verdict.at - last < SPACING:
            # Alerts of quick slots begin between two that are kept; only `since` measures these.
            self._newest = verdict.at, samples
            return
        self.put(verdict.at, *samples)

    def restore(self, past: PastVerdicts, table: SeriesTable) -> None:
        """Take slots of the past, as an earlier process judged them, before the first one of this process."""
        times, observed, expected, score = past
        place = self._place(table)
        # A score is kept in steps: the highest is rounded to 1.
        deviation = -_UNUSUAL * np.log2(1.0 - np.minimum(score, _HIGHEST))
        for index, at in enumerate(times.tolist()):
            if at - self._times[(self._count - 1) % SLOTS] < SPACING:
                continue
            self.put(at, place, *(part[index, : len(place)] for part in (observed, expected, deviation)))

    def put(
        self, at: float, place: npt.NDArray[np.intp], observed: FloatArray, expected: FloatArray, z: FloatArray
    ) -> None:
        """Take a slot: samples of shape (k,), NaN where there is none, and the component of each, -1 without any."""
        slot = self._count % SLOTS
        self._slots[:, slot], newest = self._measured((place, observed, expected, z), self._slots.shape[2])
        self._expected = np.where(np.isnan(newest), self._expected, newest)
        self._times[slot] = at
        self._count += 1
        self._newest = None

    def _measured(self, samples: _Samples, n: int) -> tuple[FloatArray, FloatArray]:
        """Return excess, value and deviation of the first n components, shape (3, n), and what was expected, (n,)."""
        place, observed, expected, z = samples
        rows = np.flatnonzero((place >= 0) & (place < n) & ~np.isnan(observed))
        place, observed, expected, z = place[rows], observed[rows], expected[rows], z[rows]
        count = np.bincount(place, minlength=n).astype(np.float64)
        shared = np.where(count > 0, count, np.nan) if self._mean else np.where(count > 0, 1.0, np.nan)
        deviation = np.full(n, -np.inf)
        np.maximum.at(deviation, place, np.where(np.isnan(z), -np.inf, np.abs(z)))
        deviation = np.where(np.isinf(deviation), np.nan, deviation)
        sums = (np.bincount(place, part, n) for part in (observed - expected, observed, expected))
        excess, value, level = (each / shared for each in sums)
        return np.array([excess, value, deviation]), level

    @property
    def empty(self) -> bool:
        """Whether there is no slot yet."""
        return self._count == 0

    def admit(self, component: Component) -> int:
        """Return the place of a component; -1 where there is no room for it."""
        if component not in self._index:
            if len(self._index) >= _MOST:
                return -1
            self._index[component] = len(self._index)
        return self._index[component]

    def grow(self) -> None:
        """Make room for the components that were admitted."""
        more = len(self._index) - self._slots.shape[2]
        if more:
            # Another array: a reader may hold this one.
            self._slots = np.concatenate([self._slots, np.full((3, SLOTS, more), np.nan, np.float32)], axis=2)
            self._expected = np.concatenate([self._expected, np.full(more, np.nan)])

    def has_since(self, at: float) -> bool:
        """Whether there is a slot at an instant, Unix seconds, or after it."""
        last = float(self._times[(self._count - 1) % SLOTS]) if self._newest is None else self._newest[0]
        return last >= at

    def covers(self, at: float) -> bool:
        """Whether an instant, Unix seconds, is not too long ago."""
        kept = self._times[~np.isnan(self._times)]
        return len(kept) > 0 and (at >= kept.min() or self._count < SLOTS)

    def since(self, began: float, *, worse: str = "above", slack: float = 0.0) -> Damages:
        """Return the damage since an alert began, Unix seconds.

        Parameters
        ----------
        worse : "above" or "below"
            On which side of what is expected there is damage.
        slack : float, seconds
            How long before the alert a component may have become unusual because of it.
        """
        slots, expected, oldest = self._slots, self._expected, self._count % SLOTS
        n = min(slots.shape[2], len(expected))
        used = np.flatnonzero(~np.isnan(self._times))
        used = used[used != oldest] if self._count >= SLOTS else used
        used = used[np.argsort(self._times[used])]
        times = self._times[used]
        measured = slots[:, used, :n].astype(np.float64)
        newest = self._newest
        if newest is not None:
            times = np.append(times, newest[0])
            last, newer = self._measured(newest[1], n)
            measured = np.concatenate([measured, last[:, None]], axis=1)
            expected = np.where(np.isnan(newer), expected[:n], newer)
        excess, level, deviation = measured
        before, during = (times < began) & (times >= began - _BEFORE), times >= began
        # What is too young for an expected value can only be compared with what it was.
        excess = np.where(np.isnan(excess), level - _middle(level[before]), excess)
        excess = excess if worse == "above" else -excess
        present = np.maximum(_middle(excess[before]), 0.0)
        # Of what is never as expected only the growth is damage.
        damage = _largest(excess[during]) - np.nan_to_num(present)
        recent = times >= began - slack
        unusual = (deviation[recent] >= _UNUSUAL) & (excess[recent] > 0)
        onset = np.full(n, np.nan)
        if unusual.any():
            onset = np.where(unusual.any(axis=0), times[recent][np.argmax(unusual, axis=0)], np.nan)
        judged = ~np.isnan(deviation[recent]).all(axis=0)
        earlier = times < began - slack
        distinct = np.ones(n, np.bool_)
        if earlier.sum() >= _ENOUGH:
            distinct = damage >= _NOISE * (_largest(excess[earlier]) - np.nan_to_num(present))
        if during.sum() > 2:
            second = np.sort(np.nan_to_num(excess[during]), axis=0)[-2] - np.nan_to_num(present)
            distinct &= second >= _LASTING * damage
        components = tuple(self._index)[:n]
        return Damages(components, damage, onset, judged, distinct, expected[:n], _middle(level[during]))

    def _place(self, table: SeriesTable) -> npt.NDArray[np.intp]:
        """Return the component of every row, -1 where it has none."""
        indexed, version, place = self._rows
        if indexed is not table or version != table.version:
            place = np.full(table.size, -1, np.intp)
            if len(self._index) > _MOST // 2:
                self._forget()
            for row, series in table.items():
                labels = dict(series)
                if all(name in labels for name in self._labels):
                    place[row] = self.admit(tuple(labels[name] for name in self._labels))
            self.grow()
            self._rows = (table, table.version, place)
        return place

    def _forget(self) -> None:
        """Forget the components without a value in any slot that is kept."""
        here = ~np.isnan(self._slots[1]).all(axis=0)
        kept = [component for component, place in self._index.items() if here[place]]
        self._index = {component: place for place, component in enumerate(kept)}
        self._slots, self._expected, self._newest = self._slots[:, :, here], self._expected[here], None


def _largest(values: FloatArray) -> FloatArray:
    """Return the maximum of each column, 0 where it has no value."""
    most = np.max(values, axis=0, initial=-np.inf, where=~np.isnan(values))
    largest: FloatArray = np.where(np.isinf(most), 0.0, most)
    return largest


def _middle(values: FloatArray) -> FloatArray:
    """Return the median of each column, NaN where there is no value."""
    ordered = np.sort(values, axis=0)
    count = (~np.isnan(values)).sum(axis=0)
    if not len(ordered):
        return np.full(values.shape[1], np.nan)
    columns = np.arange(values.shape[1])
    low, high = np.maximum((count - 1) // 2, 0), np.minimum(count // 2, len(ordered) - 1)
    middle: FloatArray = (ordered[low, columns] + ordered[high, columns]) / 2.0
    return middle
