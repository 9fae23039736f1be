"""Matchers held against many label sets at once: by distinct value of a label, never by label set."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from exporter.calendar.matchers import Matcher

__all__ = ["LabelColumns"]

Rows = npt.NDArray[np.intp]
Labels = tuple[tuple[str, str], ...]

_OUT_OF_USE = 1000
"""Values of one label that may be there for rows that are gone."""
_NONE: Rows = np.zeros(0, np.intp)


class LabelColumns:
    """The labels of rows, label by label. Rows that change are read again, the others never.

    Parameters
    ----------
    value_of : callable
        From the part of a label set that `parts_of` chose, and a label's name, to the value that counts.
    parts_of : callable
        From a label's name to the names of the labels that its value follows from.

    Attributes
    ----------
    looked_at : int
        How many values were held against matchers so far: what the work is proportional to.
    """

    def __init__(self, value_of: Callable[[Labels, str], str], parts_of: Callable[[str], frozenset[str]]) -> None:
        self._value_of = value_of
        self._parts_of = parts_of
        self._rows: list[Labels | None] = []
        self._names: set[str] = set()
        self._columns: dict[str, _Column] = {}
        self._found: dict[tuple[Matcher, ...], Rows] = {}
        self.looked_at = 0

    def read(self, size: int, rows: Iterable[tuple[int, Labels]]) -> None:
        """Take over the label sets of rows, as they are now; rows below `size` that are not given have none."""
        now: list[Labels | None] = [None] * size
        for row, labels in rows:
            now[row] = labels
        before = self._rows + [None] * (size - len(self._rows))
        changed = [row for row, (new, old) in enumerate(zip(now, before, strict=False)) if new is not old]
        self._rows = now
        self._found = {}
        for row in changed:
            # Names of series that are gone stay: they only cost a look.
            self._names.update(name for name, _ in now[row] or ())
        for column in self._columns.values():
            column.read(now, changed)

    def keep(self, wanted: Iterable[tuple[Matcher, ...]]) -> None:
        """Forget the answers to everything but what is wanted."""
        self._found = {matchers: self._found[matchers] for matchers in wanted if matchers in self._found}

    def rows(self, matchers: tuple[Matcher, ...]) -> Rows:
        """Return the rows that fulfil all matchers; asked again, it is known."""
        found = self._found.get(matchers)
        if found is None:
            found = self._found[matchers] = self._matching(matchers)
        return found

    def tell_apart(self, matchers: Sequence[Matcher]) -> bool:
        """Return whether matchers can be true of some rows and not of others."""
        return not all(self._is_constant(matcher.name) for matcher in matchers)

    def _matching(self, matchers: Sequence[Matcher]) -> Rows:
        varying = []
        # What is the same for all rows comes first: most silences are about other alerts, and end here.
        for matcher in matchers:
            if not self._is_constant(matcher.name):
                varying.append(matcher)
            elif not matcher.matches(self._value_of((), matcher.name)):
                return _NONE
        found: Rows | None = None
        for matcher in sorted(varying, key=_breadth):
            column = self._columns.get(matcher.name)
            if column is None:
                column = self._columns[matcher.name] = _Column(matcher.name, self._parts_of, self._value_of)
                column.read(self._rows, range(len(self._rows)))
            found, looked_at = column.matching(matcher, found)
            self.looked_at += looked_at
            if not len(found):
                return _NONE
        if found is None:
            return np.array([row for row, labels in enumerate(self._rows) if labels is not None], np.intp)
        return found

    def _is_constant(self, name: str) -> bool:
        return self._parts_of(name).isdisjoint(self._names)


class _Column:
    """The values of one label: which value each row has, as a number."""

    def __init__(
        self, name: str, parts_of: Callable[[str], frozenset[str]], value_of: Callable[[Labels, str], str]
    ) -> None:
        self._name = name
        self._parts = parts_of(name)
        self._value_of = value_of
        self._begin()

    def _begin(self) -> None:
        self._codes: Rows = np.zeros(0, np.intp)
        # Number 0 is a row without a label set: nothing matches it.
        self._values: list[str] = [""]
        self._code_of: dict[object, int] = {}
        self._codes_of: dict[str, list[int]] = {}

    def read(self, rows: Sequence[Labels | None], changed: Iterable[int]) -> None:
        if len(self._values) > 2 * len(rows) + _OUT_OF_USE:
            self._begin()
            changed = range(len(rows))
        codes = np.zeros(len(rows), np.intp)
        kept = min(len(rows), len(self._codes))
        codes[:kept] = self._codes[:kept]
        for row in changed:
            codes[row] = self._code(rows[row])
        self._codes = codes
        # The rows of each number, one after the other, and where each begins.
        self._order = np.argsort(codes, kind="stable")
        self._starts = np.searchsorted(codes[self._order], np.arange(len(self._values) + 1))
        self._sorted = sorted(self._codes_of)

    def _code(self, labels: Labels | None) -> int:
        if labels is None:
            return 0
        part = tuple(pair for pair in labels if pair[0] in self._parts)
        code = self._code_of.get(part)
        if code is None:
            code = self._code_of[part] = len(self._values)
            value = self._value_of(part, self._name)
            self._values.append(value)
            self._codes_of.setdefault(value, []).append(code)
        return code

    def matching(self, matcher: Matcher, among: Rows | None) -> tuple[Rows, int]:
        """Return which rows, of all or of some, a matcher is true of, and how many values that took."""
        if among is not None:
            codes = np.unique(self._codes[among])
            true = np.fromiter((matcher.matches(self._values[code]) for code in codes.tolist()), np.bool_, len(codes))
            return among[true[np.searchsorted(codes, self._codes[among])]], len(codes)
        values, looked_at = self._values_of(matcher)
        codes_of = self._codes_of
        parts = [
            self._order[self._starts[code] : self._starts[code + 1]] for value in values for code in codes_of[value]
        ]
        if not matcher.negative:
            return (np.concatenate(parts) if parts else _NONE), looked_at
        true = self._codes > 0
        for part in parts:
            true[part] = False
        return np.flatnonzero(true), looked_at

    def _values_of(self, matcher: Matcher) -> tuple[list[str], int]:
        """Return the values that a matcher names or fits, whatever its operator makes of it."""
        regexp = matcher.regexp
        named = (matcher.value,) if regexp is None else regexp.literals
        if named is not None:
            return [value for value in dict.fromkeys(named) if value in self._codes_of], len(named)
        assert regexp is not None  # noqa: S101 - it names no values.
        begin, end = 0, len(self._sorted)
        if regexp.prefix:
            begin = bisect.bisect_left(self._sorted, regexp.prefix)
            # No text that begins with the prefix comes after this one.
            end = bisect.bisect_left(self._sorted, regexp.prefix + "\U0010ffff" * 2)
        return list(filter(matcher.test, self._sorted[begin:end])), end - begin


def _breadth(matcher: Matcher) -> int:
    """Return how many rows a matcher may be true of, roughly: the narrow ones come first."""
    if matcher.negative or (matcher.operator == "=" and not matcher.value):
        return 4
    if matcher.regexp is None:
        return 0
    if matcher.regexp.literals is not None:
        return 1
    return 2 if matcher.regexp.prefix else 3
