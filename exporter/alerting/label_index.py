"""Index of label values: the series of one query as arrays, and their rows after a restart.

Rows belong to a run of the program; what is stored names a series by the hash of its labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["FrequentLabel", "Hashes", "Labels", "LabelIndex", "Rows"]

Labels = tuple[tuple[str, str], ...]
Rows = npt.NDArray[np.intp]
Hashes = npt.NDArray[np.uint64]
_Codes = npt.NDArray[np.int32]

Scalar = TypeVar("Scalar", bound=np.generic)

_NO_LABEL = -1
_MOST_NAMES = 64
"""Label names that are looked at; more of them would be a mistake in an expression."""
_MOST_VALUES, _TIMES, _SHARE = 3, 2.0, 0.25
"""Of frequent values: how many, how many times as frequent as among all, and the part of the rows that must have it."""


@dataclass(frozen=True, slots=True)
class FrequentLabel:
    """A label value that is far more frequent among some series than among all.

    Attributes
    ----------
    members, series : int
        How many of the chosen series have it, and how many of all.
    """

    name: str
    value: str
    members: int
    series: int


class LabelIndex:
    """Labels by row. An update costs only as much as the rows that changed."""

    def __init__(self) -> None:
        self.hashes: Hashes = np.zeros(0, np.uint64)
        """By row; 0 where there is no series."""
        self._labels: list[Labels | None] = []
        self._codes: dict[str, _Codes] = {}
        self._values: dict[str, list[str]] = {}
        self._code_of: dict[str, dict[str, int]] = {}
        self._order: Rows = np.zeros(0, np.intp)

    def __len__(self) -> int:
        return int(np.count_nonzero(self.hashes))

    def update(self, series: Iterable[tuple[int, Labels]], size: int) -> None:
        """Apply what has changed: `series` are all rows in use below `size`."""
        now: list[Labels | None] = [None] * size
        for row, labels in series:
            now[row] = labels
        before = self._labels + [None] * (size - len(self._labels))
        changed = [row for row in range(size) if now[row] is not before[row]]
        self._resize(size)
        for row in changed:
            self._place(row, now[row])
        self._labels = now
        self._order = np.argsort(self.hashes, kind="stable")

    def rows_of(self, hashes: Hashes) -> Rows:
        """Return the row of each series, -1 where it is gone."""
        if not len(self.hashes):
            return np.full(len(hashes), -1, np.intp)
        place = np.searchsorted(self.hashes, hashes, sorter=self._order)
        rows = self._order[np.minimum(place, len(self._order) - 1)]
        return np.where(self.hashes[rows] == hashes, rows, -1)

    def combinations(self, rows: Rows, names: Sequence[str]) -> tuple[npt.NDArray[np.intp], list[Labels]]:
        """Return for each of `rows` the number of its combination of the labels `names`, and the combinations.

        A label that a series does not have is left out of its combination.
        """
        if not names:
            return np.zeros(len(rows), np.intp), [()]
        codes = np.stack([self._code(name)[rows] for name in names], axis=1)
        combinations, numbers = np.unique(codes, axis=0, return_inverse=True)
        texts = [
            tuple(sorted((name, self._values[name][code]) for name, code in zip(names, row, strict=True) if code >= 0))
            for row in combinations.tolist()
        ]
        return numbers.reshape(-1).astype(np.intp), texts

    def common_labels(self, rows: Rows, share: float = 1.0) -> dict[str, str]:
        """Return the labels of which at least this share of `rows` has the same value, by name."""
        common = {}
        for name, codes in sorted(self._codes.items()):
            counts = np.bincount(codes[rows] + 1, minlength=2)
            most = int(np.argmax(counts[1:]))
            if len(rows) and counts[1 + most] >= share * len(rows):
                common[name] = self._values[name][most]
        return common

    def frequent_labels(self, rows: Rows, *, besides: Collection[str] = ()) -> list[FrequentLabel]:
        """Return the label values that are far more frequent among `rows` than among all series, the clearest first.

        Parameters
        ----------
        besides : collection of str
            Label names that are not looked at.

        Notes
        -----
        Values are ranked by their term of the G statistic: the number of members that have it, times the logarithm of
        how many times as frequent it is.
        """
        all_rows = np.flatnonzero(self.hashes)
        ranked: list[tuple[float, FrequentLabel]] = []
        for name, codes in sorted(self._codes.items()):
            if name in besides:
                continue
            members = np.bincount(codes[rows] + 1, minlength=len(self._values[name]) + 1)[1:]
            series = np.bincount(codes[all_rows] + 1, minlength=len(self._values[name]) + 1)[1:]
            # A value of a single series identifies it and says nothing about the others.
            with np.errstate(all="ignore"):
                ratio = (members / max(len(rows), 1)) / (series / max(len(all_rows), 1))
            good = np.flatnonzero((members >= 2) & (members >= _SHARE * len(rows)) & (ratio >= _TIMES))
            for code in good.tolist():
                clarity = float(members[code] * np.log(ratio[code]))
                label = FrequentLabel(name, self._values[name][code], int(members[code]), int(series[code]))
                ranked.append((clarity, label))
        ranked.sort(key=lambda entry: (-entry[0], entry[1].name, entry[1].value))
        return [label for _, label in ranked[:_MOST_VALUES]]

    def _code(self, name: str) -> _Codes:
        codes = self._codes.get(name)
        return np.full(len(self.hashes), _NO_LABEL, np.int32) if codes is None else codes

    def _resize(self, size: int) -> None:
        self.hashes = _grown(self.hashes, size, np.uint64(0))
        for name, codes in self._codes.items():
            self._codes[name] = _grown(codes, size, np.int32(_NO_LABEL))

    def _place(self, row: int, labels: Labels | None) -> None:
        for codes in self._codes.values():
            codes[row] = _NO_LABEL
        self.hashes[row] = 0
        if labels is None:
            return
        self.hashes[row] = _hash_of(labels)
        for name, value in labels:
            column = self._codes.get(name)
            if column is None:
                if len(self._codes) >= _MOST_NAMES:
                    continue
                column = self._codes[name] = np.full(len(self.hashes), _NO_LABEL, np.int32)
                self._values[name], self._code_of[name] = [], {}
            code_of = self._code_of[name]
            code = code_of.get(value)
            if code is None:
                code = code_of[value] = len(code_of)
                self._values[name].append(value)
            column[row] = code


def _grown(array: npt.NDArray[Scalar], size: int, fill: Scalar) -> npt.NDArray[Scalar]:
    if size <= len(array):
        return array[:size].copy()
    return np.concatenate([array, np.full(size - len(array), fill, array.dtype)])


def _hash_of(labels: Labels) -> int:
    """Return 64 bits that identify a series in every process; never 0."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr(labels).encode("utf-8", "surrogatepass"))
    return int.from_bytes(digest.digest(), "big") or 1
