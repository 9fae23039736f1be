"""Which metrics of an entity go with a load, and which do not: what the alerts of single queries need to know.

The joint verdict judges what a load leaves; see `exporter.engine.multivariate.load`. This follows the load itself, by
growths alone, so that it works from the first samples of a group on: the metrics of an entity that are up by about the
same factor now (`suspected`), and those that are in the mean of the newest samples (`held`), which has less noise.
Where most metrics go together and one does not and is anomalous, it is `failing` under the load.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.inputs import GroupMatrix
from exporter.engine.multivariate.load import CERTAIN, NOISE_CEILING, NOISES, QUIETEST, SMALLEST, SPREAD, UP, distances

__all__ = ["MemberLoad", "MemberLoads"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_SAMPLES = 4
"""Of which the mean is taken. An end, too, is seen only after so many."""
_CALMER = _SAMPLES**-0.5
"""Noise of that mean in that of one sample."""
_LENIENT = 1.5
"""How much wider limits are where one sample alone decides: a suspicion only lets an alert wait for the next one."""
_STAYING = 1.5
"""And where a metric went with the load in the sample before: at the limit it would come and go, and its alert too."""
_NO_RATIO = 20.0
"""Growth where a ratio has no meaning: far from any load."""


@dataclass(frozen=True, slots=True)
class MemberLoad:
    """The load of every entity at one instant; arrays with the entity as first axis.

    Attributes
    ----------
    factor : ndarray, shape (n,)
        By which the metrics are up together; NaN: there is no load.
    held : ndarray of bool, shape (n, p)
        Metrics that are up because of the load.
    suspected : ndarray of bool, shape (n, p)
        And those that may be: this sample alone says so.
    failing : ndarray of bool, shape (n, p)
        Metrics of entities under load that do not go with it, and are anomalous.
    unwell : ndarray of bool, shape (n, p)
        Metrics that were anomalous in one of the newest samples.
    named : ndarray of bool, shape (n,)
        Whether a metric would alert, if it were not for the load.
    """

    factor: FloatArray
    held: BoolArray
    suspected: BoolArray
    failing: BoolArray
    unwell: BoolArray
    named: BoolArray


@dataclass(frozen=True, slots=True)
class _Common:
    """The common factor of the metrics of each entity: its logarithm, which go with it, and whether it is a load."""

    log: FloatArray
    together: BoolArray
    load: BoolArray
    others: BoolArray


class MemberLoads:
    """The newest samples of each entity; nothing of it need survive a restart.

    Parameters
    ----------
    metrics : int
    """

    def __init__(self, metrics: int) -> None:
        self._metrics = metrics
        self._newest = np.zeros((_SAMPLES, 3, 0, metrics))
        """Growth, distance in standard deviations, and whether it is anomalous."""
        self._next = 0
        self._strays = np.zeros((0, metrics), np.bool_)
        """Whether the sample before did not go with the load."""
        self._held = np.zeros((0, metrics), np.bool_)
        """Whether it did, in the mean."""

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`, shape (m,)."""
        kept = rows[rows < len(self._strays)]
        self._newest[:, :, kept], self._strays[kept], self._held[kept] = 0.0, False, False

    def step(self, matrix: GroupMatrix) -> MemberLoad:
        """Judge one instant."""
        self._grow(len(matrix.z))
        present = ~np.isnan(matrix.z)
        with np.errstate(all="ignore"):
            growth = np.where(np.isfinite(matrix.growth), np.clip(matrix.growth, -_NO_RATIO, _NO_RATIO), _NO_RATIO)
            noise = np.clip(np.where(present, matrix.noise, 0.0), QUIETEST, NOISE_CEILING)
            z = np.clip(distances(matrix), -_NO_RATIO / QUIETEST, _NO_RATIO / QUIETEST)
            now = np.stack([growth, z, np.broadcast_to(matrix.anomalous, z.shape)])
            self._newest[self._next] = np.where(present, now, self._newest[self._next - 1])
            self._next = (self._next + 1) % _SAMPLES
            mean = self._newest.mean(axis=0)
            # What is expected to be zero and is zero does not speak against a load: zero times a factor is zero.
            counted = present & ~((matrix.growth == 0.0) & (matrix.z == 0.0))
            # One that is normal for a sample is not well.
            unwell = counted & (mean[2] > 0.0)
            spread = np.where(self._held, _STAYING * SPREAD, SPREAD)
            lasting = _common(mean[0], mean[1] / _CALMER, _CALMER * noise, counted, unwell, UP, spread)
            single = _common(growth, z, _LENIENT * noise, counted, unwell, 0.0, SPREAD)
            log = np.where(single.load, single.log, lasting.log)
            strays = counted & (np.abs(growth - log[:, None]) > spread * log[:, None] + NOISES * noise)
            gone, self._strays = strays & self._strays, strays
            held = lasting.together & lasting.load[:, None] & ~gone
            held &= (held.sum(axis=1) >= 2)[:, None]
            self._held = held
            factor = np.where(held.any(axis=1), np.exp(log), np.nan)
            named = (held & unwell).any(axis=1)
            # Noise that agrees for some samples is no load that something could fail under.
            far = 2 * (held & (mean[1] >= CERTAIN)).sum(axis=1) >= np.maximum(held.sum(axis=1), 1)
        suspected = single.together & single.load[:, None]
        return MemberLoad(factor, held, suspected, lasting.others & far[:, None], unwell, named)

    def _grow(self, size: int) -> None:
        more = size - len(self._strays)
        if more > 0:
            self._newest = np.concatenate([self._newest, np.zeros((_SAMPLES, 3, more, self._metrics))], axis=2)
            none = np.zeros((more, self._metrics), np.bool_)
            self._strays, self._held = (np.concatenate([old, none]) for old in (self._strays, self._held))


def _common(
    growth: FloatArray,
    z: FloatArray,
    noise: FloatArray,
    counted: BoolArray,
    unwell: BoolArray,
    up: float,
    spread: FloatArray | float,
) -> _Common:
    """Find the factor by which most metrics of each entity are up, near by `spread` as a part of its logarithm.

    The others must be `unwell`: a metric that is just as usual says that it is no load.
    """
    number = counted.sum(axis=1)
    ordered, rows = np.sort(np.where(counted, growth, np.inf), axis=1), np.arange(len(growth))
    halves = (ordered[rows, np.maximum(number - shift, 0) // 2] for shift in (0, 1))
    middle = np.where(number > 0, sum(halves) / 2, 0.0)
    together = counted & (np.abs(growth - middle[:, None]) <= spread * middle[:, None] + NOISES * noise)
    weight = np.where(together, 1.0 / noise**2, 0.0)
    log = (weight * growth).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)
    together = counted & (np.abs(growth - log[:, None]) <= spread * log[:, None] + NOISES * noise)
    together &= growth >= up * log[:, None]
    most, certain = together.sum(axis=1), (together & (z >= CERTAIN)).sum(axis=1)
    others = counted & ~together
    load = (most >= 2) & (2 * most > number) & (2 * certain >= most) & (log >= SMALLEST)
    load &= ~(others & ~unwell).any(axis=1)
    return _Common(log, together, load, others)
