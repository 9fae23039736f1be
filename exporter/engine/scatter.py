"""Variance of uncorrelated noise: the mean square of what samples are off those before, over three blocks.

Where samples are not correlated, each says as much about the noise as any other, so the mean of three dozen bounded
squares is nearly a gamma variable, whatever the tails of the noise. Its limit is a quantile of that variable with the
mean and the variance that such means of the series have had. An extrapolation of the largest means, as for correlated
samples, needs a limit half as large again for the same false alerts.
"""

from __future__ import annotations

import numpy as np

from exporter.engine.columns import Array, Column
from exporter.engine.constants import UNITY, ZERO, single
from exporter.engine.learning_steps import LearningSteps
from exporter.engine.ordered import any_of, clip, cube_root

__all__ = ["NEIGHBOURS", "SCATTER", "SQUARE", "Scatter"]

NEIGHBOURS = 6
"""Samples before it that a sample is compared with. Those of another hour may have been expected elsewhere."""
BOUND, JUMP = single(5.0), single(8.0)
"""A distance counts at most as this many typical ones, and a larger one not at all: it is a jump, and no noise."""
SQUARE = single(2.0 / np.pi)
"""Square of the typical distance of normal noise with a variance of 1."""
LEAST, FULL = 24, 33
"""Samples that the mean must be of, and as many as it has where none is left out."""
YOUNG, READY = 48, 96
"""Blocks before anything is learned, and before there is a limit."""
BEGIN, MEMORY = 10.0, 672.0
"""Blocks that the first mean counts as, and those that it is a mean of in the end: four weeks of five minutes."""
CLIP, QUANTILE = single(3.0), single(3.85)
"""Deviates of the normal distribution whose quantiles count at most when they are learned, and are the limit."""
TAILED, TAILED_MOST = single(0.105), single(1.4)
"""Variance of the means in squares of their mean from which on the deviate is larger in proportion, and how much at
most: where tails are wide the means have wider ones than a gamma variable. Normal noise has 0.05."""
SMALLEST = single(1.8)
"""Part of the typical mean that the limit is at least."""
BIRTH = single(0.1)
"""Variance to begin with."""

NINE = single(9.0)

SCATTER = {
    "noise_near": Column((NEIGHBOURS,), np.float32, np.nan),  # The last samples.
    "noise_squares": Column((3,), np.float32),  # Sums of the squares of the block under way and the two before,
    "noise_many": Column((3,), np.uint8),  # and of how many samples.
    "noise_typical": Column((2,), np.float32, np.nan),  # Mean and variance of the means of three blocks.
    "noise_blocks": Column((), np.int16),  # Blocks that were learned, or are too early for it.
    "noise_limit": Column((), np.float32, np.nan),  # The limit.
}
"""State for the layout of a detector."""


class Scatter:
    """The means of the bounded squares of some series, in columns of `SCATTER`."""

    def __init__(self, state: dict[str, Array]) -> None:
        self._state = state

    def severity(self, sizes: Array, counts: Array, steps: LearningSteps) -> Array:
        """Return the deviate of the mean square over that of its limit, shape (t, n); NaN: there is none yet.

        Given are distances in typical ones, and which count. The deviate is as far from normal as the deviation of
        a sample, so that a threshold means the same of both.
        """
        sums, many = self._state["noise_squares"], self._state["noise_many"]
        counts = counts & (sizes <= JUMP)
        bounded = np.where(counts, np.minimum(sizes, BOUND) ** 2 * SQUARE, ZERO)
        totals = np.add.accumulate(np.concatenate([sums[:1], steps.of(bounded)]), axis=0)
        numbers = np.add.accumulate(np.concatenate([many[:1], steps.of(counts)]), axis=0, dtype=np.uint8)
        total = steps.at_each(totals) + bounded + (sums[1] + sums[2])
        count = steps.at_each(numbers) + counts + (many[1] + many[2])
        sums[0], many[0] = totals[-1], numbers[-1]
        mean = total / np.maximum(count, np.uint8(1)).astype(np.float32)
        # A mean of fewer samples is farther off by chance.
        typical, variance = self._state["noise_typical"]
        exact = np.sqrt(np.minimum(count, FULL).astype(np.float32) * np.float32(1.0 / FULL))
        part = variance / (NINE * typical * typical)
        beyond = cube_root(UNITY + exact * (mean / typical - UNITY)) - UNITY + part
        severity: Array = np.maximum(beyond / (cube_root(self._state["noise_limit"] / typical) - UNITY + part), ZERO)
        return np.where(count >= LEAST, severity, ZERO * severity)

    def end_block(self) -> None:
        """Learn the mean of the last three blocks, and begin a new one."""
        state = self._state
        sums, many, learnt = state["noise_squares"], state["noise_many"], state["noise_blocks"]
        count = many[0] + many[1] + many[2]
        here = (count >= LEAST) & (many[0] > 0)
        now = (sums[0] + sums[1] + sums[2]) / np.maximum(count, np.uint8(1)).astype(np.float32)
        mean, variance = state["noise_typical"]
        counts = here & (learnt >= YOUNG)
        if any_of(counts):
            first, older = np.isnan(mean), counts & (learnt > READY)
            most = np.where(older, _quantile(mean, variance, CLIP), np.float32(np.inf))
            rate = UNITY / clip(learnt - YOUNG + BEGIN, BEGIN, MEMORY).astype(np.float32)
            away = np.minimum(now, most) - mean
            np.copyto(mean, np.where(first, now, mean + rate * away), where=counts)
            new = np.where(first, BIRTH, variance + rate * (away * away - variance))
            np.copyto(variance, new, where=counts)
            deviate = QUANTILE * clip(variance / (TAILED * mean * mean), 1.0, TAILED_MOST)
            limit = np.maximum(_quantile(mean, variance, deviate), SMALLEST * mean)
            np.copyto(state["noise_limit"], limit, where=older)
        learnt += here & (learnt < np.iinfo(np.int16).max)
        for columns in (sums, many):
            columns[1:] = columns[:-1].copy()
            columns[0] = 0

    def reset(self, rows: Array) -> None:
        """Begin the means of `rows` anew: another level has another noise."""
        for name in ("noise_near", "noise_squares", "noise_many"):
            self._state[name][:, rows] = SCATTER[name].initial


def _quantile(mean: Array, variance: Array, deviate: Array) -> Array:
    """Return a quantile of the gamma distribution with such moments, shape (n,) (Wilson and Hilferty 1931)."""
    part = variance / (NINE * mean * mean)
    root = UNITY - part + deviate * np.sqrt(part)
    quantile: Array = mean * root * root * root
    return quantile
