"""The upper tail of a histogram of half octaves: where it begins, and the generalised Pareto that goes on from there.

The parameters are fitted by probability-weighted moments [1]_, which need two sums and no iteration, so all series
are fitted at once. That excesses over a high threshold follow this distribution is [2]_.

References
----------
.. [1] J. R. M. Hosking, J. R. Wallis (1987), Parameter and Quantile Estimation for the Generalized Pareto
   Distribution. Technometrics 29(3). doi:10.1080/00401706.1987.10488243
.. [2] J. Pickands (1975), Statistical Inference Using Extreme Order Statistics. Annals of Statistics 3(1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.engine.columns import Array
from exporter.engine.constants import UNITY, ZERO
from exporter.engine.ordered import add_up, clip, count_of, pick, suffix_sums

__all__ = ["TAIL", "TailFit", "fit_tail"]

TAIL = 0.1
"""Part of the past that is the tail: less leaves too few samples for a shape, more is no tail."""
_ENOUGH = 5.0
"""Samples in the tail before its shape is believed; until then the surprise stays that of its start."""
_BEND_MAX = 1.0
"""Shape parameters end here, where the mean of a Pareto tail becomes infinite."""
_SCALE_MIN = 0.05
"""Part of the mean excess that the scale is at least: at a shape of 1 the formula gives none."""


@dataclass(frozen=True, slots=True)
class TailFit:
    """Fitted tails; arrays of shape (s, n). Positions are in bins: 1.0 is the lower edge of bin 1, 0.0 is zero.

    Attributes
    ----------
    total
        Samples that were counted.
    gate, start
        Positions where the surprise passes the gate and where the tail begins.
    at_gate, at_start
        Surprise there, above the gate.
    shape, scale
        Of the generalised Pareto; the scale in units of the signal at position 0. Infinite: unknown.
    """

    total: Array
    gate: Array
    start: Array
    at_gate: Array
    at_start: Array
    shape: Array
    scale: Array


def fit_tail(counts: Array, gate: float) -> TailFit:
    """Fit the tails of histograms.

    Parameters
    ----------
    counts : ndarray of float32, shape (s, BINS, n)
        Samples in each bin; bin 0 holds zeros, bin j the half octave from position j.
    gate : float
        Surprise (-log10 of a probability) that counts as none.
    """
    by_bin = counts.swapaxes(0, 1)  # (BINS, s, n)
    above = suffix_sums(by_bin)
    total = above[0]
    survival = (above + np.float32(0.5)) / (total + UNITY)
    (start, passed), (at_start, at_passed) = _fall(survival, (TAIL, 10.0**-gate))
    shape, scale = _pareto(by_bin, start)
    return TailFit(
        total=total,
        gate=passed,
        start=start,
        at_gate=np.maximum(-np.log10(at_passed) - gate, 0.0),
        at_start=-np.log10(at_start) - gate,
        shape=shape,
        scale=scale,
    )


def _fall(survival: Array, levels: Sequence[float]) -> tuple[Array, Array]:
    """Return where the survival function falls to each level, and its value there; shapes (levels, s, n).

    Log-linear within a bin. Position 0 where all that is not zero is already rarer than the level.
    """
    bins, *shape = survival.shape
    survival, level = survival.reshape(bins, -1), np.array(levels, np.float32)[:, None]
    # The first bin that begins at or below the level.
    reached = np.maximum(np.array([count_of(survival > limit) for limit in levels]), 1)
    after = np.where(reached == bins, 0.5 * survival[-1], pick(survival, np.minimum(reached, bins - 1)))
    before = pick(survival, reached - 1)
    inside = (reached > 1) & (before > level)
    part = np.log(np.where(inside, before / level, 1.0)) / np.maximum(np.log(before / after), 1e-9)
    position = reached - 1 + np.where(inside, clip(part, 0.0, 1.0), 1.0)
    position, value = np.where(reached == 1, 0.0, position), np.where(inside, level, after)
    return position.reshape(-1, *shape), value.reshape(-1, *shape)


def _pareto(by_bin: Array, start: Array) -> tuple[Array, Array]:
    """Return shape and scale of the excesses over `start`, from the first two probability-weighted moments.

    A bin stands at the geometric middle of its part that lies beyond the start.
    """
    begin = start.astype(np.float32)
    # Of many series some bins are below the tails of all, or above all that came.
    filled = np.flatnonzero(np.maximum.reduce(by_bin, axis=(1, 2)))
    last = int(filled[-1]) if len(filled) else 1
    first = min(max(int(begin.min()), 1), last)
    bins = np.arange(first, last + 1, dtype=np.float32)[:, None, None]
    part = bins + UNITY - begin
    np.minimum(np.maximum(part, ZERO, out=part), UNITY, out=part)
    if first == 0:
        part[0] = 0  # Zeros are beyond nothing.
    weight = by_bin[first : last + 1] * part
    origin = np.where(begin > 0.0, np.exp2(0.5 * begin), ZERO)
    excess = np.exp2(0.5 * (bins + 1) - 0.25 * part) - origin
    np.maximum(excess, ZERO, out=excess)
    beyond = suffix_sums(weight)
    number = np.maximum(beyond[0], 1e-9)
    mass = weight * excess
    mean = add_up(mass) / number
    second = add_up(mass * (beyond - np.float32(0.5) * weight)) / (number * number)
    spread = mean - 2.0 * second
    bent = spread > 1e-12 * mean
    shape = np.where(bent, 2.0 - mean / np.where(bent, spread, 1.0), _BEND_MAX)
    shape = clip(shape, 0.0, _BEND_MAX)
    scale = mean * np.maximum(1.0 - shape, _SCALE_MIN)
    usable = (number >= _ENOUGH) & (scale > 0.0)
    return shape, np.where(usable, scale, np.inf)
