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
from exporter.engine.constants import double
from exporter.engine.ordered import FEW, all_of, any_of
from exporter.engine.seconds import HOUR

__all__ = ["Band", "LevelShift", "Shift"]

FloatArray = npt.NDArray[np.float64]
Rows = slice | npt.NDArray[np.intp]
Band = tuple[FloatArray, FloatArray, FloatArray]
"""Lower edge, expected value, upper edge; shape (n,), baseline units, NaN: unknown."""

MOST = 0.8
"""Share of the samples of a block that must lie outside on one side for the run to go on: one in five may be noise that
reaches back into the band, and what comes and goes is no level."""
MOST_GAIN = 1e6
"""Factors beyond this, up or down, are no change of scale; the level moves alone."""
BETTER = 0.8
"""A factor is believed where it leaves at most this part of the variance that the level alone leaves: it has to explain
a fifth of it, or chance would bend the daily shape."""

RECENT = 0.25
"""Part of a sample in the running mean of the deviation: feedback moves the level by about the last four samples."""
SHAPED = 6 * HOUR
"""Seconds of a run from which on it says something about the size of the daily shape: a quarter
of the day."""

_RECENT, _WHOLE = double(RECENT), double(1.0)
_SECONDS, _ABOVE, _BELOW = range(3)
_LASTED, _HALF, _D, _E, _DD, _EE, _DE = range(7)


@dataclass(frozen=True, slots=True)
class Shift:
    """A level shift that was accepted, or that may be.

    Attributes
    ----------
    row : int
    before, after : float
        Mean of what was expected and of what came.
    seconds : float
        For how long samples have been outside the band, on one side.
    anew : bool
        The buckets do not fit the new normal and have to be learned anew.
    """

    row: int
    before: float
    after: float
    seconds: float
    anew: bool = False

    @property
    def by(self) -> float:
        """How far the level moved."""
        return self.after - self.before


