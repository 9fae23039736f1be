"""Settings by which samples are scored and that may differ from row to row, where queries are scored together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.engine.settings import EngineSettings

__all__ = ["RowSettings"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RowSettings:
    """One value for all rows, or an array of shape (n,).

    Attributes
    ----------
    low, high : float or ndarray, source units
        What can be; infinite where there is no limit.
    min_deviation, min_relative_deviation : float or ndarray
        See `EngineSettings`.
    upward, downward : bool or ndarray of bool
        Whether a value that is too high counts, and one that is too low.
    """

    low: float | FloatArray
    high: float | FloatArray
    min_deviation: float | FloatArray
    min_relative_deviation: float | FloatArray
    upward: bool | BoolArray
    downward: bool | BoolArray

    @classmethod
    def of(cls, settings: EngineSettings) -> RowSettings:
        """Return those of a query."""
        low, high = settings.valid_range
        least, relative = settings.min_deviation, settings.min_relative_deviation
        return cls(low, high, least, relative, settings.direction != "below", settings.direction != "above")

    @classmethod
    def joined(cls, parts: Sequence[RowSettings], sizes: Sequence[int]) -> RowSettings:
        """Return those of several queries, whose rows follow each other."""
        columns = []
        for field in fields(cls):
            values = [getattr(part, field.name) for part in parts]
            columns.append(values[0] if len(set(values)) == 1 else np.repeat(values, sizes))
        return cls(*columns)

    def part(self, rows: slice) -> RowSettings:
        """Return those of some rows."""
        deviations = self.min_deviation, self.min_relative_deviation
        columns: tuple[Any, ...] = (self.low, self.high, *deviations, self.upward, self.downward)
        if np.ndarray not in map(type, columns):
            return self
        return RowSettings(*(each[rows] if isinstance(each, np.ndarray) else each for each in columns))
