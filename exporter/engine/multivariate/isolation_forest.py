"""Isolation Forest [1]_: entities whose metrics are easy to separate from all others by random cuts.

The features are the metrics in standard deviations from their own means, and their rates of change: a sudden jump is
not the same as a slow rise to the same value. Each has a forest of its own, and the larger severity counts: changes,
which are over after a sample, would hide values that stay far. They serve all entities of a group, because
standardised metrics of different entities are alike. They are trained on a bounded sample of the last 30 days.

It looks at one metric a cut, so it is nearly blind to broken correlations: measured, `whitened` is better by far
(docs/groups.md). A missing metric counts as its mean.

References
----------
.. [1] F. T. Liu, K. M. Ting, Z.-H. Zhou (2008), Isolation Forest. ICDM. doi:10.1109/ICDM.2008.17
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from exporter.engine.isolation_trees import IsolationTrees
from exporter.engine.multivariate.inputs import GroupMatrix
from exporter.engine.multivariate.joint import LONGEST, Array, FloatArray, Joint, Rows
from exporter.engine.seconds import DAY, HOUR

__all__ = ["Forest", "JointForest", "fit"]

CAPACITY = 8192
"""Vectors that are kept for training, of all entities together: half a megabyte for eight metrics, and a second of
training."""
_ENOUGH, _WHOLE = 64, 512
"""Vectors before a forest is trained, and until which it is trained again whenever there are twice as many: each of its
trees is grown on 256."""
_RETRAIN_AFTER, _RETRAIN_AGAIN = 7 * DAY, 6 * HOUR
"""Seconds: how old a forest gets, and how old it must be before drift can replace it."""
_DRIFT = 0.2
"""Population stability index from which scores have drifted; by convention a significant change."""
_DRIFT_MEMORY, _DRIFT_ENOUGH = DAY, 500.0
"""Seconds in which scores fade from that index, and scores it needs: 50 in each tenth."""
_UNDER_LOAD = 0.5
"""Severity at most where all metrics are up together: a forest cannot say what is left of them without the load."""
_NOISE = 3.0
"""Standard deviations up to which nothing is beyond what was seen, however little that is."""
_SEED = 20080117
_TREES = 50
"""Of each forest. The paper saw path lengths converge well before 100, and there are two."""


@dataclass(frozen=True, slots=True)
class Forest:
    """Two trained forests, of values and of changes, and what their scores were in training.

    Attributes
    ----------
    models : tuple of IsolationTrees
    typical, reach : ndarray, shape (2,)
        The median of the training scores of each, and how far from it a score is at severity 1.
    farthest : ndarray, shape (2 p,)
        The largest size of each feature in training. Trees cannot say how far beyond it a vector is.
    deciles : ndarray, shape (9,)
        Of the severities in training.
    at : float, Unix seconds
        When the training data ended.
    size : int
        Vectors that it was trained on.
    """

    models: tuple[IsolationTrees, IsolationTrees]
    typical: FloatArray
    reach: FloatArray
    farthest: FloatArray
    deciles: FloatArray
    at: float
    size: int

    def severity(self, features: FloatArray) -> FloatArray:
        """Return the severities of vectors, shape (m, 2 p): the larger of those of the two forests.

        Beyond what was seen in training they grow with the distance.
        """
        beyond = np.maximum((np.abs(features) / self.farthest).max(axis=1), 1.0)
        severity: FloatArray = beyond * _severity(_scores(self.models, features), self.typical, self.reach)
        return severity


def _scores(models: tuple[IsolationTrees, IsolationTrees], features: FloatArray) -> FloatArray:
    """Return the scores of values and of changes, shape (2, m)."""
    halves = np.split(features, 2, axis=1)
    return np.array([model.scores(half) for model, half in zip(models, halves, strict=True)])


def _severity(scores: FloatArray, typical: FloatArray, reach: FloatArray) -> FloatArray:
    severity: FloatArray = np.maximum((scores - typical[:, None]) / reach[:, None], 0.0).max(axis=0)
    return severity


def fit(features: FloatArray, contamination: float, at: float) -> Forest:
    """Train a forest; equal arguments give equal forests. May take a second: meant for a thread of its own.

    Parameters
    ----------
    features : ndarray, shape (m, 2 p)
        Values, and their changes.
    contamination : float
    at : float, Unix seconds
    """
    values, changes = (IsolationTrees(half, _TREES, _SEED) for half in np.split(features, 2, axis=1))
    scores = _scores((values, changes), features)
    typical, reach = np.quantile(scores, [0.5, 1.0 - contamination], axis=1)
    reach = np.maximum(reach - typical, 1e-6)
    # Both together are as often beyond it as each alone is to be.
    reach *= max(float(np.quantile(_severity(scores, typical, reach), 1.0 - contamination)), 1e-6)
    deciles = np.quantile(_severity(scores, typical, reach), np.arange(1, 10) / 10)
    farthest = np.maximum(np.abs(features).max(axis=0), _NOISE)
    return Forest((values, changes), typical, reach, farthest, deciles, at, len(features))


class JointForest:
    """The joint detector ``isolation_forest``.

    Parameters
    ----------
    metrics : int
    contamination : float, 0 to 1
        Share of the training data with a severity of 1 or more.
    memory : float, seconds
        How far back the training data goes.
    """

    def __init__(self, metrics: int, contamination: float, memory: float) -> None:
        self.contamination = contamination
        self.memory = memory
        self.forest: Forest | None = None
        """Set by whoever trained it; not stored, because it can be trained again from what is."""
        self._metrics = metrics
        self._previous = np.zeros((0, metrics), np.float32)
        self._kept = np.zeros((CAPACITY, 2 * metrics), np.float32)
        self._kept_at = np.full(CAPACITY, -np.inf)
        self._steps = np.zeros(1)
        self._recent = np.zeros(10)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` entities."""
        new = np.full((capacity, self._metrics), np.nan, np.float32)
        new[: len(self._previous)] = self._previous
        self._previous = new

    def forget(self, rows: Rows) -> None:
        """Reset the state of the entities in `rows`."""
        self._previous[rows] = np.nan

    def settle(self, rows: Rows) -> None:
        """Forget the previous samples of the entities in `rows`: they were measured against another level."""
        self._previous[rows] = np.nan

    def judge(self, at: float, matrix: GroupMatrix, load: FloatArray, seconds: float) -> Joint:
        """Judge one instant, then keep a sample of it for training; see `JointDetector`."""
        z = matrix.z
        previous = self._previous[: len(z)]
        present = ~np.isnan(z)
        value = np.where(present, np.clip(z, -LONGEST, LONGEST), 0.0)
        change = np.where(present & ~np.isnan(previous), value - previous, 0.0)
        previous[...] = np.where(present, value, np.nan)
        features = np.concatenate([value, change], axis=1)
        can = np.flatnonzero(present.sum(axis=1) >= 2)
        severity = np.full(len(z), np.nan)
        forest = self.forest
        if forest is not None and len(can):
            severity[can] = forest.severity(features[can])
            self._recent *= np.exp(-seconds / _DRIFT_MEMORY)
            self._recent += np.bincount(np.searchsorted(forest.deciles, severity[can]), minlength=10)
        size = features[:, : self._metrics] ** 2 + features[:, self._metrics :] ** 2
        total = size.sum(axis=1, keepdims=True)
        share = np.divide(size, total, out=np.zeros_like(size), where=total > 0.0)
        loaded = ~np.isnan(load)
        excused = loaded & (severity > _UNDER_LOAD)
        severity[loaded] = np.minimum(severity[loaded], _UNDER_LOAD)
        self._keep(at, features[can[~loaded[can]]], seconds)
        return Joint(severity, share, excused)

    def _keep(self, at: float, features: FloatArray, seconds: float) -> None:
        """Keep a random sample that is spread evenly over the memory."""
        self._steps[0] += 1.0
        rng = np.random.default_rng([_SEED, int(self._steps[0])])
        free = np.flatnonzero(self._kept_at == -np.inf)
        first = min(len(free), len(features))
        self._put(free[:first], features[:first], at)
        rest = features[first:]
        expected = len(features) * max(self.memory / seconds, 1.0)
        rest = rest[rng.random(len(rest)) < CAPACITY / max(expected, CAPACITY)]
        self._put(rng.integers(0, CAPACITY, len(rest)), rest, at)

    def _put(self, places: Rows, features: FloatArray, at: float) -> None:
        self._kept[places] = features
        self._kept_at[places] = at

    def training(self, at: float) -> FloatArray:
        """Return a copy of the training data, shape (m, 2 p): for `fit`."""
        return self._kept[self._kept_at >= at - self.memory].astype(np.float64)

    def due(self, at: float) -> bool:
        """Return whether a forest should be trained: there is none, it is of few vectors or old, or scores drifted."""
        kept = np.count_nonzero(self._kept_at >= at - self.memory)
        if kept < _ENOUGH:
            return False
        if self.forest is None or (self.forest.size < _WHOLE and kept >= 2 * self.forest.size):
            return True
        age = at - self.forest.at
        return age >= _RETRAIN_AFTER or (age >= _RETRAIN_AGAIN and self.drift() > _DRIFT)

    def drift(self) -> float:
        """Return the population stability index of the last day's scores against those of the training."""
        total = self._recent.sum()
        if total < _DRIFT_ENOUGH:
            return 0.0
        recent = np.maximum(self._recent / total, 1e-4)
        return float(((recent - 0.1) * np.log(recent / 0.1)).sum())

    def adopt(self, forest: Forest) -> None:
        """Replace the forest."""
        self.forest = forest
        self._recent[...] = 0.0

    def arrays(self) -> dict[str, Array]:
        """Return all of the state but the forest, by name."""
        return {"previous": self._previous, "kept": self._kept, "kept_at": self._kept_at, "steps": self._steps}

    def restore(self, parts: Mapping[str, Array], size: int) -> bool:
        """Restore stored state; see `JointDetector`."""
        mine = self.arrays()
        for name, array in mine.items():
            shape = (size, *array.shape[1:]) if name == "previous" else array.shape
            if name not in parts or parts[name].shape != shape:
                return False
        self._previous = parts["previous"].astype(np.float32)
        for name in ("kept", "kept_at", "steps"):
            mine[name][...] = parts[name]
        return True
