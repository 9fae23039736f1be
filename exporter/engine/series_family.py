"""Series that replace each other: pods of a deployment, machines of a fleet.

A series that is gone is not missed where a new one of its family came lately: then members come and go. Two series are
of one family where they have the same labels with the same values, up to what numbers and random names make different.
"""

from __future__ import annotations

import functools
import re

import numpy as np
import numpy.typing as npt

from exporter.engine.series import Labels, SeriesTable

__all__ = ["SeriesFamily", "stem"]

BoolArray = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

Family = frozenset[tuple[str, str]]

_SPLIT = re.compile(r"[^A-Za-z0-9]+")
_NUMBERED = re.compile(r"([A-Za-z]+)\d+")


@functools.lru_cache(maxsize=65536)
def stem(value: str) -> str:
    """Return what members of a fleet have in common in a label value; a value without digits stands for itself.

    >>> [stem(value) for value in ("web-7d9f8b6c5-x2x7k", "node17:9100", "10.0.3.7:9100", "checkout", "a1b2c3d")]
    ['web', 'node', '', 'checkout', '']
    """
    if not any(letter.isdigit() for letter in value):
        return value
    for part in _SPLIT.split(value):
        numbered = _NUMBERED.fullmatch(part)
        if numbered:
            return numbered[1]
        return "" if any(letter.isdigit() for letter in part) else part
    return ""


class SeriesFamily:
    """Families of the series of one query, found when they are asked for."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[Labels, Family]] = {}

    def renewed(self, table: SeriesTable, rows: Rows, young: Rows) -> BoolArray:
        """Return which of `rows`, shape (m,), have a `young` series in their family."""
        new = {self._family(table, row) for row in young.tolist() if table.in_use(row)}
        return np.array([self._family(table, row) in new for row in rows.tolist()], np.bool_)

    def _family(self, table: SeriesTable, row: int) -> Family:
        labels = table.labels(row)
        known = self._of.get(row)
        if known is None or known[0] is not labels:
            known = self._of[row] = labels, frozenset((name, stem(value)) for name, value in labels)
        return known[1]
