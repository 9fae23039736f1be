"""Series of a query: the row of each in every array, its lifetime, and its family.

A series is identified by its label set. The server sends it as a JSON object; as long as it sends the same
bytes, the row is found by those bytes and nothing is parsed again.
"""

from __future__ import annotations

import functools
import heapq
import re
from collections.abc import Sequence
from itertools import repeat

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.engine.ordered import all_of, any_of

__all__ = ["Labels", "SeriesFamily", "SeriesLifetimes", "SeriesTable", "key_of", "labels_of", "stem"]

Labels = tuple[tuple[str, str], ...]
"""A label set: (name, value) pairs in the order of their names; empty values are left out."""

Rows = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Family = frozenset[tuple[str, str]]

_SPLIT = re.compile(r"[^A-Za-z0-9]+")
_NUMBERED = re.compile(r"([A-Za-z]+)\d+")

_decode = msgspec.json.Decoder(dict[str, str]).decode


def labels_of(key: bytes) -> Labels:
    """Parse a label set as the query API sends it.

    >>> labels_of(b'{"job":"node","instance":"a:9100"}')
    (('instance', 'a:9100'), ('job', 'node'))
    """
    return tuple(sorted((name, value) for name, value in _decode(key).items() if value))


class SeriesTable:
    """The rows of one query.

    Rows of forgotten series are used again, the lowest first, so that arrays stay as small as the largest
    number of series that were there together.

    Parameters
    ----------
    limit : int
        Series beyond this are refused.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        """One past the highest row in use: the length that arrays over rows must have."""
        self.version = 0
        """Changes whenever a row gets or loses a series."""
        self._row_of: dict[Labels, int] = {}
        self._row_of_key: dict[bytes, int] = {}
        self._newest: tuple[Sequence[bytes], Rows] | None = None
        """The label sets that were looked up last, and their rows while no row got or lost one."""
        self._labels: list[Labels | None] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._row_of)

    def copy(self) -> SeriesTable:
        """Return the rows as they are now, to be read."""
        table = SeriesTable(self.limit)
        table.size, table.version, table._row_of = self.size, self.version, dict(self._row_of)
        table._labels, table._free = list(self._labels), list(self._free)
        return table

    def labels(self, row: int) -> Labels:
        """Return the label set of a row in use."""
        labels = self._labels[row]
        if labels is None:
            raise KeyError(row)
        return labels

    def in_use(self, row: int) -> bool:
        """Return whether a row has a series."""
        return row < len(self._labels) and self._labels[row] is not None

    def used(self) -> npt.NDArray[np.bool_]:
        """Return which rows have a series, shape (size,)."""
        used = np.zeros(self.size, np.bool_)
        used[np.fromiter(self._row_of.values(), np.intp, len(self._row_of))] = True
        return used

    def row(self, labels: Labels) -> int | None:
        """Return the row of a label set, or None."""
        return self._row_of.get(labels)

    def items(self) -> list[tuple[int, Labels]]:
        """Return every row in use with its label set, by row."""
        return [(row, labels) for row, labels in enumerate(self._labels) if labels is not None]

    def rows(self, keys: Sequence[bytes]) -> Rows:
        """Return the row of each label set as a JSON object, -1 where it is new; nothing is admitted.

        A list of label sets that is given again, the same object, is not looked up again.
        """
        rows = self._rows_by_key(keys)
        for index in np.flatnonzero(rows < 0).tolist():
            rows[index] = self._row_of.get(labels_of(keys[index]), -1)
        return rows

    def mask_of(self, keys: Sequence[bytes]) -> npt.NDArray[np.bool_] | None:
        """Return which rows have these series, shape (size,); None without keys."""
        if not len(keys):
            return None
        rows = self.rows(keys)
        chosen = np.zeros(self.size, np.bool_)
        chosen[rows[rows >= 0]] = True
        return chosen

    def knows(self, key: bytes) -> bool:
        """Return whether a label set as a JSON object, or any text in its place, is that of a series in the table."""
        if key in self._row_of_key:
            return True
        try:
            return bool(self._row_of) and labels_of(key) in self._row_of
        except (msgspec.DecodeError, UnicodeDecodeError):
            return False

    def _rows_by_key(self, keys: Sequence[bytes]) -> Rows:
        if self._newest is None or self._newest[0] is not keys:
            self._newest = keys, np.fromiter(map(self._row_of_key.get, keys, repeat(-1)), np.intp, len(keys))
        return self._newest[1].copy()

    def find(self, keys: Sequence[bytes]) -> tuple[Rows, list[int]]:
        """Find or admit the series of one answer.

        Parameters
        ----------
        keys : sequence of bytes, length n
            Label sets as JSON objects.

        Returns
        -------
        rows : ndarray of intp, shape (n,)
            -1 where the series was refused because the table is full.
        admitted : list of int
            Rows that were given to new series; what they held before must be forgotten.
        """
        rows = self._rows_by_key(keys)
        admitted: list[int] = []
        for index in np.flatnonzero(rows < 0).tolist():
            row = self._admit(keys[index], admitted)
            if row is not None:
                rows[index] = row
        return rows, admitted

    def _admit(self, key: bytes, admitted: list[int]) -> int | None:
        labels = labels_of(key)
        row = self._row_of.get(labels)
        if row is None:
            if len(self._row_of) >= self.limit:
                return None
            row = heapq.heappop(self._free) if self._free else self.size
            self._assign(row, labels)
            admitted.append(row)
        # The server may spell one label set in two ways; a runaway of spellings must not fill the memory.
        if len(self._row_of_key) > 4 * len(self._row_of) + 1024:
            self._row_of_key.clear()
        self._row_of_key[key] = row
        self._newest = None
        return row

    def _assign(self, row: int, labels: Labels) -> None:
        if row >= len(self._labels):
            self._labels.extend([None] * (row + 1 - len(self._labels)))
        self._labels[row] = labels
        self._row_of[labels] = row
        self.version += 1
        self.size = max(self.size, row + 1)

    def restore(self, series: Sequence[tuple[int, bytes]], size: int) -> None:
        """Fill an empty table with the rows and label sets of an earlier run; the other rows below `size` are free."""
        for row, key in series:
            self._assign(row, labels_of(key))
            self._row_of_key[key] = row
        self.size, self._newest = size, None
        self._labels.extend([None] * (size - len(self._labels)))
        used = {row for row, _ in series}
        self._free = [row for row in range(self.size) if row not in used]

    def release(self, rows: Rows) -> None:
        """Forget the series of `rows`, shape (m,); the rows will be given to others."""
        gone = set(rows.tolist())
        if not gone:
            return
        self.version, self._newest = self.version + 1, None
        for row in gone:
            del self._row_of[self.labels(row)]
            self._labels[row] = None
            heapq.heappush(self._free, row)
        self._row_of_key = {key: row for key, row in self._row_of_key.items() if row not in gone}


def key_of(labels: Labels) -> bytes:
    """Write a label set as a JSON object: the inverse of `labels_of`."""
    return msgspec.json.encode(dict(labels))


class SeriesLifetimes:
    """Times of each row, Unix seconds: `first` sample that was to be learned (NaN before), `last` sample, `admitted`.

    `count` is how many samples were learned.
    """

    def __init__(self) -> None:
        self.first = np.zeros(0)
        self.last = np.zeros(0)
        self.admitted = np.zeros(0)
        self.count = np.zeros(0, np.int64)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        for name, old in list(vars(self).items()):
            new = np.zeros(capacity, old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)

    def admit(self, rows: npt.NDArray[np.intp], at: float) -> None:
        """Begin anew for the series that `rows` were given to."""
        self.first[rows] = np.nan
        self.last[rows] = at
        self.admitted[rows] = at
        self.count[rows] = 0

    def update(self, rows: slice, times: FloatArray, here: BoolArray, learn: BoolArray) -> None:
        """Note which series have samples at `times`, and which of them may be learned; shapes (t, n).

        A sample that is not to be learned does not count as the `first`.
        """
        if all_of(learn) and not any_of(np.isnan(self.first[rows])):
            self.last[rows] = times[-1]
            return
        first, last = times[learn.argmax(axis=0)], times[len(times) - 1 - here[::-1].argmax(axis=0)]
        self.first[rows] = np.where(learn.any(axis=0) & np.isnan(self.first[rows]), first, self.first[rows])
        self.last[rows] = np.where(here.any(axis=0), last, self.last[rows])


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
    """Families of the series of one query, computed when needed: series that replace each other.

    They are pods of a deployment, or machines of a fleet. A series that is gone is not missing where a new one of its
    family came lately. Two series are of one family where they have the same labels with the same values, up to what
    numbers and random names make different.
    """

    def __init__(self) -> None:
        self._of: dict[int, tuple[Labels, Family]] = {}

    def renewed(self, table: SeriesTable, rows: Rows, young: Rows) -> BoolArray:
        """Return which of `rows`, shape (m,), have a `young` series in their family."""
        new = {self._family(table, row) for row in young.tolist() if table.in_use(row)}
        return np.array([self._family(table, row) in new for row in rows.tolist()], np.bool_)

    def _family(self, table: SeriesTable, row: int) -> Family:
        labels = table.labels(row)
        entry = self._of.get(row)
        if entry is None or entry[0] is not labels:
            entry = self._of[row] = labels, frozenset((name, stem(value)) for name, value in labels)
        return entry[1]