class LevelShift:
    """How the level of each row has moved since its buckets were filled, and for how long it is outside now.

    Arrays have the rows as last axis; baseline units.

    Attributes
    ----------
    version : int
        Another number whenever `offset` or `gain` changed.
    offset, gain : ndarray of float64
        Today's values are ``offset + gain * bucket``.
    block : ndarray of float32, shape (3, n)
        Of the block under way: seconds of samples, of those above and of those below the band.
    run : ndarray of float32, shape (7, n)
        Of the run under way: its seconds (negative where it is below the band), and weighted sums of half the
        width of the band, the deviation d, the expected value e, and of d*d, e*e and d*e.
    recent : ndarray of float32, shape (n,)
        Running mean of the deviation since the series left its band or came back to it, of samples that are not
        learned as well.
    """

    def __init__(self) -> None:
        self.version = 0
        self.offset = np.zeros(0)
        self.gain = np.zeros(0)
        self.block = np.zeros((3, 0), np.float32)
        self.run = np.zeros((7, 0), np.float32)
        self.recent = np.zeros(0, np.float32)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self.version += 1
        more = capacity - len(self.offset)
        self.offset = np.concatenate([self.offset, np.zeros(more)])
        self.gain = np.concatenate([self.gain, np.ones(more)])
        self.block = np.concatenate([self.block, np.zeros((3, more), np.float32)], axis=1)
        self.run = np.concatenate([self.run, np.zeros((7, more), np.float32)], axis=1)
        self.recent = np.concatenate([self.recent, np.zeros(more, np.float32)])

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        self.version += 1
        self.offset[rows] = 0.0
        self.gain[rows] = 1.0
        self.block[:, rows] = 0.0
        self.run[:, rows] = 0.0
        self.recent[rows] = 0.0

    def today(self, stats: BucketStats, rows: Rows) -> BucketStats:
        """Return bucket statistics at today's level."""
        offset, gain = self.offset[rows], self.gain[rows]
        mean, q1, q3 = (offset + gain * each for each in (stats.mean, stats.q1, stats.q3))
        rise = None if stats.rise is None else gain * stats.rise
        return replace(stats, mean=mean, std=gain * stats.std, q1=q1, q3=q3, rise=rise)

    def level(self, mean: FloatArray, std: FloatArray, rows: slice) -> tuple[FloatArray, FloatArray]:
        """Return a mean and a standard deviation of the buckets at today's level."""
        gain = self.gain[rows]
        return self.offset[rows] + gain * mean, gain * std

    def bucket(self, sample: FloatArray, rows: slice) -> FloatArray:
        """Return samples at the level that the buckets were filled at."""
        level: FloatArray = (sample - self.offset[rows]) / self.gain[rows]
        return level

    def follow(self, rows: slice, sample: FloatArray, band: Band) -> None:
        """Note how far samples, shape (t, n), are from the expected value; baseline units, NaN: unknown."""
        lower, expected, upper = band
        least, most = lower - expected, upper - expected
        deviations = sample - expected
        few = len(sample) > 1 and deviations.shape[1] < FEW
        if few and (means := _means_of_few(self.recent[rows], deviations, least, most)) is not None:
            self.recent[rows] = means
            return
        recent = self.recent[rows].astype(np.float64)
        missing = np.isnan(deviations)
        complete = not any_of(missing)
        for deviation, inside, none in zip(
            deviations, (deviations >= least) & (deviations <= most), missing, strict=True
        ):
            # A mean over the edge of the band would be between the levels, at none of them.
            part = np.where(inside == ((recent >= least) & (recent <= most)), _RECENT, _WHOLE)
            step = part * (deviation - recent)
            recent += step if complete else np.where(none, 0.0, step)
            recent = recent.astype(np.float32).astype(np.float64)
        self.recent[rows] = recent

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
        has_band = ~np.isnan(lower + upper)
        half = np.where(has_band, 0.5 * (upper - lower), 0.0)
        block, run = self.block[:, rows], self.run[_HALF:, rows]
        counts = has_band & ~np.isnan(sample)
        if not any_of(counts):
            return
        weight = np.where(counts, seconds, 0.0)
        d, e = np.where(counts, sample - expected, 0.0), np.where(counts, expected, 0.0)
        sides, sums = np.empty((3, *d.shape)), np.empty((6, *d.shape))
        for total, value in zip(sides, (weight, weight * (sample > upper), weight * (sample < lower)), strict=True):
            total[...] = value
        for total, value in zip(sums, (half, d, e, d * d, e * e, d * e), strict=True):
            np.multiply(weight, value, out=total)
        for index in range(len(sample)):  # One by one, so that the sums do not depend on how many come together.
            block += sides[:, index]
            run += sums[:, index]

    def end_block(self, rows: slice, after: float) -> list[Shift]:
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
        return self._accept(rows.start + np.flatnonzero(lasted)) if any_of(lasted) else []

    def accept(self, rows: npt.NDArray[np.intp], expected: FloatArray) -> list[Shift]:
        """Accept where `rows` are now, and return how they moved; `expected` is what they were to be. Shapes (m,)."""
        lasted = np.abs(self.run[_LASTED, rows])
        short = lasted < SHAPED
        shifts = [] if all_of(short) else self._accept(rows[~short], may_empty=False)
        by = self.recent[rows].astype(np.float64)
        self.offset[rows[short]] += by[short]
        self._reset(rows[short])
        columns = (rows[short], expected[short], (expected + by)[short], lasted[short])
        return shifts + [Shift(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]

    def run_seconds(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Return for how many seconds each of `rows` has been beyond its band, on one side."""
        seconds: npt.NDArray[np.float32] = np.abs(self.run[_LASTED, rows])
        return seconds

    def most_seconds(self, rows: slice) -> float:
        """Return for how many seconds one of `rows` has been beyond its band at most, if it was in the whole block."""
        seconds = np.abs(self.run[_LASTED, rows]) + self.block[_SECONDS, rows]
        return float(seconds.max(initial=0.0))

    def under_way(self, rows: npt.NDArray[np.intp]) -> FloatArray:
        """Return how the levels of `rows` have moved if their runs under way go on: (3, m), NaN where there is none.

        Level before, level after, and the seconds since.
        """
        run = self.run[:, rows].astype(np.float64)
        lasted = np.abs(run[_LASTED])
        seconds = np.where(lasted > 0.0, lasted + self.block[_SECONDS, rows], np.nan)
        e, d = run[_E] / seconds, run[_D] / seconds
        return np.array((e, e + d, seconds))

    def _reset(self, rows: npt.NDArray[np.intp]) -> None:
        """Reset the run statistics of `rows`, whose levels moved."""
        self.version += 1
        self.run[:, rows] = self.block[:, rows] = self.recent[rows] = 0.0

    def _accept(self, index: npt.NDArray[np.intp], *, may_empty: bool = True) -> list[Shift]:
        run = self.run[:, index].astype(np.float64)
        seconds = np.abs(run[_LASTED]) + self.block[_SECONDS, index]
        half, d, e, dd, ee, de = run[_HALF:] / seconds
        spread, together = np.maximum(ee - e * e, 0.0), de - d * e
        slope = np.divide(together, spread, out=np.zeros_like(spread), where=spread > 0.0)
        gain, alone = 1.0 + slope, dd - d * d
        left = alone - slope * together
        fits = (gain >= 1.0 / MOST_GAIN) & (gain <= MOST_GAIN) & (left <= BETTER * alone)
        fits &= left <= (gain * half) ** 2
        gain, left = np.where(fits, gain, 1.0), np.where(fits, left, alone)
        # With more than half a band's width of spread left, most samples would go on being anomalous.
        anew = may_empty & (left > (gain * half) ** 2)
        offset = d + e - gain * e
        self.offset[index] = np.where(anew, 0.0, offset + gain * self.offset[index])
        self.gain[index] = np.where(anew, 1.0, gain * self.gain[index])
        self._reset(index)
        return [
            Shift(int(row), float(before), float(before + by), float(lasted), bool(new))
            for row, before, by, lasted, new in zip(index, e, d, seconds, anew, strict=True)
        ]

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return all of the state, by name."""
        return {
            "offset": self.offset,
            "gain": self.gain,
            "shift_block": self.block,
            "shift_run": self.run,
            "shift_recent": self.recent,
        }


def _means_of_few(
    recent: npt.NDArray[np.float32], deviations: FloatArray, least: FloatArray, most: FloatArray
) -> npt.NDArray[np.float32] | None:
    """Return what `LevelShift.follow` makes of running means, shape (n,), if each is always where its last sample is.

    None where it is not, such as between levels on both sides of the band.
    """
    here, inside = ~np.isnan(deviations), (deviations >= least) & (deviations <= most)
    sides = np.concatenate([((recent >= least) & (recent <= most))[None], inside])
    if not here.all():
        newest = np.maximum.accumulate(np.where(here, np.arange(1, len(sides))[:, None], 0))
        sides[1:] = np.take_along_axis(sides, newest, axis=0)
    parts = np.where(inside == sides[:-1], RECENT, 1.0)
    steps, means = np.where(here, deviations, 0.0), np.empty(sides.shape, np.float32)
    parts[~here] = 0.0
    means[0] = recent
    for before, after, part, deviation in zip(means, means[1:], parts, steps, strict=False):
        np.add(before, part * (deviation - before), out=after, casting="same_kind")
    within = (means[:-1] >= least) & (means[:-1] <= most)
    return means[-1] if np.array_equal(within, sides[:-1]) else None
