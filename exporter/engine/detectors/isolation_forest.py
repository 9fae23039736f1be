"""Isolation forest on what every series has in common: its deviation and its change, in its own standard deviations."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from exporter.engine.detectors.base import (
    BLOCK,
    Array,
    Column,
    DetectorResult,
    FloatArray,
    Rows,
    SampleBatch,
    State,
    StatefulDetector,
    split_by_side,
)
from exporter.engine.isolation_trees import IsolationTrees

__all__ = ["IsolationForest"]

TREES, SAMPLES = 200, 8192
"""Of the forest, and vectors that it is trained on: training takes half a second, once."""
CELLS = 96
"""Of the table in each direction: 75 KB."""
FARTHEST = 16.0
"""Standard deviations beyond which nothing is easier to tell apart: training has hardly any vectors there."""
RATE = 0.005
"""How fast the threshold of a series follows its own scores, in scores a sample: as slow as a share of 1 % needs, which
is seen once in a hundred samples."""
HIGHEST = 0.9
"""Of the way from a typical score to the highest one: the farthest values are anomalous to every series."""
_SEED = 20080117


class IsolationForest(StatefulDetector):
    """How few random cuts it takes to tell a sample from usual ones [1]_, by its deviation and its change.

    The two features are the distance from the mean of the hour of the week and the change since the sample before, both
    in standard deviations of that hour and without their sign. Standardised features of all series are alike, so one
    forest serves all of them: it is trained once, on heavy-tailed noise that is correlated as metrics are, and not on
    the series of a query. So no series changes the scores of another, and one alone has the scores that it has
    among many.
    Each series has a threshold of its own, the score that a share of `contamination` of its samples exceeds.

    Fails where `zscore` fails, because it sees the same mean and deviation; it adds the sudden change. Far values are
    all alike to it: the severity ends at about 2. By construction it calls about `contamination` of all samples
    anomalous, whatever they are.

    Parameters
    ----------
    contamination : float, 0..0.5
        Share of the samples of a series with a severity of 1 or more.

    References
    ----------
    .. [1] F. T. Liu, K. M. Ting, Z.-H. Zhou (2008), Isolation Forest. ICDM. doi:10.1109/ICDM.2008.17
    """

    interval: ClassVar[bool] = False

    kind: Literal["isolation_forest"] = Field(
        "isolation_forest", description="Easy to tell from usual samples by random cuts of deviation and change."
    )
    contamination: float = Field(
        0.01, gt=0, lt=0.5, allow_inf_nan=False, description="Share of the samples of a series that is anomalous."
    )

    layout: ClassVar[Mapping[str, Column]] = {
        "before": Column((), np.float32, np.nan),  # The deviation of the last sample.
        "above": Column((), np.float32),  # How much the threshold is above that of the noise.
        "scores": Column((BLOCK,), np.float32, np.nan),  # Of the block that is going on.
    }

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series, and note their scores."""
        state, table = batch.state, _table()
        spread = np.maximum(batch.stats.std, batch.resolution)
        deviation = (batch.level - batch.stats.mean) / spread
        change = np.empty_like(deviation)
        before = state["before"]
        steps = batch.steps
        for index, (now, usable) in enumerate(zip(deviation, batch.usable, strict=True)):
            change[index] = np.where(np.isnan(before), 0.0, now - before)
            if steps.flags[index]:
                before[...] = np.where(usable, now, before)
        score = table.score(np.abs(deviation), np.abs(change))
        if steps.count:
            block = slice(batch.index, batch.index + steps.count)
            state["scores"][block] = steps.of(np.where(batch.usable, score, np.nan))
        threshold = self._threshold(table, state["above"])
        severity = np.maximum(score - table.typical, 0.0) / (threshold - table.typical)
        return split_by_side(batch, severity, batch.mean)

    def learn(self, state: State, block: int) -> None:  # noqa: ARG002
        """Let the threshold follow the scores of the block."""
        table, share = _table(), self.contamination
        above = state["above"]
        for score in state["scores"]:
            step = np.where(score > self._threshold(table, above), 1.0 - share, -share)
            above += np.where(np.isnan(score), 0.0, RATE * step)
        start = table.quantile(share)
        highest = table.typical + HIGHEST * (table.highest - table.typical)
        # Never so near to a typical score that noise of rounding is an anomaly.
        np.clip(above, 0.5 * (table.typical - start), highest - start, out=above)
        state["scores"][...] = np.nan

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:  # noqa: ARG002
        """Forget the last sample: its deviation was from the old level."""
        state["before"][rows] = np.nan

    def _threshold(self, table: _Table, above: Array) -> FloatArray:
        threshold: FloatArray = table.quantile(self.contamination) + above.astype(np.float64)
        return threshold


class _Table(NamedTuple):
    """The scores of the forest on a grid of both features; between its points they are interpolated.

    Attributes
    ----------
    scores : ndarray, shape (CELLS + 1, CELLS + 1)
    typical, highest : float
        The median of the training scores, and the highest score there is.
    training : ndarray
        The training scores, sorted.
    """

    scores: FloatArray
    typical: float
    highest: float
    training: FloatArray

    def quantile(self, share: float) -> float:
        """Return the score that a share of the training data exceeds."""
        return float(self.training[int((1.0 - share) * (len(self.training) - 1))])

    def score(self, deviation: FloatArray, change: FloatArray) -> FloatArray:
        """Return the scores of samples, shape (t, n); NaN stays."""
        x, y = _grid_position(deviation), _grid_position(change)
        valid = ~np.isnan(x + y)
        i, j = (np.minimum(np.where(valid, place, 0.0).astype(np.intp), CELLS - 1) for place in (x, y))
        u, v = x - i, y - j
        table = self.scores
        low = table[i, j] + v * (table[i, j + 1] - table[i, j])
        high = table[i + 1, j] + v * (table[i + 1, j + 1] - table[i + 1, j])
        score: FloatArray = low + u * (high - low)
        return score


def _grid_position(size: FloatArray) -> FloatArray:
    """Return where a feature lies on the grid: fine near zero, coarse far out."""
    position: FloatArray = np.log1p(np.minimum(size, FARTHEST)) * (CELLS / np.log1p(FARTHEST))
    return position


@functools.cache
def _table() -> _Table:
    """Train the forest and evaluate it on the grid: the same in every process, and it takes a second."""
    rng = np.random.default_rng(_SEED)
    tails = np.sqrt(2.0 / 4.0) * rng.standard_t(4.0, (2, SAMPLES))
    correlation = rng.choice([0.0, 0.5, 0.9], SAMPLES)
    now, before = tails[0], correlation * tails[0] + np.sqrt(1.0 - correlation**2) * tails[1]
    features = np.column_stack([np.abs(now), np.abs(now - before)])
    # Cuts fall evenly over the grid as they do over the logarithms, so that far values do not take most of them.
    forest = IsolationTrees(_grid_position(features), TREES, _SEED)
    training = np.sort(forest.scores(_grid_position(features)))
    points = np.arange(CELLS + 1.0)
    grid = np.column_stack([np.repeat(points, CELLS + 1), np.tile(points, CELLS + 1)])
    # A farther value never scores lower: where there was nothing to cut in training, chance decided.
    scores = forest.scores(grid).reshape(CELLS + 1, CELLS + 1)
    scores = np.maximum.accumulate(np.maximum.accumulate(scores, axis=0), axis=1)
    return _Table(scores, float(np.median(training)), float(scores.max()), training)
