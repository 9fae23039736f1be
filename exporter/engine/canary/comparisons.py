"""All comparisons of a query: a slot of samples in, which candidates differ from their baselines out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from exporter.engine.canary.sequential import DIRECTIONS, SequentialTest
from exporter.engine.canary.settings import ComparisonSettings
from exporter.engine.canary.sides import compare_sides, spread_of_sides
from exporter.engine.columns import Array, Column, Columns
from exporter.engine.series import SeriesTable

__all__ = ["CanaryVerdict", "Comparisons"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

_CALM = 10
"""Slots in a row without a difference after which one that was found is over."""
_RECENT = 8.0
"""Samples over which the values that are shown are averaged."""
_TYPICAL, _LEAST = 500.0, 0.5
"""Samples over which the size of a baseline is averaged, and the part of it that is the least unit of differences."""
_LEVEL = 60.0
"""Samples over which the level of a series is averaged."""
_GONE = 3600.0
"""Seconds after which a comparison without one of its sides is forgotten."""
_LIMIT: Final = 10_000
"""Comparisons of a query at most."""

_LAYOUT: Mapping[str, Column] = {
    "baseline": Column((), np.float64, np.nan),
    "candidate": Column((), np.float64, np.nan),
    "typical": Column((), np.float64),
    "calm": Column((), np.float64),
    "since": Column((), np.float64, np.nan),
    "sign": Column((), np.float64),
    "last": Column((), np.float64, -np.inf),
    "accepted": Column((), np.float64),
}
_ACCEPTED = "accepted"
"""The difference that people called normal, in units of the baseline; stored state of before has none."""


@dataclass(frozen=True, slots=True)
class CanaryVerdict:
    """The comparisons of a slot; arrays of shape (n,), values in source units.

    Attributes
    ----------
    at : float, Unix seconds
    compared : ndarray of bool
        Both sides have a sample.
    baseline, candidate : ndarray
        Their values of late; NaN before the first slot.
    floor : ndarray
        Differences up to this size count as none.
    score : ndarray
        0 to 1, 0.5 and more: they differ. NaN where they are not compared, or nothing can be said so far.
    p_value : ndarray
        The probability that there would be so much evidence at any time without a difference.
    sign : ndarray
        1: the candidate is above, -1: below; by the side that has more evidence.
    since : ndarray, Unix seconds
        When the difference began, as far as that is known; NaN where there is none.
    count : ndarray, shape (2, n)
        Series of baseline and candidate in this slot.
    slots : ndarray
        How many slots were compared.
    """

    at: float
    compared: BoolArray
    baseline: FloatArray
    candidate: FloatArray
    floor: FloatArray
    score: FloatArray
    p_value: FloatArray
    sign: FloatArray
    since: FloatArray
    count: npt.NDArray[np.intp]
    slots: FloatArray

    @property
    def different(self) -> BoolArray:
        """Which candidates differ from their baselines."""
        return self.score >= 0.5


class Comparisons:
    """All comparisons of one query.

    Parameters
    ----------
    settings : ComparisonSettings
        All of its fields are set.
    """

    def __init__(self, settings: ComparisonSettings) -> None:
        self.settings = settings
        self.at = -np.inf
        """The newest slot, Unix seconds."""
        self.table = SeriesTable(_LIMIT)
        """The comparisons, by what they are called."""
        self._capacity = 0
        self._test = SequentialTest()
        self._columns = Columns(_LAYOUT)
        self._level = np.zeros(0)
        self._samples = np.zeros(0)

    def admit(self, keys: list[bytes], at: float) -> Rows:
        """Return the row of each comparison, -1 where there are too many."""
        rows, admitted = self.table.find(keys)
        if self.table.size > self._capacity:
            self._capacity = max(8, 2 * self.table.size)
            self._test.grow(self._capacity)
            self._columns.grow(self._capacity)
        if admitted:
            self.forget(np.array(admitted, np.intp))
            self._columns.arrays()["last"][admitted] = at
        return rows

    def forget(self, rows: Rows) -> None:
        """Begin anew with some comparisons, because their sides are others."""
        self._test.forget(rows)
        self._columns.forget(rows)

    def accept(self, rows: Rows) -> None:
        """Take the present difference of some comparisons, shape (m,), as normal, until their sides are others."""
        state = self._columns.arrays()
        baseline = state["baseline"][rows]
        difference = np.nan_to_num(state["candidate"][rows] - baseline) / _unit(baseline, state["typical"][rows])
        self._test.accept(rows, difference - state[_ACCEPTED][rows])
        state[_ACCEPTED][rows] = difference
        state["since"][rows], state["sign"][rows], state["calm"][rows] = np.nan, 0.0, 0.0

    def step(
        self, at: float, values: FloatArray, place: Rows, side: Rows, interval: float, renewed: Rows
    ) -> CanaryVerdict:
        """Compare a slot; it has to be later than those before.

        Parameters
        ----------
        values, place, side : ndarray, shape (size,)
            As of `compare_sides`.
        interval : float, seconds
            How far slots are apart.
        renewed : ndarray, shape (m,)
            Rows of `values` that have another series than in the slot before.
        """
        n = self.table.size
        sides = compare_sides(values, place, side, n, self.settings.quantile)
        state = {name: array[..., :n] for name, array in self._columns.arrays().items()}
        if at - self.at > 1.5 * interval:
            self._test.interrupt()
        compared: BoolArray = np.all(sides.count > 0, axis=0)
        floor = self._floor(sides.value[0], state["baseline"], place, side, n)
        # In units of the baseline before this slot: with it a difference of ten per cent grows and falls.
        before = np.where(np.isnan(state["baseline"]), sides.value[0], state["baseline"])
        unit = _unit(before, state["typical"])
        pairs = np.full((sides.pairs.shape[0], self._capacity), np.nan)
        pairs[:, :n] = sides.pairs / unit - state[_ACCEPTED]
        floors = np.zeros(self._capacity)
        floors[:n] = floor / unit
        self._test.step(at, pairs, floors)
        slots = self._test.count[:n]
        weight = 1.0 / np.minimum(np.maximum(slots, 1.0), _RECENT)
        for index, name in enumerate(("baseline", "candidate")):
            old = np.where(np.isnan(state[name]), sides.value[index], state[name])
            state[name][...] = np.where(compared, old + weight * (sides.value[index] - old), state[name])
        weight = 1.0 / np.minimum(np.maximum(slots, 1.0), _TYPICAL)
        state["typical"] += np.where(compared, weight * (np.abs(sides.value[0]) - state["typical"]), 0.0)
        self._follow_levels(values, place, renewed)
        state["last"][compared] = at
        self.at = at
        return self._verdict(at, compared, sides.count, floor, state)

    def _floor(self, now: FloatArray, before: FloatArray, place: Rows, side: Rows, n: int) -> FloatArray:
        """Return up to which size a difference is none, from what was known before this slot, shape (n,)."""
        baseline = np.abs(np.where(np.isnan(before), now, before))
        absolute = self.settings.min_deviation or 0.0
        relative = self.settings.min_relative_deviation * np.nan_to_num(baseline)
        level = np.full(len(place), np.nan)
        level[: len(self._level)] = self._level[: len(place)]
        chosen = spread_of_sides(level, place, side, n)
        return np.maximum(np.maximum(absolute, relative), chosen)

    def _follow_levels(self, values: FloatArray, place: Rows, renewed: Rows) -> None:
        """Average every series over time."""
        size = len(values)
        if len(self._level) != size:
            level, samples = np.full(size, np.nan), np.zeros(size)
            kept = min(size, len(self._level))
            level[:kept], samples[:kept] = self._level[:kept], self._samples[:kept]
            self._level, self._samples = level, samples
        self._level[renewed], self._samples[renewed] = np.nan, 0.0
        here = (place >= 0) & np.isfinite(values)
        self._samples += here
        old = np.where(np.isnan(self._level), values, self._level)
        weight = 1.0 / np.minimum(np.maximum(self._samples, 1.0), _LEVEL)
        self._level = np.where(here, old + weight * (values - old), self._level)

    def _verdict(
        self,
        at: float,
        compared: BoolArray,
        count: npt.NDArray[np.intp],
        floor: FloatArray,
        state: Mapping[str, Array],
    ) -> CanaryVerdict:
        n = len(compared)
        direction = self.settings.direction
        counts = np.array([direction in (None, "both", "above"), direction in (None, "both", "below")])
        # Two tests, each of which may be wrong, if both directions count.
        needed = np.log(counts.sum() / self.settings.alpha)
        evidence = np.where(counts[:, None], self._test.evidence[:, :n], -np.inf)
        which = np.argmax(evidence, axis=0)
        every = np.arange(n)
        strongest = evidence[which, every]
        sign = np.where(np.isnan(state["since"]), np.array(DIRECTIONS)[which], state["sign"])
        proven = strongest >= needed
        newly = proven & np.isnan(state["since"])
        state["since"][newly] = self._test.began[which, every][newly]
        state["sign"][...] = np.where(proven, sign, 0.0)
        accepted = state[_ACCEPTED] * _unit(state["baseline"], state["typical"])
        over = proven & (np.nan_to_num(state["candidate"] - state["baseline"] - accepted) * sign <= floor)
        state["calm"][...] = np.where(over, state["calm"] + compared, 0.0)
        ended = state["calm"] >= _CALM
        if ended.any():
            self._test.begin_again(np.flatnonzero(ended))
            for name in ("since", "calm", "sign"):
                state[name][ended] = _LAYOUT[name].initial
            proven = proven & ~ended
            strongest = np.where(ended, 0.0, strongest)
        judged = compared & np.isfinite(strongest)
        positive = np.maximum(strongest, 0.0)
        score = np.where(judged, 1.0 - np.exp2(-positive / needed), np.nan)
        p_value = np.where(judged, np.minimum(1.0, counts.sum() * np.exp(-positive)), np.nan)
        return CanaryVerdict(
            at,
            compared,
            state["baseline"].copy(),
            state["candidate"].copy(),
            floor,
            score,
            p_value,
            sign,
            np.where(proven, state["since"], np.nan),
            count,
            self._test.count[:n].copy(),
        )

    def expire(self, at: float) -> Rows:
        """Forget the comparisons that were without one of their sides for an hour; return their rows."""
        last = self._columns.arrays()["last"]
        rows = np.array([row for row, _ in self.table.items() if at - last[row] > _GONE], np.intp)
        self.table.release(rows)
        return rows

    # ------------------------------------------------------------------ state

    def arrays(self) -> dict[str, Array]:
        """Return the state, to store it: what is known of single series is not among it."""
        n = self.table.size
        parts = {f"test/{name}": array[..., :n] for name, array in self._test.arrays().items()}
        return parts | {f"canary/{name}": array[..., :n] for name, array in self._columns.arrays().items()}

    def restore(self, at: float, parts: Mapping[str, Array], series: list[tuple[int, bytes]]) -> bool:
        """Take up stored state; only for new comparisons. False where it does not fit, and nothing is changed."""
        since = parts.get("canary/since")
        size = 0 if since is None else since.shape[-1]
        own = {name: parts.get(f"canary/{name}") for name in _LAYOUT}
        own[_ACCEPTED] = parts.get(f"canary/{_ACCEPTED}", np.zeros(size))
        if any(array is None or array.shape != (size,) for array in own.values()):
            return False
        if any(not 0 <= row < size for row, _ in series) or size > _LIMIT:
            return False
        tests = {name.removeprefix("test/"): array for name, array in parts.items() if name.startswith("test/")}
        if not self._test.restore(tests, size):
            return False
        self._capacity = size
        self._columns.grow(size)
        for name, column in self._columns.arrays().items():
            column[...] = own[name]
        self.table.restore(series, size)
        self.at = at
        return True


def _unit(baseline: FloatArray, typical: FloatArray) -> FloatArray:
    """Return the unit of differences: the size of the baseline, and the least part of its typical size."""
    unit = np.maximum(np.nan_to_num(np.abs(baseline)), _LEAST * typical)
    return np.where(unit > 0.0, unit, 1.0)
