"""Whitened components: how unusual a combination of metrics is, though each metric alone may be fine.

Two vectors of an entity are whitened with covariances that were learned of it: how far each metric is from what is
expected now, and how much each has changed since the last instant. Whitening rotates a vector to its principal
components and divides each by its standard deviation. The mean square of what results (a squared Mahalanobis
distance [1]_ for each metric) is 1 on average, and large where metrics that go together do not, or where many are a
little off. Both are smoothed over some samples; the larger counts, in units of what this entity exceeds a few times
a week.

Deviations see what lasts. Changes see what begins, whatever the level has drifted to, and need no season to be known.
Spreads are of all hours together: a bucket of the week has too few visits for one, and a variance that is too small
by chance makes a metric loud for weeks. One that is larger counts: what is ordinary at this hour to its own query, such
as the backup of every night, is not far in the group.

It sees correlations only: two metrics tied by a curve look like noise. It fails where the metrics of a group move
for different reasons at different times, such as a nightly job that was never seen before.

References
----------
.. [1] P. C. Mahalanobis (1936), On the generalised distance in statistics.
.. [2] A. Kessy, A. Lewin, K. Strimmer (2018), Optimal Whitening and Decorrelation. The American Statistician 72(4).
   The symmetric whitening used here keeps each whitened component as close as can be to one metric, so that the
   components' parts in the length are the metrics' parts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.counting import ALONE, Vectors, changing, deviating, limited
from exporter.engine.multivariate.covariances import BLOCK, Covariances, whitening
from exporter.engine.multivariate.inputs import GroupMatrix
from exporter.engine.multivariate.joint import Array, FloatArray, Joint, Rows
from exporter.engine.multivariate.load import spread_of
from exporter.engine.multivariate.regularity import Regularity
from exporter.engine.multivariate.smoothing import BACK, bursts, is_large, smoothed
from exporter.engine.multivariate.tail import BINS, counted_by_row, exceeded
from exporter.engine.seconds import DAY, HOUR, WEEK

__all__ = ["Whitened"]

BoolArray = npt.NDArray[np.bool_]

_RIDGES = (0.03, 0.1)
"""Of deviations and of changes: variance of every standardised metric that is taken for rounding. Changes have less
in common, and more rounding."""
_STEADY = 1.0 / 48.0
"""Part of the newest instant in what the next largest typically is: where one metric alone is off, the score would
otherwise be as noisy as the others are."""
_LEARNING = 47.0
"""Vectors that an entity must have learned before it is judged: four blocks, and a little less because they fade. Until
then lengths are longer than they will be."""
_ENOUGH = 60.0
"""Lengths of all entities together before there is any severity."""
_POOL = 2000.0
"""Lengths of its own after which what an entity exceeds weighs as much as what all entities do."""
_RATE, _LEAST_SHARE, _MOST_SHARE = 6.0 / WEEK, 0.001, 0.003
"""Events a second that are allowed, and the share of the past between which that is, unless `contamination` says it."""
_LOWEST, _LOWEST_OF_ALL, _HIGHEST = 8.0, 22.0, 100.0
"""Smoothed mean squares of a component between which the limit lies, however calm or wild the past: nearly three, and
ten, standard deviations of all metrics at once. Of many metrics the mean strays less: the lowest is 1 and so much
divided by the root of their number where that is less."""
_YOUTH, _YOUNG = 0.5, 3 * DAY
"""Part of its age, and time at least, over which the past speaks for the limit: in its first days an entity and what is
expected of it are hardly known, and everything is long."""
_EVENT = 0.8
"""Severity from which the lengths of consecutive samples are counted once: a little below the threshold, or
the edges of each event would become typical."""
_OVER = 0.7
"""Severity below which an event is over: at the threshold it would end and begin with the noise."""
_COUNTED = 1.25
"""Limits that a length counts as at most: a limit grows where it is passed often, and not by one far event."""
_LONGEST = 64.0
"""Smoothed mean square of a component from which vectors are learned as if they were ordinary, event or not: one that
is so far out would deafen the entity for weeks."""
_LATE = 1.5
"""Intervals after which the sample before is too old for a change."""
_HOLDS = 0.3
"""Share of slots in which no metric of an entity moves from which on it holds its values between readings."""
_RECENT = 1.0 / 48.0
"""Part of the newest slot in that share."""
_BURSTS, _BRIEF = 14 * DAY, 300.0
"""Memory of bursts of one instant: one is remembered for ten days. And seconds of the longest instant that is a burst:
what takes ten minutes or an hour can be acted on, and must not be late by as much."""
_LINGERING = 3.0
"""Intervals for which a load that is not seen any more still explains what is beside it."""


class Whitened:
    """The joint detector ``whitened``.

    Parameters
    ----------
    metrics : int
    contamination : float, 0 to 1, or None
        Share of the past that was at least as unusual as what has severity 1; None: six events a week, and no more
        than a thousandth of the past where slots are short, and no more than three where they are long.
    memory : float, seconds
        Time over which is averaged.
    """

    def __init__(self, metrics: int, contamination: float | None, memory: float) -> None:
        self.contamination, self.memory, self._metrics = contamination, memory, metrics
        self._covariances = [Covariances(metrics, ridge=ridge, memory=memory, refit=HOUR) for ridge in _RIDGES]
        self._own: dict[str, Array] = {
            "smooth": np.ones((0, 2)),
            "newest": np.ones((0, 2, BACK)),  # What it is of,
            "plain": np.ones((0, 2)),  # and both without regard to load.
            "newest_plain": np.ones((0, 2, BACK)),
            "bursts": np.zeros(0),  # How many bursts of one instant there were of late.
            "previous": np.full((0, metrics), np.nan),
            "before": np.full((0, metrics), np.nan),  # The instant before that.
            "previous_at": np.full(0, -np.inf),
            "distance": np.full((0, metrics), np.inf),  # In standard deviations of the hour, at that instant.
            "repeats": np.zeros(0),  # Share of slots in which no metric moved,
            "moved": np.zeros(0, np.int8),  # and whether one ever did.
            "factor": np.full(0, np.nan),  # Of the newest load,
            "factor_at": np.full(0, -np.inf),  # and when it was.
            "lengths": np.zeros((0, BINS), np.float32),
            "limit": np.full(0, np.nan),
            "high": np.zeros(0),
            "second": np.ones(0),  # The square of the second largest component, typically,
            "event": np.zeros(0, np.bool_),  # and whether an event goes on.
        }
        self._regularity = Regularity()
        self._steps = np.zeros(1)
        self._start = {"smooth": 1.0, "plain": 1.0, "previous": np.nan, "before": np.nan, "previous_at": -np.inf}
        self._start |= {"repeats": _HOLDS, "moved": 0, "distance": np.inf}
        self._start |= {"factor": np.nan, "factor_at": -np.inf, "lengths": 0.0, "limit": np.nan, "high": 0.0}
        self._start |= {"second": 1.0, "event": False, "newest": 1.0, "newest_plain": 1.0, "bursts": 0.0}

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` entities."""
        for name, old in self._own.items():
            new = np.full((capacity, *old.shape[1:]), self._start[name], old.dtype)
            new[: len(old)] = old
            self._own[name] = new
        for covariances in self._covariances:
            covariances.grow(capacity)
        self._regularity.grow(capacity)

    def forget(self, rows: Rows) -> None:
        """Reset the state of the entities in `rows` to what was learned from all entities."""
        for name, array in self._own.items():
            array[rows] = self._start[name]
        for covariances in self._covariances:
            covariances.forget(rows)
        self._regularity.forget(rows)

    def settle(self, rows: Rows) -> None:
        """Reset the recent severity of the entities in `rows`."""
        for name in ("smooth", "newest", "plain", "newest_plain", "previous", "before", "high", "event"):
            self._own[name][rows] = self._start[name]

    def judge(self, at: float, matrix: GroupMatrix, load: FloatArray, seconds: float) -> Joint:
        """Judge one instant, then learn it; see `JointDetector`."""
        own = {name: array[: len(matrix.z)] for name, array in self._own.items()}
        vectors = self._vectors(at, matrix, own, seconds)
        held = self._held(vectors[1], own)
        lengths, parts = np.full((2, 3, len(matrix.z)), np.nan), np.zeros((3, *matrix.z.shape))
        loaded, second = self._loaded(at, load, own, seconds), own["second"].copy()
        distance = np.abs(matrix.z)
        # A change is ordinary where it leads from one ordinary level to another; a load is explained as it is.
        distances = (distance, np.fmax(distance, own["distance"]))
        own["distance"][...] = distance
        for index, vector in enumerate(vectors):
            rows: Rows | slice = slice(None)
            if index == 2:
                # What is left of a change matters only where there was one.
                newest = np.fmax(own["newest"][:, 1, -1], own["newest_plain"][:, 1, -1])
                rows = np.flatnonzero(is_large(np.fmax(lengths[1, 1], newest), own["limit"]))
            far = np.where(np.isnan(loaded)[:, None], distances[index > 0], np.inf)
            some = Vectors(vector[rows], far[rows], loaded[rows], second[rows], changes=index > 0)
            lengths[:, index, rows], parts[index, rows] = self._lengths(some, matrix, own, rows)
        own["bursts"] *= np.exp(-seconds / _BURSTS)
        own["bursts"] += bursts(own["newest"][:, 0], lengths[0, 0], own["limit"])
        bursting = (own["bursts"] >= 0.5) & (seconds <= _BRIEF)
        sudden = smoothed(own["plain"], own["newest_plain"], lengths[1].T, own["limit"], bursting)
        sudden |= smoothed(own["smooth"], own["newest"], lengths[0].T, own["limit"], bursting)
        can = ~np.isnan(lengths[1]).all(axis=0)
        joint = own["smooth"].max(axis=1)
        severity = np.where(can, self._severity(joint, own["limit"]), np.nan)
        own["event"][...] = (severity >= 1.0) | (own["event"] & (severity >= _OVER))
        severity = np.where(own["event"], np.maximum(severity, 1.0), severity)
        excused = ~np.isnan(loaded) & (severity < 1.0) & (self._severity(own["plain"].max(axis=1), own["limit"]) >= 1.0)
        changed = np.where((lengths[0, 2] > lengths[0, 1])[:, None], parts[2], parts[1])
        part = np.where((own["smooth"][:, 1] > own["smooth"][:, 0])[:, None], changed, parts[0])
        total = part.sum(axis=1, keepdims=True)
        share = np.divide(part, total, out=np.zeros_like(part), where=can[:, None] & (total > 0.0))
        self._count(np.where(can & ~held, joint, np.nan), severity, own, seconds)
        for covariances, vector, length in zip(self._covariances, vectors[:2], lengths[1, :2], strict=True):
            # While an event lasts, what is learned is as long as usual: what stays for hours must not become typical.
            far = np.fmax(length, 1.0)
            event = (severity >= _EVENT) | (joint >= _LONGEST) | sudden
            short = np.where(event, 1.0 / np.sqrt(far), 1.0)[:, None]
            mean = covariances.scale(len(vector))[0]
            covariances.learn(
                np.where((excused | held)[:, None], np.nan, mean + short * (vector - mean)), matrix.expected, seconds
            )
        return Joint(self._regularity.step(at, severity, own["event"], seconds), share, excused)

    def _lengths(
        self, some: Vectors, matrix: GroupMatrix, own: Mapping[str, Array], rows: Rows | slice
    ) -> tuple[FloatArray, FloatArray]:
        """Return the lengths of vectors of `rows`, as a load leaves them and without regard to it, and their parts."""
        covariances = self._covariances[int(some.changes)]
        scale = [array[rows] for array in covariances.scale(len(matrix.z))]
        counting = limited(some, matrix.least[rows], *scale)
        white = covariances.whiten(counting, rows)
        number = (~np.isnan(some.vector)).sum(axis=1)
        ready = (number >= 2) & (covariances.count[: len(matrix.z)][rows].max(axis=1) >= _LEARNING)
        parts, length = self._measured(changing(white) if some.changes else deviating(white, some.second), number)
        if not some.changes:
            self._learn_second(white, ready, own)
        plain = np.where(ready, length, np.nan)
        lengths = np.stack([plain, plain])
        here = np.flatnonzero(~np.isnan(some.loaded) & ready)
        if len(here):
            entities, factor = np.arange(len(matrix.z))[rows][here], some.loaded[here]
            left = self._beside(covariances, counting[here], matrix, entities, factor, deviating=not some.changes)
            squares = changing(left) if some.changes else deviating(left, some.second[here])
            beside, length = self._measured(squares, number[here] - 1)
            better = length < plain[here]
            lengths[0, here[better]], parts[here[better]] = length[better], beside[better]
        return lengths, parts

    def _vectors(self, at: float, matrix: GroupMatrix, own: Mapping[str, Array], seconds: float) -> list[FloatArray]:
        """Return deviations, and changes since the last instant and the one before, source units; NaN: none."""
        present = ~np.isnan(matrix.z)
        observed = np.where(present, matrix.observed, np.nan)
        fresh = at - own["previous_at"] <= _LATE * seconds
        previous, before = (np.where(fresh[:, None], own[name], np.nan) for name in ("previous", "before"))
        own["before"][...], own["previous"][...] = previous, observed
        own["previous_at"][present.any(axis=1)] = at
        return [observed - matrix.expected, observed - previous, observed - before]

    def _held(self, change: FloatArray, own: Mapping[str, Array]) -> BoolArray:
        """Return which entities hold the values of their last reading, shape (n,): it is judged, and not learned again.

        Where metrics are read less often than they are judged, or their history was, no metric moves between two
        readings. An entity that never moved is constant.
        """
        compared = ~np.isnan(change).all(axis=1)
        moves = (np.nan_to_num(change) != 0.0).any(axis=1)
        first = moves & (own["moved"] == 0)
        for covariances in self._covariances:
            covariances.limit(np.flatnonzero(first), 1.0)
        own["moved"] |= moves
        own["repeats"] += np.where(compared, _RECENT * (~moves - own["repeats"]), 0.0)
        held: BoolArray = compared & ~moves & (own["moved"] > 0) & (own["repeats"] > _HOLDS)
        return held

    @staticmethod
    def _loaded(at: float, load: FloatArray, own: Mapping[str, Array], seconds: float) -> FloatArray:
        """Return the factor of a load now or a little while ago, shape (n,); NaN where there is none.

        A metric that strays for a sample does not end a load, and its end is a change by the same factor.
        """
        here = ~np.isnan(load)
        own["factor"][here] = load[here]
        own["factor_at"][here] = at
        return np.where(at - own["factor_at"] <= _LINGERING * seconds, own["factor"], np.nan)

    @staticmethod
    def _learn_second(white: FloatArray, ready: BoolArray, own: Mapping[str, Array]) -> None:
        """Learn how large the second largest component is where nothing is wrong."""
        second = np.sort(white**2, axis=1)[:, -2]
        own["second"] += np.where(ready, _STEADY * (np.minimum(second, ALONE) - own["second"]), 0.0)

    def _measured(self, squares: FloatArray, number: Array) -> tuple[FloatArray, FloatArray]:
        """Return the metrics' parts and the mean square, as if all metrics were there: a mean of fewer strays more."""
        length = squares.sum(axis=1) / np.maximum(number, 1)
        return squares, np.maximum(1.0 + (length - 1.0) * np.sqrt(np.maximum(number, 1) / self._metrics), 0.0)

    def _beside(
        self,
        covariances: Covariances,
        vector: FloatArray,
        matrix: GroupMatrix,
        rows: Rows,
        factor: FloatArray,
        *,
        deviating: bool,
    ) -> FloatArray:
        """Return the whitened components of what loads leave, without those along the loads; shape (m, p)."""
        mean, spread, correlation = covariances.scaled(rows)
        expected = np.where(np.isnan(vector), 0.0, matrix.expected[rows])
        present = ~np.isnan(vector)
        if deviating:
            vector = vector - (factor[:, None] - 1.0) * expected
        every = np.arange(self._metrics)
        correlation[:, every, every] += (spread_of(factor)[:, None] * expected / spread) ** 2
        # In standard deviations of their own, so that none is too small beside the largest.
        unit = np.sqrt(np.maximum(correlation[:, every, every], 1e-6))
        correlation = correlation / (unit[:, :, None] * unit[:, None, :])
        matrices = whitening(correlation, present, covariances.ridge)
        left = np.where(present, (vector - mean) / spread, 0.0) / unit
        along = np.where(present, expected / spread, 0.0) / unit
        left, along = (np.einsum("nij,nj->ni", matrices, each) for each in (left, along))
        much = (left * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-12)
        beside: FloatArray = np.where(present, left - much[:, None] * along, 0.0)
        return beside

    # ------------------------------------------------------------------ how rare a length is

    def _severity(self, lengths: FloatArray, limit: Array) -> FloatArray:
        """Return the severities of smoothed lengths: they are squares."""
        severity: FloatArray = np.sqrt(lengths / limit)
        return severity

    def _count(self, lengths: FloatArray, severity: FloatArray, own: Mapping[str, Array], seconds: float) -> None:
        """Count smoothed lengths, and set the limits of every entity after each block."""
        # However long it takes, an event is one event: it must not become typical while it lasts.
        now = severity >= _EVENT
        most = np.minimum(lengths, np.where(np.isnan(own["limit"]), np.inf, _COUNTED * own["limit"]))
        counted_by_row(np.where(now & (own["high"] > 0.0), np.nan, most), own["lengths"])
        own["high"][...] = now
        self._steps[0] += 1.0
        if self._steps[0] % BLOCK:
            return
        memory = min(self.memory, max(_YOUNG, _YOUTH * self._steps[0] * seconds))
        own["lengths"] *= np.float32(np.exp(-BLOCK * seconds / memory))
        together = own["lengths"].sum(axis=0, dtype=np.float64)
        total = together.sum()
        if total >= _ENOUGH:
            past = own["lengths"] + _POOL * together / total
            share = self.contamination or float(np.clip(_RATE * seconds, _LEAST_SHARE, _MOST_SHARE))
            lowest = min(_LOWEST, 1.0 + _LOWEST_OF_ALL / np.sqrt(self._metrics))
            own["limit"][...] = np.clip(exceeded(past, float(total), share), lowest, _HIGHEST)

    # ------------------------------------------------------------------ state

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name."""
        parts = {
            f"{kind}_{name}": array
            for kind, covariances in zip(("deviation", "change"), self._covariances, strict=True)
            for name, array in covariances.arrays().items()
        }
        return {**self._own, **parts, **self._regularity.arrays(), "steps": self._steps}

    def restore(self, parts: Mapping[str, Array], size: int) -> bool:
        """Restore stored state; see `JointDetector`."""
        # What an earlier version did not store: its entities are old enough to have moved.
        fresh: dict[str, Array] = {"repeats": np.full(size, _HOLDS), "moved": np.ones(size, np.int8)}
        fresh |= {"second": np.ones(size), "event": np.zeros(size, np.bool_)}
        fresh |= {name: np.ones((size, 2, BACK)) for name in ("newest", "newest_plain")} | {"bursts": np.zeros(size)}
        nothing = np.full((size, self._metrics), np.nan)
        parts = {**fresh, "distance": np.full_like(nothing, np.inf), "before": nothing, **parts}
        for name, array in self._own.items():
            if name not in parts or parts[name].shape != (size, *array.shape[1:]):
                return False
        if parts.get("steps", np.zeros(0)).shape != (1,):
            return False
        new = [Covariances(self._metrics, ridge=ridge, memory=self.memory, refit=HOUR) for ridge in _RIDGES]
        for kind, covariances in zip(("deviation_", "change_"), new, strict=True):
            mine = {name.removeprefix(kind): array for name, array in parts.items() if name.startswith(kind)}
            if not covariances.restore(mine, size):
                return False
        self._covariances = new
        self._regularity.restore(parts, size)
        self._own = {name: parts[name].astype(array.dtype) for name, array in self._own.items()}
        self._steps = parts["steps"].astype(np.float64)
        return True
