"""Matchers applied to many label sets at once: to the distinct values of a label, never to each label set."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from exporter.calendar.matchers import Matcher

__all__ = ["LabelColumns"]

Rows = npt.NDArray[np.intp]
Labels = tuple[tuple[str, str], ...]

_STALE_VALUES = 1000
"""Values of a label that may be kept for rows that are gone."""
_NONE: Rows = np.zeros(0, np.intp)


class LabelColumns:
    """The label sets of rows, as one column for each label. Only rows that change are read again.

    Parameters
    ----------
    value_of : callable
        Of the part of a label set that `parts_of` selects, and the name of a label: the effective value of that label.
    parts_of : callable
        Of the name of a label: the names of the labels that its effective value depends on.
    alias_of : callable
        Of the name of a label: another one under which it is matched, too.

    Attributes
    ----------
    values_tested : int
        How many values were tested against matchers so far; the work is proportional to it.
    """

    def __init__(
        self,
        value_of: Callable[[Labels, str], str],
        parts_of: Callable[[str], frozenset[str]],
        alias_of: Callable[[str], str] = str,
    ) -> None:
        self._value_of = value_of
        self._parts_by_name = parts_of
        self._alias_of = alias_of
        self._aliases: dict[str, set[str]] = {}
        self._rows: list[Labels | None] = []
        self._names: set[str] = set()
        self._columns: dict[str, _Column] = {}
        self._cache: dict[tuple[Matcher, ...], Rows] = {}
        self.values_tested = 0

    def read(self, size: int, rows: Iterable[tuple[int, Labels]]) -> None:
        """Take over the label sets of rows, as they are now; rows below `size` that are not given have none."""
        now: list[Labels | None] = [None] * size
        for row, labels in rows:
            now[row] = labels
        before = self._rows + [None] * (size - len(self._rows))
        changed = [row for row, (new, old) in enumerate(zip(now, before, strict=False)) if new is not old]
        self._rows = now
        self._cache = {}
        for row in changed:
            # Names of series that are gone stay: they only cost a look.
            for name, _ in now[row] or ():
                if name not in self._names:
                    self._names.add(name)
                    self._note_alias(name)
        for column in self._columns.values():
            column.read(now, changed)

    def _note_alias(self, name: str) -> None:
        alias = self._alias_of(name)
        if alias != name:
            self._aliases.setdefault(alias, set()).add(name)
            self._columns.pop(alias, None)

    def _parts_of(self, name: str) -> frozenset[str]:
        return self._parts_by_name(name) | self._aliases.get(name, set())

    def keep(self, in_use: Iterable[tuple[Matcher, ...]]) -> None:
        """Drop the cached rows of all matchers that are not in use."""
        self._cache = {matchers: self._cache[matchers] for matchers in in_use if matchers in self._cache}

    def rows(self, matchers: tuple[Matcher, ...]) -> Rows:
        """Return the rows that satisfy all matchers; cached."""
        rows = self._cache.get(matchers)
        if rows is None:
            rows = self._cache[matchers] = self._matching(matchers)
        return rows

    def distinguish(self, matchers: Sequence[Matcher]) -> bool:
        """Return whether matchers can be true for some rows and false for others."""
        return not all(self._is_constant(matcher.name) for matcher in matchers)

    def _matching(self, matchers: Sequence[Matcher]) -> Rows:
        varying = []
        # Labels that all rows share come first: most silences are about other alerts, and end here.
        for matcher in matchers:
            if not self._is_constant(matcher.name):
                varying.append(matcher)
            elif not matcher.matches(self._value_of((), matcher.name)):
                return _NONE
        rows: Rows | None = None
        for matcher in sorted(varying, key=_breadth):
            column = self._columns.get(matcher.name)
            if column is None:
                column = self._columns[matcher.name] = _Column(matcher.name, self._parts_of, self._value_of)
                column.read(self._rows, range(len(self._rows)))
            rows, tested = column.matching(matcher, rows)
            self.values_tested += tested
            if not len(rows):
                return _NONE
        if rows is None:
            return np.array([row for row, labels in enumerate(self._rows) if labels is not None], np.intp)
        return rows

    def _is_constant(self, name: str) -> bool:
        return self._parts_of(name).isdisjoint(self._names)


class _Column:
    """The values of one label, coded as integers by row."""

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
        if len(self._values) > 2 * len(rows) + _STALE_VALUES:
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
        """Return the rows, of all or `among` some, that a matcher is true for, and how many values were tested."""
        if among is not None:
            codes = np.unique(self._codes[among])
            true = np.fromiter((matcher.matches(self._values[code]) for code in codes.tolist()), np.bool_, len(codes))
            return among[true[np.searchsorted(codes, self._codes[among])]], len(codes)
        values, tested = self._values_of(matcher)
        codes_of = self._codes_of
        parts = [
            self._order[self._starts[code] : self._starts[code + 1]] for value in values for code in codes_of[value]
        ]
        if not matcher.negative:
            return (np.concatenate(parts) if parts else _NONE), tested
        true = self._codes > 0
        for part in parts:
            true[part] = False
        return np.flatnonzero(true), tested

    def _values_of(self, matcher: Matcher) -> tuple[list[str], int]:
        """Return the values that equal or match the value of a matcher, and how many were tested; ignores negation."""
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
    """Return a rank of how many rows a matcher may be true for: narrow matchers come first."""
    if matcher.negative or (matcher.operator == "=" and not matcher.value):
        return 4
    if matcher.regexp is None:
        return 0
    if matcher.regexp.literals is not None:
        return 1
    return 2 if matcher.regexp.prefix else 3
