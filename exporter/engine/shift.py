"""Level shifts: a series that stays outside its band for long enough has a new normal.

Robust learning alone would take months to follow, because every sample is pulled back to the band. So a shift
is accepted at once when it has lasted: what the buckets know is carried over to the new level by a straight line
``new = offset + gain * old``, fitted by least squares to the samples of the run. A service that moved by a
constant keeps its daily shape; one whose traffic doubled gets twice that shape. Where no line fits, because the
shape itself is another one, the buckets of the series are learned anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import BucketStats

__all__ = ["Band", "LevelShift", "Shift"]

FloatArray = npt.NDArray[np.float64]
Band = tuple[FloatArray, FloatArray, FloatArray]
"""Lower edge, expected value, upper edge; shape (n,), baseline units, NaN where nothing is known."""

MOST = 0.8
"""Share of the samples of a block that must lie outside on one side for the run to go on."""
LEAST_GAIN, MOST_GAIN = 1e-6, 1e6
"""Factors beyond these are no change of scale; the level moves alone."""
BETTER = 0.8
"""A factor is believed where it leaves at most this part of the variance that the level alone leaves."""

_SECONDS, _ABOVE, _BELOW = range(3)
_LASTED, _HALF, _D, _E, _DD, _EE, _DE = range(7)


@dataclass(frozen=True, slots=True)
class Shift:
    """A level shift that was accepted.

    Attributes
    ----------
    row : int
    before, after : float
        Mean of what was expected and of what came, in baseline units.
    anew : bool
        The buckets do not fit the new normal and have to be learned anew.
    """

    row: int
    before: float
    after: float
    anew: bool


class LevelShift:
    """How the level of each row has moved since its buckets were filled, and for how long it is outside now.

    Arrays have the rows as last axis; baseline units.

    Attributes
    ----------
    offset, gain : ndarray of float64
        Today's values are ``offset + gain * bucket``.
    block : ndarray of float32, shape (3, n)
        Of the block under way: seconds of samples, of those above and of those below the band.
    run : ndarray of float32, shape (7, n)
        Of the run under way: its seconds (negative where it is below the band), and weighted sums of half the
        width of the band, the deviation d, the expected value e, and of d*d, e*e and d*e.
    """

    def __init__(self) -> None:
        self.offset = np.zeros(0)
        self.gain = np.zeros(0)
        self.block = np.zeros((3, 0), np.float32)
        self.run = np.zeros((7, 0), np.float32)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        more = capacity - len(self.offset)
        self.offset = np.concatenate([self.offset, np.zeros(more)])
        self.gain = np.concatenate([self.gain, np.ones(more)])
        self.block = np.concatenate([self.block, np.zeros((3, more), np.float32)], axis=1)
        self.run = np.concatenate([self.run, np.zeros((7, more), np.float32)], axis=1)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        self.offset[rows] = 0.0
        self.gain[rows] = 1.0
        self.block[:, rows] = 0.0
        self.run[:, rows] = 0.0

    def today(self, stats: BucketStats, rows: slice) -> BucketStats:
        """Return bucket statistics at today's level."""
        offset, gain = self.offset[rows], self.gain[rows]
        return replace(
            stats,
            mean=offset + gain * stats.mean,
            std=gain * stats.std,
            q1=offset + gain * stats.q1,
            q3=offset + gain * stats.q3,
        )

    def bucket(self, sample: FloatArray, rows: slice) -> FloatArray:
        """Return samples at the level that the buckets were filled at."""
        level: FloatArray = (sample - self.offset[rows]) / self.gain[rows]
        return level

    def note(self, rows: slice, sample: FloatArray, band: Band, seconds: float) -> None:
        """Note samples of a block.

        Parameters
        ----------
        sample : ndarray, shape (t, n)
            Baseline units; NaN does not count.
        band : Band
        seconds : float
            How much history a sample stands for.
        """
        lower, expected, upper = band
        known = ~np.isnan(lower + upper)
        half = np.where(known, 0.5 * (upper - lower), 0.0)
        block, run = self.block[:, rows], self.run[:, rows]
        for one in sample:  # One by one, so that the sums do not depend on how many come together.
            counts = known & ~np.isnan(one)
            if not counts.any():
                continue
            weight = np.where(counts, seconds, 0.0)
            d, e = np.where(counts, one - expected, 0.0), np.where(counts, expected, 0.0)
            for total, value in zip(block, (1.0, one > upper, one < lower), strict=True):
                total += weight * value
            for total, value in zip(run[_HALF:], (half, d, e, d * d, e * e, d * e), strict=True):
                total += weight * value

    def close(self, rows: slice, after: float) -> list[Shift]:
        """End a block; accept the shifts that have lasted for `after` seconds, and return them."""
        block, run = self.block[:, rows], self.run[:, rows]
        seen = block[_SECONDS] > 0.0
        side = np.where(block[_ABOVE] >= MOST * block[_SECONDS], 1.0, 0.0)
        side -= np.where(block[_BELOW] >= MOST * block[_SECONDS], 1.0, 0.0)
        # A run that changes sides is not one level.
        goes_on = (side != 0.0) & (side * run[_LASTED] >= 0.0)
        run[_LASTED] += np.where(goes_on, side * block[_SECONDS], 0.0)
        run[:, seen & ~goes_on] = 0.0
        block[...] = 0.0
        lasted = np.abs(run[_LASTED]) >= after
        if not lasted.any():
            return []
        shifts = self._accept(rows, np.flatnonzero(lasted))
        run[:, lasted] = 0.0
        return shifts

    def _accept(self, rows: slice, which: npt.NDArray[np.intp]) -> list[Shift]:
        run = self.run[:, rows][:, which].astype(np.float64)
        seconds = np.abs(run[_LASTED])
        half, d, e, dd, ee, de = run[_HALF:] / seconds
        spread, together = np.maximum(ee - e * e, 0.0), de - d * e
        slope = np.divide(together, spread, out=np.zeros_like(spread), where=spread > 0.0)
        gain, alone = 1.0 + slope, dd - d * d
        left = alone - slope * together
        fits = (gain >= LEAST_GAIN) & (gain <= MOST_GAIN) & (left <= BETTER * alone)
        fits &= left <= (gain * half) ** 2
        gain, left = np.where(fits, gain, 1.0), np.where(fits, left, alone)
        # With more than half a band's width of spread left, most samples would go on being anomalous.
        anew = left > (gain * half) ** 2
        index = rows.start + which
        offset = d + e - gain * e
        self.offset[index] = np.where(anew, 0.0, offset + gain * self.offset[index])
        self.gain[index] = np.where(anew, 1.0, gain * self.gain[index])
        return [
            Shift(int(row), float(before), float(before + by), bool(new))
            for row, before, by, new in zip(index, e, d, anew, strict=True)
        ]

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return all of the state, by name."""
        return {"offset": self.offset, "gain": self.gain, "shift_block": self.block, "shift_run": self.run}
