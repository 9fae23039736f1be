"""A test of a difference that may be looked at after every sample.

Of each comparison it keeps an e-process (Ramdas, Grunwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-
valid inference", Statistical Science 2023): the capital of a player who bets on a difference at odds that are fair
where there is none. That it ever reaches ``1/alpha`` has a probability of `alpha` at most (Ville), so a look costs
nothing.

- A bet is a likelihood ratio, mixed over sizes of the difference (Robbins, "Statistical methods related to the law of
  the iterated logarithm", 1970; mixture sequential probability ratio test: Johari, Koomen, Pekelis, Walsh, "Always
  valid inference", Operations Research 2022) and over the instant at which it begins (weights that sum to 1, as in
  Shin, Ramdas, Rinaldo, "E-detectors", 2023): evidence against a difference in the past does not hide a later one.
- Its reference is Student's t with two degrees of freedom, so that no single sample is much evidence, however far out.
- What follows from the sample before is taken off (an autoregression of order 1, whose coefficient is learned, from
  above), and the scale is widened by what blocks of samples vary more than single ones: autocorrelation is no evidence.
- Differences are of equal numbers of series (see `exporter.engine.canary.sides`), symmetric where the sides do not
  differ; bets on several such pairs are averaged, which keeps them fair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array, Column, Columns

__all__ = ["DIRECTIONS", "PAIRS", "SequentialTest"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

PAIRS: Final = 8
"""Pairs of equal numbers of series in a comparison at most."""
DIRECTIONS: Final = (1.0, -1.0)
"""Candidate above the baseline, and below it."""
_SIZES = np.array([0.25, 0.5, 1.0, 2.0, 5.0])
"""Differences that are bet on, in units of the scale."""
_FREEDOM = 2.0
"""Degrees of freedom of the reference."""
_WIDER = 1.15
"""The scale times this: with it a bet is fair or worse for normal, Laplace, Student and Cauchy noise."""
_BEFORE = 6
"""Samples that are only learned from before the first bet."""
_PRIOR, _PRIOR_WEIGHT = 0.7, 10.0
"""Autocorrelation that is assumed before anything is seen, and how many samples that counts for."""
_ERRORS = 2.0
"""Standard errors by which autocorrelation is assumed to be more than was seen."""
_MOST = 0.98
_MEMORY = 500.0
"""Samples over which noise is averaged."""
_BLOCKS = np.array([8.0, 32.0])[:, None, None]
"""Samples of a block: short and long ones."""
_BLOCK_MEMORY = 60.0
"""Blocks over which their variance is averaged."""
_RATIO, _RATIO_WEIGHT = 2.0, 4.0
"""How much more blocks are assumed to vary than single samples say, and how many blocks that counts for."""
_LATER, _STEP = 4, 5.0
"""Slots after which a sample is taken for noise: by then it is known whether a step began with it, which is that all of
these are on one side of the mean, so many standard deviations from it."""

_LAYOUT: Mapping[str, Column] = {
    "count": Column((), np.float64),
    "bets": Column((), np.float64),
    "wealth": Column((len(_SIZES), 2), np.float64, -np.inf),
    "run": Column((len(_SIZES), 2), np.float64),
    "best": Column((2,), np.float64, -np.inf),
    "began": Column((2,), np.float64, np.nan),
    "last": Column((PAIRS,), np.float64, np.nan),
    "last_floor": Column((), np.float64, np.nan),
    "seen": Column((PAIRS,), np.float64),
    "mean": Column((PAIRS,), np.float64),
    "variance": Column((PAIRS,), np.float64),
    "covariance": Column((PAIRS,), np.float64),
    "queue": Column((_LATER + 1, PAIRS), np.float64, np.nan),
    "spread": Column((PAIRS,), np.float64),
    "square": Column((PAIRS,), np.float64),
    "block_sum": Column((2, PAIRS), np.float64),
    "block_size": Column((2, PAIRS), np.float64),
    "block_square": Column((2, PAIRS), np.float64),
    "blocks": Column((2, PAIRS), np.float64),
}


class SequentialTest:
    """The tests of all comparisons of a query, a row each."""

    def __init__(self) -> None:
        self._columns = Columns(_LAYOUT)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` comparisons."""
        self._columns.grow(capacity)

    def forget(self, rows: Rows) -> None:
        """Begin anew with the tests of `rows`, shape (m,)."""
        self._columns.forget(rows)

    def begin_again(self, rows: Rows) -> None:
        """Drop the evidence of `rows`, shape (m,), and keep what is known of their noise."""
        state = self._columns.arrays()
        state["bets"][rows] = 0.0
        for name in ("wealth", "best"):
            state[name][..., rows] = -np.inf
        state["run"][..., rows] = 0.0
        state["began"][:, rows] = np.nan

    def accept(self, rows: Rows, difference: FloatArray) -> None:
        """Go on from where a `difference`, shape (m,), is none any more for `rows`, shape (m,): it is subtracted."""
        self.begin_again(rows)
        state = self._columns.arrays()
        for name in ("mean", "queue", "last"):
            state[name][..., rows] -= difference

    def interrupt(self) -> None:
        """Note that slots are missing: what was before them says nothing about the next one."""
        self._columns.arrays()["last"][...] = np.nan

    def arrays(self) -> dict[str, Array]:
        """Return the state, to store it."""
        return self._columns.arrays()

    def restore(self, arrays: Mapping[str, Array], size: int) -> bool:
        """Take up stored state of `size` comparisons; False where it does not fit, and nothing is changed."""
        for name, column in _LAYOUT.items():
            array = arrays.get(name)
            if array is None or array.shape != (*column.shape, size) or array.dtype != column.dtype:
                return False
        self._columns.grow(size)
        for name, own in self._columns.arrays().items():
            own[...] = arrays[name]
        return True

    @property
    def evidence(self) -> FloatArray:
        """The logarithm of the highest capital so far, above and below, shape (2, n): ``exp(-evidence)`` is p."""
        return self._columns.arrays()["best"]

    @property
    def began(self) -> FloatArray:
        """Since when there is evidence, Unix seconds, above and below, shape (2, n); NaN without any."""
        return self._columns.arrays()["began"]

    @property
    def count(self) -> FloatArray:
        """How many slots were compared, shape (n,)."""
        return self._columns.arrays()["count"]

    def step(self, at: float, difference: FloatArray, floor: FloatArray) -> None:
        """Take the differences of a slot.

        Parameters
        ----------
        at : float
            The slot, Unix seconds.
        difference : ndarray, shape (PAIRS, n)
            Candidate less baseline of each pair, in any unit; NaN = there is no such pair, or no sample.
        floor : ndarray, shape (n,)
            Differences up to this size count as none; from what was known before this slot.
        """
        # Most comparisons are of few pairs: the others are left out.
        pairs = int(np.count_nonzero((~np.isnan(difference)).any(axis=1)))
        state = self._views(pairs)
        every, difference = difference, difference[:pairs]
        here = ~np.isnan(difference)
        now: BoolArray = np.any(here, axis=0)
        with np.errstate(all="ignore"):
            self._bet(state, at, difference, floor, now)
            self._learn(state, difference)
        state["count"] += now
        # Of this slot alone: what lies before a gap says nothing about the sample after it.
        self._columns.arrays()["last"][...] = every
        state["last_floor"][...] = floor

    def _views(self, pairs: int) -> dict[str, Array]:
        """Return the state of the first pairs of each comparison, as views."""
        arrays = self._columns.arrays()
        by_pair = {name for name, column in _LAYOUT.items() if column.shape[-1:] == (PAIRS,)}
        return {name: array[..., :pairs, :] if name in by_pair else array for name, array in arrays.items()}

    @staticmethod
    def _entry(state: Mapping[str, Array]) -> FloatArray:
        """Return the logarithm of what is put on a difference that begins now, shape (n,)."""
        entry: FloatArray = np.log(_weight(np.maximum(state["bets"], 1.0)))
        return entry

    @staticmethod
    def _coefficient(state: Mapping[str, Array]) -> tuple[FloatArray, FloatArray]:
        """Return how much of a difference follows from that before it, and its error; shapes (pairs, n)."""
        seen = np.minimum(state["seen"], _MEMORY)
        ratio = state["covariance"] / np.maximum(state["variance"], 1e-300)
        # The estimate is too low by about this much on average; and being too high costs less than being too low.
        ratio = ratio + (1.0 + 3.0 * np.abs(ratio)) / np.maximum(seen, 1.0)
        error = np.sqrt(np.maximum(1.0 - ratio * ratio, 0.02) / np.maximum(seen, 1.0))
        ratio = ratio + _ERRORS * error
        mixed = (np.maximum(ratio, 0.0) * seen + _PRIOR * _PRIOR_WEIGHT) / (seen + _PRIOR_WEIGHT)
        return np.minimum(mixed, _MOST), error

    @staticmethod
    def _scale(state: Mapping[str, Array]) -> FloatArray:
        """Return the scale of what does not follow from the sample before, shape (pairs, n); NaN: not known yet."""
        spread = np.where(state["seen"] >= _BEFORE, state["spread"], np.nan)
        # With few blocks their variance is not known: it counts as what single samples say.
        ratio = state["block_square"] / np.maximum(state["square"], 1e-300)
        blocks = state["blocks"]
        ratio = (np.minimum(ratio, 50.0) * blocks + _RATIO * _RATIO_WEIGHT) / (blocks + _RATIO_WEIGHT)
        result: FloatArray = _WIDER * spread * np.sqrt(np.maximum(ratio.max(axis=0), 1.0))
        return result

    def _bet(
        self, state: Mapping[str, Array], at: float, difference: FloatArray, floor: FloatArray, now: BoolArray
    ) -> None:
        coefficient, error = self._coefficient(state)
        # What follows from a sample far out is not known better than the coefficient is.
        scale = np.hypot(self._scale(state), _ERRORS * error * (state["last"] - state["mean"]))
        bets = []
        for direction in DIRECTIONS:
            newest = direction * difference - floor
            before = direction * state["last"] - state["last_floor"]
            bets.append((newest - coefficient * before) / scale)
        x = np.stack(bets)
        odds = np.where(np.isnan(x), -np.inf, 0.0)
        pairs = np.count_nonzero(~np.isnan(x), axis=1)
        active = now & (pairs > 0).all(axis=0)
        ordinary = np.log1p(x * x / _FREEDOM)
        exponent = (_FREEDOM + 1.0) / 2.0
        state["bets"][active] += 1.0
        entry = self._entry(state)
        wealth, run = state["wealth"], state["run"]
        # Evidence begins anew where there is none for any size.
        state["began"][...] = np.where(active & ~(run > 0.0).any(axis=0), at, state["began"])
        for index, size in enumerate(_SIZES.tolist()):
            ratio = exponent * (ordinary - np.log1p((x - size) ** 2 / _FREEDOM))
            mean = np.logaddexp.reduce(np.where(odds == 0.0, ratio, -np.inf), axis=1) - np.log(np.maximum(pairs, 1))
            run[index] = np.where(active, np.maximum(run[index] + mean, 0.0), run[index])
            wealth[index] = np.where(active, np.logaddexp(wealth[index], entry) + mean, wealth[index])
        total = np.logaddexp.reduce(wealth, axis=0) - np.log(len(_SIZES))
        state["best"][...] = np.maximum(state["best"], total)

    def _learn(self, state: Mapping[str, Array], newest: FloatArray) -> None:
        """Learn noise from the sample of some slots ago."""
        coefficient, _ = self._coefficient(state)
        queue = state["queue"]
        last = queue[0].copy()
        queue[:-1] = queue[1:].copy()
        queue[-1] = newest
        difference = queue[0]
        here = ~np.isnan(difference)
        seen, mean = state["seen"], state["mean"]
        # A step is no autocorrelation: noise goes on about the new level.
        far = (queue - mean) / np.sqrt(state["variance"])
        step = (seen >= _BEFORE) & ((far > _STEP).all(axis=0) | (far < -_STEP).all(axis=0))
        mean[step] = queue.mean(axis=0)[step]
        seen += here
        weight = np.where(here, 1.0 / np.minimum(np.maximum(seen, 1.0), _MEMORY), 0.0)
        value = np.where(here, difference, 0.0)
        before = mean.copy()
        mean += weight * (value - mean)
        # The sample before a step is on its other side.
        pair = here & ~np.isnan(last) & (seen >= 2) & ~step
        weight = np.where(pair, weight, 0.0)
        now, then = value - mean, np.where(pair, last, 0.0) - before
        # Bounded, so that one sample far out does not hide the noise of all the others.
        limit = np.where(seen > _BEFORE, 6.0 * np.sqrt(state["variance"]), np.inf)
        now, then = np.clip(now, -limit, limit), np.clip(then, -limit, limit)
        state["variance"] += weight * (now * now - state["variance"])
        state["covariance"] += weight * (now * then - state["covariance"])
        rest = now - coefficient * then
        state["spread"] += weight * (1.2533 * np.abs(rest) - state["spread"])
        state["square"] += weight * (rest * rest - state["square"])
        state["block_sum"] += np.where(pair, rest, 0.0)
        state["block_size"] += pair
        full = state["block_size"] >= _BLOCKS
        state["blocks"][...] = np.minimum(state["blocks"] + full, _BLOCK_MEMORY)
        part = np.where(full, 1.0 / np.maximum(state["blocks"], 1.0), 0.0)
        state["block_square"] += part * (state["block_sum"] ** 2 / _BLOCKS - state["block_square"])
        state["block_sum"][full] = state["block_size"][full] = 0.0


def _weight(number: FloatArray) -> FloatArray:
    """Return the weight of a difference that begins with a bet, counted from 1; all of them together weigh 1.

    Half of it is on the first, where a rollout would show; the rest falls as slowly as a sum of 1 allows.
    """
    later = 0.5 / (1.0 + np.log(number))
    before = 0.5 / (1.0 + np.log(np.maximum(number - 1.0, 1.0)))
    return np.where(number <= 1.0, 0.5, before - later)
