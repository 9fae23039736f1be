"""Named arrays over series, each with the initial value of a new series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "Column", "Columns"]

Array = npt.NDArray[Any]


class Column(NamedTuple):
    """What one array holds of each series.

    Attributes
    ----------
    shape : tuple of int
        Without the axis of the series, which is the last one; empty for a single value.
    dtype : dtype
    initial : float or ndarray
        The value of a new series; an array that fits (*shape, 1).
    """

    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    initial: float | Array = 0.0


class Columns:
    """Arrays of shape (*column.shape, capacity), by name."""

    def __init__(self, layout: Mapping[str, Column]) -> None:
        self._layout = dict(layout)
        self._views: dict[tuple[int | None, int], dict[str, Array]] = {}
        self._arrays = {
            name: np.full((*column.shape, 0), column.initial, column.dtype) for name, column in layout.items()
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the views: in another process they would be arrays of their own."""
        return self.__dict__ | {"_views": {}}

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` series; the new ones have the initial values."""
        self._views.clear()
        for name, column in self._layout.items():
            old = self._arrays[name]
            new = np.full((*column.shape, capacity), column.initial, column.dtype)
            new[..., : old.shape[-1]] = old
            self._arrays[name] = new

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Set `rows`, shape (m,), to the initial values."""
        for name, column in self._layout.items():
            self._arrays[name][..., rows] = column.initial

    def views(self, rows: slice) -> dict[str, Array]:
        """Return views of the arrays of some series; the dictionary itself is not to be changed."""
        place = (rows.start, rows.stop)
        views = self._views.get(place)
        if views is None:
            views = self._views[place] = {name: array[..., rows] for name, array in self._arrays.items()}
        return views

    def arrays(self) -> dict[str, Array]:
        """Return the arrays themselves."""
        return dict(self._arrays)
