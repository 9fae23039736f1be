"""Rows by peer group, in blocks of groups of about the same size: statistics over siblings are those along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.columns import Array
from exporter.engine.series import Labels, SeriesTable

__all__ = ["GroupBlock", "PeerGroups", "medians"]

_SMALLEST = 8
"""Width of the narrowest block; each of the others is twice as wide as the one before."""


@dataclass(frozen=True, slots=True)
class GroupBlock:
    """Groups of about the same size.

    Attributes
    ----------
    rows : ndarray of intp, shape (g, m)
        The rows of each group; 0 where it has no more.
    member : ndarray of bool, shape (g, m)
        Where there is one.
    flat, places : ndarray of intp, shape (k,)
        The rows of all groups, and where each is in an array of shape (g, m) that is made flat.
    """

    rows: npt.NDArray[np.intp]
    member: npt.NDArray[np.bool_]
    flat: npt.NDArray[np.intp]
    places: npt.NDArray[np.intp]

    def take(self, column: Array) -> Array:
        """Return the values of a column, shape (..., n), by group: (..., g, m)."""
        return np.take(column, self.rows, axis=-1)

    def put(self, column: Array, values: Array) -> None:
        """Write values by group, shape (..., g, m), into a column, shape (..., n)."""
        column[..., self.flat] = values.reshape(*values.shape[:-2], -1)[..., self.places]


class PeerGroups:
    """The peer groups of the series of one query, kept while no row gets or loses a series.

    Parameters
    ----------
    by : sequence of str
        Labels whose values siblings have in common; none: all series are siblings.
    """

    def __init__(self, by: Sequence[str]) -> None:
        self.by = tuple(sorted(by))
        self._version: tuple[int, int] = (-1, 0)
        self._blocks: tuple[GroupBlock, ...] = ()
        self._numbers: dict[tuple[str, ...], int] = {}
        self._of_row: dict[int, tuple[Labels, int]] = {}

    def blocks(self, table: SeriesTable) -> tuple[GroupBlock, ...]:
        """Return the rows in use by group."""
        version = table.version, table.size
        if version != self._version:
            rows, numbers = self._numbered(table)
            self._blocks, self._version = tuple(_blocks(rows, numbers)), version
        return self._blocks

    def _numbered(self, table: SeriesTable) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        if not self.by:
            rows = np.flatnonzero(table.used())
            return rows, np.zeros(len(rows), np.intp)
        before, self._of_row = self._of_row, {}
        for row, labels in table.items():
            entry = before.get(row)
            if entry is None or entry[0] is not labels:
                values = dict(labels)
                group = tuple(values.get(name, "") for name in self.by)
                entry = labels, self._numbers.setdefault(group, len(self._numbers))
            self._of_row[row] = entry
        if len(self._numbers) > 2 * len(self._of_row) + 1024:
            # Names that are gone.
            self._numbers, self._of_row = {}, {}
            return self._numbered(table)
        count = len(self._of_row)
        numbers = np.fromiter((number for _, number in self._of_row.values()), np.intp, count)
        return np.fromiter(self._of_row, np.intp, count), numbers


def _blocks(rows: npt.NDArray[np.intp], numbers: npt.NDArray[np.intp]) -> list[GroupBlock]:
    order = np.lexsort((rows, numbers))
    rows = rows[order]
    _, starts, sizes = np.unique(numbers[order], return_index=True, return_counts=True)
    widths = np.maximum(_SMALLEST, 1 << np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.int64))
    blocks = []
    for width in np.unique(widths).tolist():
        here = widths == width
        offsets = np.arange(min(width, int(sizes[here].max())))
        member = offsets < sizes[here, None]
        index = np.where(member, starts[here, None] + offsets, 0)
        matrix = np.where(member, rows[index], 0)
        blocks.append(GroupBlock(matrix, member, matrix[member], np.flatnonzero(member)))
    return blocks


def medians(values: Array) -> Array:
    """Return the median of each row, of what is not NaN: shape (g, m) to (g,); NaN where there is nothing.

    >>> medians(np.array([[3.0, np.nan, 1.0], [np.nan, np.nan, np.nan]]))
    array([ 2., nan])
    """
    ranked = np.sort(values, axis=1)  # NaN comes last.
    count = np.count_nonzero(~np.isnan(values), axis=1)
    each = np.arange(len(values))
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)
    middle: Array = 0.5 * (ranked[each, low] + ranked[each, high])
    return middle
