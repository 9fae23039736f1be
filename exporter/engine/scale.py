"""Baseline units: each series shifted by its first value and scaled by a power of two.

State is float32. A counter near 10^15 that moves by one, or a ratio near 10^-12, would lose everything in
it; the distance from the first value, in units of the first movement, does not. A power of two is exact,
so that scaling a series by one changes nothing but the unit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST", "Scale"]

FloatArray = npt.NDArray[np.float64]
Rows = slice | npt.NDArray[np.intp]

LARGEST = 1e300
"""Values are judged as if they ended here, so that no difference overflows: float64 ends at 1.8e308."""
_LARGEST_BASELINE = 1e18
"""Baseline values end here: their squares stay within float32, which ends at 3.4e38."""
_ROUNDING = 1e-12
"""Differences below this part of the value itself are rounding in the source: float64 has 16 digits, and sums of
thousands of terms lose four."""


class Scale:
    """Origin and unit of each row; `unit` is 0 until the series has moved for the first time."""

    def __init__(self) -> None:
        self.origin = np.full(0, np.nan)
        self.unit = np.zeros(0)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        more = capacity - len(self.origin)
        self.origin = np.concatenate([self.origin, np.full(more, np.nan)])
        self.unit = np.concatenate([self.unit, np.zeros(more)])

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Let the next value of `rows` be their first."""
        self.origin[rows] = np.nan
        self.unit[rows] = 0.0

    def update(self, rows: slice, values: FloatArray) -> None:
        """Settle the origin and the unit of the series for which `values`, source units, shape (t, n), decide it."""
        if not (self.unit[rows] == 0.0).any():
            return
        for value in values:
            self._update(rows, value)

    def _update(self, rows: slice, value: FloatArray) -> None:
        finite = np.isfinite(value)
        origin, unit = self.origin[rows], self.unit[rows]
        new = np.isnan(origin) & finite
        if new.any():
            origin[new] = value[new]
        moved = (unit == 0.0) & finite
        if moved.any():
            distance = np.abs(np.where(moved, value - origin, 0.0))
            moved &= (distance > 0.0) & np.isfinite(distance)
            exponent = np.clip(np.frexp(distance[moved])[1] - 1, -1000, 1000)
            unit[moved] = np.ldexp(1.0, exponent)

    def inward(self, rows: slice, value: FloatArray) -> FloatArray:
        """Return source values in baseline units."""
        origin, unit = self.origin[rows], self._unit(rows)
        units: FloatArray = (value - origin) / unit
        return np.clip(units, -_LARGEST_BASELINE, _LARGEST_BASELINE)

    def outward(self, rows: Rows, value: FloatArray) -> FloatArray:
        """Return baseline values in source units."""
        source: FloatArray = self.origin[rows] + value * self._unit(rows)
        return source

    def lengths(self, rows: slice, length: FloatArray | float) -> FloatArray:
        """Return a length in source units in baseline units."""
        units: FloatArray = length / self._unit(rows)
        return np.minimum(units, _LARGEST_BASELINE)

    def resolution(self, rows: slice, value: FloatArray) -> FloatArray:
        """Return the smallest length that has a meaning at the magnitude of `value` (source units, NaN: none)."""
        magnitude = np.fmax(np.abs(value), np.abs(self.origin[rows]))
        return self.lengths(rows, np.maximum(_ROUNDING * magnitude, 1e-307))

    def _unit(self, rows: Rows) -> FloatArray:
        unit = self.unit[rows]
        return np.where(unit == 0.0, 1.0, unit)
