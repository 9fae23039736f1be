"""Whitened principal components: how unusual a combination of metrics is, though each metric alone may be fine.

The vector of an entity's metrics, each in standard deviations from its own mean, is whitened with the covariance that
was learned of it: rotated to the principal components, and divided by the standard deviation of each. The squared
length of what results (the squared Mahalanobis distance [1]_) is 1 a metric on average, and large where metrics
that go together do not, or where many are a little off. It is smoothed over some samples, and the severity follows
from how rare the smoothed length was in the past of all entities.

It sees correlations only: two metrics tied by a curve look like noise. It fails where the metrics of a group move
for different reasons at different times, such as a nightly job that was never seen before.

The covariance of an entity is its own as far as there is enough of its past, and that of all entities otherwise.

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

from exporter.engine.multivariate.joint import LONGEST, NEWEST, Array, FloatArray, Joint, Rows
from exporter.engine.multivariate.load import Load
from exporter.engine.multivariate.tail import BINS, counted, surprise

__all__ = ["Whitened", "whitening"]

_REFIT = 12
"""Instants between two whitenings: the covariance changes slowly, and taking it apart is the dear part."""
_PRIOR = 100.0
"""Samples a metric that an entity must have seen before its own covariance weighs as much as that of all entities."""
_SMALLEST_PART = 0.02
"""Part of the mean variance that every component counts as having at least: beyond is rounding, not knowledge."""
_IDENTITY = 20.0
"""Samples a metric for which the identity stands: metrics are independent until seen otherwise."""
_LEARNED_LENGTH, _LEARNED_IN_EVENT = 6.0, 1.0
"""Vectors that are longer are learned as if they ended here (squared length a metric). While an event lasts they
are learned as if they were ordinary: what stays for weeks becomes typical, what stays for hours does not."""
_LEARNING, _ENOUGH_INSTANTS, _ENOUGH = 20.0, 60.0, 480.0
"""Instants before lengths are counted; instants, and counted lengths of all entities, before there is any severity:
an hour of minutes, and enough lengths for one in a thousand to be extrapolated."""
_EVENT = 0.8
"""Severity from which the lengths of consecutive samples are counted once: a little below the threshold, or
the edges of each event would become typical."""

_OWN = ("mean", "covariance", "count", "whitening", "centre", "smooth", "last", "plain", "last_plain", "high")


class Whitened:
    """The joint detector ``whitened``.

    Parameters
    ----------
    metrics : int
    contamination : float, 0 to 1
        Share of the past that was at least as unusual as what has severity 1.
    memory : float, seconds
        Time over which is averaged.
    """

    def __init__(self, metrics: int, contamination: float, memory: float) -> None:
        self.contamination = contamination
        self.memory = memory
        p = self._metrics = metrics
        self._own: dict[str, Array] = {
            "mean": np.zeros((0, p), np.float32),
            "covariance": np.zeros((0, p, p), np.float32),
            "count": np.zeros((0, p), np.float32),
            "whitening": np.zeros((0, p, p), np.float32),
            "centre": np.zeros((0, p), np.float32),
            "smooth": np.ones(0),
            "last": np.ones(0),
            "plain": np.ones(0),  # As `smooth` and `last`, without regard to load.
            "last_plain": np.ones(0),
            "high": np.zeros(0),
        }
        self._pool_mean = np.zeros(p)
        self._pool_covariance = np.eye(p)
        self._pool_weight = np.full((p, p), _IDENTITY * p)
        self._histogram = np.zeros(BINS)
        self._steps = np.zeros(2)
        """Instants seen, and of them those in which something was learned."""

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` entities."""
        size = len(self._own["smooth"])
        for name, old in self._own.items():
            new = np.zeros((capacity, *old.shape[1:]), old.dtype)
            new[:size] = old
            self._own[name] = new
        self.forget(np.arange(size, capacity))

    def forget(self, rows: Rows) -> None:
        """Reset the state of the entities in `rows` to what was learned from all entities."""
        for name in ("mean", "covariance", "count", "high"):
            self._own[name][rows] = 0.0
        self.settle(rows)
        self._refit(rows)

    def settle(self, rows: Rows) -> None:
        """Reset the recent severity of the entities in `rows`."""
        for name in ("smooth", "last", "plain", "last_plain"):
            self._own[name][rows] = 1.0
        self._own["high"][rows] = 0.0

    def judge(self, at: float, z: FloatArray, load: Load, seconds: float) -> Joint:  # noqa: ARG002
        """Judge one instant, then learn it; see `JointDetector`."""
        size = len(z)
        own = {name: array[:size] for name, array in self._own.items()}
        present = ~np.isnan(z)
        number = present.sum(axis=1)
        vector = np.where(present, np.clip(z, -LONGEST, LONGEST), 0.0)
        away = np.where(present, vector - own["centre"], 0.0)
        white = np.einsum("nij,nj->ni", own["whitening"], away)
        partial = np.flatnonzero((number < self._metrics) & (number >= 2))
        if len(partial):
            some = present[partial]
            matrices = whitening(self._covariance(partial), some)
            white[partial] = np.where(some, np.einsum("nij,nj->ni", matrices, away[partial]), 0.0)
        can = number >= 2
        length = (white**2).sum(axis=1) / np.maximum(number, 1)
        plain = self._scaled(length, number)
        scaled = plain.copy()
        rows = load.rows
        if len(rows):
            left = self._beside(load, present[rows])
            # One direction is the load's own.
            beside = self._scaled((left**2).sum(axis=1) / np.maximum(number[rows] - 1, 1), number[rows] - 1)
            better = beside < plain[rows]
            scaled[rows[better]] = beside[better]
            white[rows[better]] = left[better]
        self._smooth(own["smooth"], own["last"], scaled, can)
        self._smooth(own["plain"], own["last_plain"], plain, can)
        severity = self._severity(np.where(can, own["smooth"], np.nan))
        excused = np.zeros(size, np.bool_)
        excused[rows] = (severity[rows] < 1.0) & (self._severity(own["plain"][rows]) >= 1.0)
        self._count(np.where(can, own["smooth"], np.nan), severity, own["high"])
        parts = white**2
        total = parts.sum(axis=1)
        share = np.divide(parts, total[:, None], out=np.zeros_like(parts), where=(can & (total > 0.0))[:, None])
        shortened = own["centre"] + away * _shortening(length, own["high"] > 0.0)[:, None]
        self._learn(present, shortened, can & ~excused, seconds)
        return Joint(severity, share, excused)

    def _scaled(self, length: FloatArray, number: npt.NDArray[np.intp]) -> FloatArray:
        """Return means of `number` squares as if they were of all metrics: a mean of fewer strays more."""
        scaled: FloatArray = np.maximum(1.0 + (length - 1.0) * np.sqrt(number / self._metrics), 0.0)
        return scaled

    def _beside(self, load: Load, present: npt.NDArray[np.bool_]) -> FloatArray:
        """Return the whitened components of what loads leave, without those along the loads; shape (m, p)."""
        covariance = self._covariance(load.rows)
        every = np.arange(self._metrics)
        covariance[:, every, every] += load.spread**2
        # In standard deviations of their own, so that none is too small beside the largest.
        unit = np.sqrt(np.maximum(covariance[:, every, every], 1e-6))
        matrices = whitening(covariance / (unit[:, :, None] * unit[:, None, :]), present)
        left = np.where(present, load.left - self._own["centre"][load.rows], 0.0) / unit
        along = np.where(present, load.direction, 0.0) / unit
        left, along = (np.einsum("nij,nj->ni", matrices, vector) for vector in (left, along))
        much = (left * along).sum(axis=1) / np.maximum((along**2).sum(axis=1), 1e-12)
        beside: FloatArray = np.where(present, left - much[:, None] * along, 0.0)
        return beside

    @staticmethod
    def _smooth(smooth: Array, last: Array, scaled: FloatArray, can: npt.NDArray[np.bool_]) -> None:
        # Queries are not evaluated at the same instant, so for one instant a common step looks as if metrics disagreed.
        lasting = np.minimum(scaled, last)
        last[can] = scaled[can]
        smooth[can] += NEWEST * (lasting - smooth)[can]

    def _severity(self, smooth: FloatArray) -> FloatArray:
        """Return the severities of smoothed lengths."""
        if self._steps[1] < _ENOUGH_INSTANTS or self._histogram.sum() < _ENOUGH:
            return np.full(len(smooth), np.nan)
        severity: FloatArray = surprise(smooth, self._histogram) / -np.log10(self.contamination)
        return severity

    def _count(self, smooth: FloatArray, severity: FloatArray, high: Array) -> None:
        """Count smoothed lengths."""
        if self._steps[1] >= _LEARNING:
            # However long it takes, an event is one event: it must not become typical while it lasts.
            now = severity >= _EVENT
            self._histogram += counted(np.where(now & (high > 0.0), np.nan, smooth))
            high[...] = now

    # ------------------------------------------------------------------ learning

    def _learn(
        self, present: npt.NDArray[np.bool_], short: FloatArray, usable: npt.NDArray[np.bool_], seconds: float
    ) -> None:
        """Learn vectors of entities; those that are too long have been shortened toward the centre."""
        rows = np.flatnonzero(usable)
        decay = np.exp(-seconds / self.memory)
        self._steps[0] += 1.0
        self._histogram *= decay
        self._pool_weight *= decay
        if len(rows):
            self._steps[1] += 1.0
            here = present[rows]
            vector = np.where(here, short[rows], 0.0)
            self._learn_own(rows, vector, here, seconds)
            self._learn_pool(vector, here)
        if self._steps[0] % _REFIT == 0.0 or self._steps[1] <= _REFIT:
            self._refit(np.arange(len(usable)))

    def _learn_own(self, rows: Rows, vector: FloatArray, here: npt.NDArray[np.bool_], seconds: float) -> None:
        own = self._own
        count = np.minimum(own["count"][rows] + here, max(self.memory / seconds, 1.0))
        own["count"][rows] = count
        away = np.where(here, vector - own["mean"][rows], 0.0)
        gain = here / np.maximum(count, 1.0)
        own["mean"][rows] += gain * away
        both = here[:, :, None] & here[:, None, :]
        pair = both / np.maximum(np.minimum(count[:, :, None], count[:, None, :]), 1.0)
        covariance = own["covariance"][rows]
        own["covariance"][rows] += pair * ((1.0 - pair) * away[:, :, None] * away[:, None, :] - covariance)

    def _learn_pool(self, vector: FloatArray, here: npt.NDArray[np.bool_]) -> None:
        both = here.T.astype(np.float64) @ here
        self._pool_weight += both
        away = np.where(here, vector - self._pool_mean, 0.0)
        self._pool_mean += away.sum(axis=0) / np.maximum(np.diag(self._pool_weight), 1.0)
        self._pool_covariance += (away.T @ away - both * self._pool_covariance) / np.maximum(self._pool_weight, 1.0)

    def _covariance(self, rows: Rows) -> FloatArray:
        """Return the estimated covariance of each entity, shape (m, p, p)."""
        count = self._own["count"][rows].astype(np.float64)
        pair = np.minimum(count[:, :, None], count[:, None, :])
        prior = _PRIOR * self._metrics
        return (pair * self._own["covariance"][rows] + prior * self._pool_covariance) / (pair + prior)

    def _refit(self, rows: Rows) -> None:
        if not len(rows):
            return
        count = self._own["count"][rows]
        prior = _PRIOR * self._metrics
        self._own["centre"][rows] = (count * self._own["mean"][rows] + prior * self._pool_mean) / (count + prior)
        self._own["whitening"][rows] = whitening(self._covariance(rows), None)

    # ------------------------------------------------------------------ state

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name."""
        pool = {
            "pool_mean": self._pool_mean,
            "pool_covariance": self._pool_covariance,
            "pool_weight": self._pool_weight,
            "histogram": self._histogram,
            "steps": self._steps,
        }
        return {**self._own, **pool}

    def restore(self, parts: Mapping[str, Array], size: int) -> bool:
        """Restore stored state; see `JointDetector`."""
        mine = self.arrays()
        for name, array in mine.items():
            shape = (size, *array.shape[1:]) if name in _OWN else array.shape
            if name not in parts or parts[name].shape != shape or not np.isfinite(parts[name]).all():
                return False
        self._own = {name: parts[name].astype(self._own[name].dtype) for name in _OWN}
        for name in mine.keys() - self._own.keys():
            mine[name][...] = parts[name]
        return True


def whitening(covariance: FloatArray, present: npt.NDArray[np.bool_] | None) -> FloatArray:
    """Return the symmetric whitening matrix of each covariance matrix, shape (n, p, p).

    Parameters
    ----------
    covariance : ndarray, shape (n, p, p)
        Symmetric; it need not be positive definite.
    present : ndarray of bool, shape (n, p), or None
        Metrics to whiten among themselves, as if there were no others; None: all.

    Examples
    --------
    >>> whitening(np.array([[[4.0, 0.0], [0.0, 1.0]]]), None)[0]
    array([[0.5, 0. ],
           [0. , 1. ]])
    """
    if present is not None:
        both = present[:, :, None] & present[:, None, :]
        covariance = np.where(both, covariance, np.eye(covariance.shape[-1]))
    values, vectors = np.linalg.eigh(covariance)
    floor = _SMALLEST_PART * np.maximum(values, 0.0).mean(axis=1, keepdims=True)
    scale = 1.0 / np.sqrt(np.maximum(values, np.maximum(floor, 1e-6)))
    white: FloatArray = (vectors * scale[:, None, :]) @ vectors.swapaxes(1, 2)
    return white


def _shortening(length: FloatArray, event: npt.NDArray[np.bool_]) -> FloatArray:
    """Return the factors that make vectors of these squared lengths no longer than what is learned."""
    limit = np.where(event, _LEARNED_IN_EVENT, _LEARNED_LENGTH)
    return np.sqrt(np.minimum(1.0, limit / np.maximum(length, 1e-12)))
