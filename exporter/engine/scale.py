"""Baseline units: each series shifted by its first value and scaled by a power of two.

State is float32. A counter near 10^15 that moves by one, or a ratio near 10^-12, would lose everything in
it; the distance from the first value, in units of the first movement, does not. A power of two is exact,
so that scaling a series by one changes nothing but the unit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporter.engine.constants import double
from exporter.engine.ordered import any_of, clip

__all__ = ["LARGEST", "Scale"]

FloatArray = npt.NDArray[np.float64]
Rows = slice | npt.NDArray[np.intp]

LARGEST = 1e300
"""Values are judged as if they ended here, so that no difference overflows: float64 ends at 1.8e308."""
_LARGEST_BASELINE, _LEAST_BASELINE = double(1e18), double(-1e18)
"""Baseline values end here: their squares stay within float32, which ends at 3.4e38."""
_FINEST = 1e-9
"""Part of the magnitude of a series below which what is learned of it is zero: float32 has 7 digits."""
_ZERO, _UNIT = double(0.0), double(1.0)
_ROUNDING = 1e-12
"""Differences below this part of the value itself are rounding in the source: float64 has 16 digits, and sums of
thousands of terms lose four."""


class Scale:
    """Origin and unit of each row; `unit` is 0 until the series has moved for the first time.

    `negative` is whether the series has ever been below zero.
    """

    def __init__(self) -> None:
        self.origin = np.full(0, np.nan)
        self.unit = np.zeros(0)
        self.negative = np.zeros(0, np.bool_)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        more = capacity - len(self.origin)
        self.origin = np.concatenate([self.origin, np.full(more, np.nan)])
        self.unit = np.concatenate([self.unit, np.zeros(more)])
        self.negative = np.concatenate([self.negative, np.zeros(more, np.bool_)])

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Let the next value of `rows` be their first."""
        self.origin[rows] = np.nan
        self.unit[rows] = 0.0
        self.negative[rows] = False

    def note_signs(self, rows: slice, values: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which series were below zero at one of `values` or before, source units, shape (t, n) both."""
        below: npt.NDArray[np.bool_] = values < 0.0
        if not any_of(below):
            return np.broadcast_to(self.negative[rows], below.shape)
        below = np.logical_or.accumulate(below, axis=0) | self.negative[rows]
        self.negative[rows] = below[-1]
        return below

    def possible(self, rows: Rows, value: FloatArray, negative: npt.NDArray[np.bool_] | None = None) -> FloatArray:
        """Clip values of series, source units, to what is possible.

        Nothing is below zero where the series never was (`negative`, from now on unless given), and what is zero at
        the scale of the series is zero.
        """
        finest = _FINEST * np.fmax(np.abs(self.origin[rows]), self.unit_of(rows))
        value = np.where(np.abs(value) < finest, _ZERO, value)
        return np.where(self.negative[rows] if negative is None else negative, value, np.maximum(value, _ZERO))

    def update(self, rows: slice, values: FloatArray) -> None:
        """Settle the origin and the unit of the series for which `values`, source units, shape (t, n), decide it."""
        if not any_of(self.unit[rows] == 0.0):
            return
        for value in values:
            self._update(rows, value)

    def _update(self, rows: slice, value: FloatArray) -> None:
        finite = np.isfinite(value)
        origin, unit = self.origin[rows], self.unit[rows]
        new = np.isnan(origin) & finite
        if any_of(new):
            origin[new] = value[new]
        moved = (unit == 0.0) & finite
        if any_of(moved):
            distance = np.abs(np.where(moved, value - origin, 0.0))
            moved &= (distance > 0.0) & np.isfinite(distance)
            exponent = np.clip(np.frexp(distance[moved])[1] - 1, -1000, 1000)
            unit[moved] = np.ldexp(1.0, exponent)

    def inward(self, rows: Rows, value: FloatArray) -> FloatArray:
        """Return source values in baseline units."""
        origin, unit = self.origin[rows], self.unit_of(rows)
        units: FloatArray = (value - origin) / unit
        return clip(units, _LEAST_BASELINE, _LARGEST_BASELINE)

    def outward(self, rows: Rows, value: FloatArray) -> FloatArray:
        """Return baseline values in source units."""
        source: FloatArray = self.origin[rows] + value * self.unit_of(rows)
        return source

    def lengths(self, rows: slice, length: FloatArray | float) -> FloatArray:
        """Return a length in source units in baseline units."""
        units: FloatArray = length / self.unit_of(rows)
        return np.minimum(units, _LARGEST_BASELINE)

    def resolution(self, rows: slice, value: FloatArray) -> FloatArray:
        """Return the smallest length that has a meaning at the magnitude of `value` (source units, NaN: none)."""
        magnitude = np.fmax(np.abs(value), np.abs(self.origin[rows]))
        return self.lengths(rows, np.maximum(_ROUNDING * magnitude, 1e-307))

    def unit_of(self, rows: Rows) -> FloatArray:
        """Return the length of a baseline unit in source units, shape (n,)."""
        unit = self.unit[rows]
        return np.where(unit == _ZERO, _UNIT, unit)
