"""The last samples of each series, their features, and the slow signals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column
from exporter.engine.detectors.base import BLOCK
from exporter.engine.learning_steps import LearningSteps
from exporter.engine.ordered import add_up, count_of, median, pick, rolling_sum, sort, sum_with

__all__ = ["FEATURES", "RESIDUALS", "Recent", "recent_columns"]

FEATURES = 5
"""The sample; the same minus the running median, minus the sample before, minus the typical one at this time of the
day; and the mean of the last twelve of these residuals."""
RESIDUALS = slice(3, 5)
"""Those that are distances from the typical value."""
WINDOW = 48
"""Samples that the slow signals compare with the past: four blocks, four hours of five minutes."""
MEDIANS = 25
"""Blocks whose medians make the running median: a day of five minutes, so that no time of the day is the level."""
KEPT = 87
"""Samples, one of each block, that stand for the past of the distribution: three days and a half of five minutes,
besides the window of four."""
SLOW = 1.0 / 42.0
"""Part of a new block in the running variance: two days of five minutes."""
_ENOUGH = 8
"""Samples of the past before a distribution can be compared with it: fewer say little about nine deciles."""
_PSEUDO_COUNT = 0.05 / WINDOW
"""Part of the samples that every bin has at least, so that no ratio is infinite: a twentieth of one sample."""
_TENTHS = np.arange(1, 10)[:, None]
_NOTHING = 0.01
"""A relative entropy below this is rounding of the shares: 48 samples cannot have just a tenth in each bin."""
_FLOOR = 1e-3
"""Part of the range of the past that a standard deviation counts as at least."""
_EDGE = 0.05
"""Part of the past beyond its range, at both ends: outliers are no range."""


def recent_columns() -> dict[str, Column]:
    """Return the state, all in baseline units."""
    return {
        "recent.sample": Column((WINDOW + BLOCK,), np.float32, np.nan),
        "recent.residual": Column((2 * BLOCK,), np.float32, np.nan),
        "recent.medians": Column((MEDIANS,), np.float32, np.nan),
        "recent.median": Column((), np.float32, np.nan),
        "past.sample": Column((KEPT,), np.float32, np.nan),
        "past.blocks": Column((), np.int32),
        "past.mean": Column((), np.float64),
        "past.variance": Column((), np.float64),
        "change.variance": Column((), np.float32, np.nan),
        "change.entropy": Column((), np.float32, np.nan),
    }


class Recent:
    """The last samples of some series: `sample` ends, and `residual` ends, with the block that is going on."""

    def __init__(self, columns: dict[str, Array]) -> None:
        self._columns = columns
        self._sample, self._residual = columns["recent.sample"], columns["recent.residual"]
        self.median = columns["recent.median"]
        self.change = columns["change.variance"], columns["change.entropy"]

    def append(self, index: int, sample: Array, usable: Array, steps: LearningSteps) -> Array:
        """Take in those samples of this block, shape (t, n), that are learned; `index` is the place of the first.

        Return all of them, with each unusable one as the one that was learned before it.
        """
        start = WINDOW + index
        here = self._sample[start : start + steps.count]
        here[...] = steps.of(sample)
        if not usable.all():
            for offset, ok in enumerate(steps.of(usable)):
                here[offset] = np.where(ok, here[offset], self._sample[start + offset - 1])
        if steps.every:
            return here
        return np.where(usable, sample, steps.at_each(self._sample, start - 1))

    def accept(self, rows: npt.NDArray[np.intp], by: Array) -> None:
        """Count the residuals of `rows` that are nearer to `by`, shape (m,), than to the typical value, from there."""
        before = self._residual[:, rows]
        after = before - by
        self._residual[:, rows] = np.where(np.abs(after) < np.abs(before), after, before)

    def features(self, index: int, sample: Array, typical: Array, steps: LearningSteps) -> Array:
        """Return the features of samples, shape (t, n), that `append` returned; shape (FEATURES, t, n), float32.

        The distances of those that are learned from their typical values are taken in.
        """
        start = BLOCK + index
        features = np.empty((FEATURES, *sample.shape), np.float32)
        features[0] = sample
        np.subtract(sample, self.median, out=features[1])
        np.subtract(sample, steps.at_each(self._sample, WINDOW + index - 1), out=features[2])
        features[3] = sample - typical
        self._residual[start : start + steps.count] = steps.of(features[3])
        before = self._residual[start - BLOCK + 1 : start + steps.most]
        features[4] = sum_with(before, features[3], BLOCK, steps.at_each) * np.float32(1.0 / BLOCK)
        return features

    def of_block(self) -> Array:
        """Return the features of the samples of the block that has ended, shape (FEATURES, BLOCK, n)."""
        sample = self._sample[WINDOW:]
        features = np.empty((FEATURES, *sample.shape), np.float32)
        features[0] = sample
        np.subtract(sample, self.median, out=features[1])
        np.subtract(sample, self._sample[WINDOW - 1 : -1], out=features[2])
        features[3] = self._residual[BLOCK:]
        features[4] = rolling_sum(self._residual[1:], BLOCK) * np.float32(1.0 / BLOCK)
        return features

    def end_block(self) -> None:
        """Add the block to the past."""
        columns = self._columns
        medians, kept = columns["recent.medians"], columns["past.sample"]
        block = sort(self._sample[WINDOW:])
        medians[:-1] = medians[1:]
        medians[-1] = np.float32(0.5) * (block[BLOCK // 2 - 1] + block[BLOCK // 2])
        self.median[...] = median(_begun(medians))
        kept[:-1] = kept[1:]
        kept[-1] = self._sample[-1]
        now, before = self._sample[BLOCK:], self._sample[:BLOCK]
        # What is still in the window is not the past.
        past = sort(_begun(kept[: -(WINDOW // BLOCK)]))
        count = count_of(~np.isnan(past))
        variance, entropy = self.change
        variance[...] = self._change_of_variance(now, before, past, count)
        entropy[...] = relative_entropy(now, past, count)
        self._sample[:-BLOCK] = self._sample[BLOCK:].copy()
        self._residual[:BLOCK] = self._residual[BLOCK:]

    def _change_of_variance(self, now: Array, before: Array, past: Array, count: Array) -> Array:
        """Return how much the standard deviation differs from its running mean, as the size of the log of the ratio.

        `before`, shape (BLOCK, n), is the block that leaves the window and joins the mean.
        """
        blocks, mean, variance = (self._columns[f"past.{name}"] for name in ("blocks", "mean", "variance"))
        new_mean, new_variance = _mean_and_variance(before)
        has = ~np.isnan(new_variance)
        blocks += has
        share = np.where(has, np.maximum(1.0 / np.maximum(blocks, 1), SLOW), 0.0)
        step = np.where(has, new_mean - mean, 0.0)
        mean += share * step
        variance[...] = (1.0 - share) * (variance + share * step * step) + share * np.where(has, new_variance, 0.0)

        # A series that stands still and then moves by its rounding has changed by a huge factor, and not at all.
        end = np.maximum(count - 1, 0)
        edge = (_EDGE * end).astype(np.int64)
        low, high = pick(past, np.array((edge, end - edge)))
        floor = _FLOOR * (high - low) + 1e-12
        ratio = (np.sqrt(_mean_and_variance(now)[1]) + floor) / (np.sqrt(variance) + floor)
        return np.where(blocks > 0, np.abs(np.log(ratio)), np.nan)


def _begun(rows: Array) -> Array:
    """Return rows from the first one that any series has."""
    return rows[int(np.isnan(rows).all(axis=1).argmin()) :]


def relative_entropy(now: Array, past: Array, count: Array) -> Array:
    """Return the relative entropy of samples against the past, over the deciles of the past; shape (n,).

    Parameters
    ----------
    now : ndarray, shape (t, n)
    past : ndarray, shape (m, n)
        Sorted, NaN last; `count`, shape (n,), are not NaN.
    """
    end = np.maximum(count - 1, 0)
    low, high = pick(past, np.array((_TENTHS * end // 10, (_TENTHS * end + 9) // 10)))
    deciles = np.float32(0.5) * (low + high)
    old, new = _shares(past, count, deciles), _shares(now, np.full(count.shape, len(now)), deciles)
    entropy = add_up(new * np.log(new / old)) / (1.0 + 10 * _PSEUDO_COUNT)
    entropy = np.where(entropy < _NOTHING, 0.0, entropy)
    return np.where((count >= _ENOUGH) & ~np.isnan(now[0]), entropy, np.nan)


def _shares(rows: Array, total: Array, deciles: Array) -> Array:
    """Return the part of `total` rows, shape (t, n), that lies between deciles, shape (9, n); shape (10, n).

    A sample on a decile counts to the outer side, so that the mirror image of a series has the same shares; one on
    the middle to both.
    """
    at_least, more = _number(rows >= deciles[:5, None]), _number(rows > deciles[4:, None])
    nothing = np.zeros_like(more[:1])
    above = np.concatenate([total[None], at_least[:4], 0.5 * (at_least[4:] + more[:1]), more[1:], nothing])
    share: Array = (above[:-1] - above[1:]) / np.maximum(total, 1) + _PSEUDO_COUNT
    return share


def _number(flags: Array) -> Array:
    """Count along the second axis, of at most 255, what is true."""
    number: Array = np.add.reduce(flags.view(np.uint8), axis=1, dtype=np.uint8).astype(np.float64)
    return number


def _mean_and_variance(rows: Array) -> tuple[Array, Array]:
    """Return mean and variance along the first axis, float64."""
    rows = rows.astype(np.float64)
    mean = add_up(rows) / len(rows)
    return mean, add_up((rows - mean) ** 2) / len(rows)
