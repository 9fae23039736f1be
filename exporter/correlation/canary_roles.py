"""Which series of a query are on which side of which comparison."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.calendar.matchers import all_match
from exporter.correlation.canary_settings import CanarySettings
from exporter.engine.series import Labels, SeriesTable, key_of

__all__ = ["CanaryRoles", "ComparedSides", "RoleAssignment"]

Rows = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
Cell = tuple[Labels, str]

_LINGERS = 600.0
"""Seconds for which a value counts as there after its last sample: roles do not change with a scrape that failed."""
_FORGOTTEN = 86400.0
_QUOTED = re.compile(r'="([\w.:/-]*)"')
_NUMBERS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class ComparedSides:
    """One comparison.

    Attributes
    ----------
    key : bytes
        Its labels as a JSON object: those of `by`, and what selects the candidate.
    baseline, candidate : str
        What the sides are called.
    """

    key: bytes
    baseline: str
    candidate: str


@dataclass(frozen=True, slots=True)
class RoleAssignment:
    """The sides of a slot.

    Attributes
    ----------
    sides : tuple of ComparedSides
    place : ndarray of intp, shape (size,)
        Index in `sides` of each row of the query; -1: it is in none.
    side : ndarray of intp, shape (size,)
        0: baseline, 1: candidate.
    """

    sides: tuple[ComparedSides, ...]
    place: Rows
    side: Rows


class CanaryRoles:
    """Assigns series to sides, by matchers or by the order in which values of a label appeared."""

    def __init__(self, settings: CanarySettings) -> None:
        self._settings = settings
        self._seen: tuple[SeriesTable | None, int] = (None, -1)
        self._cells: list[Cell] = []
        self._index: dict[Cell, int] = {}
        self._cell_of: Rows = np.zeros(0, np.intp)
        self._first = np.zeros(0)
        self._last = np.zeros(0)
        self._there: bytes | None = None
        self._assigned = RoleAssignment((), np.zeros(0, np.intp), np.zeros(0, np.intp))

    def assign(self, table: SeriesTable, present: BoolArray, at: float) -> RoleAssignment:
        """Return the sides of a slot.

        Parameters
        ----------
        present : ndarray of bool, shape (table.size,)
            Which series have a sample.
        at : float
            The slot, Unix seconds.
        """
        if self._seen != (table, table.version):
            self._read(table, at)
        here = np.zeros(len(self._cells), np.bool_)
        cells = self._cell_of[present]
        here[cells[cells >= 0]] = True
        # What comes back is a rollout like any other.
        back = here & ~(at - self._last <= _LINGERS)
        self._first[back] = at
        self._last[here] = at
        there = at - self._last <= _LINGERS
        state = there.tobytes() + self._first[there].tobytes()
        if state != self._there:
            self._there = state
            self._assigned = self._by_label(there) if self._settings.label is not None else self._by_matchers()
        return self._assigned

    def _read(self, table: SeriesTable, at: float) -> None:
        """Take over the rows of a table."""
        self._seen, self._there = (table, table.version), None
        forgotten = {index for index in range(len(self._cells)) if at - self._last[index] > _FORGOTTEN}
        if forgotten:
            kept = [index for index in range(len(self._cells)) if index not in forgotten]
            self._take([self._cells[index] for index in kept], self._first[kept], self._last[kept])
        self._cell_of = np.full(table.size, -1, np.intp)
        for row, labels in table.items():
            cell = self._cell(labels)
            if cell is not None:
                index = self._index.setdefault(cell, len(self._cells))
                if index == len(self._cells):
                    self._cells.append(cell)
                self._cell_of[row] = index
        new = len(self._cells) - len(self._first)
        self._first = np.concatenate([self._first, np.full(new, np.nan)])
        self._last = np.concatenate([self._last, np.full(new, -np.inf)])

    def _take(self, cells: Sequence[Cell], first: npt.NDArray[np.float64], last: npt.NDArray[np.float64]) -> None:
        self._cells, self._first, self._last = list(cells), first, last
        self._index = {cell: index for index, cell in enumerate(self._cells)}

    def _cell(self, labels: Labels) -> Cell | None:
        """Return of which comparison a series is, and what decides about its side; None: it is of none."""
        own, settings = dict(labels), self._settings
        if any(name not in own for name in settings.by):
            return None
        group = tuple((name, own[name]) for name in settings.by)
        if settings.label is not None:
            value = own.get(settings.label)
            return None if value is None else (group, value)
        baseline, candidate = (all_match(side, own) for side in settings.matchers)
        # What both select says nothing about either.
        return None if baseline == candidate else (group, "candidate" if candidate else "baseline")

    def _by_label(self, there: BoolArray) -> RoleAssignment:
        label = self._settings.label or ""
        groups: dict[Labels, list[int]] = defaultdict(list)
        for index in np.flatnonzero(there).tolist():
            groups[self._cells[index][0]].append(index)
        pairs = []
        for group, cells in sorted(groups.items()):
            if len(cells) >= 2:
                cells.sort(key=lambda index: (self._first[index], _natural(self._cells[index][1])))
                baseline, candidate = cells[-2:]
                values = [self._cells[index][1] for index in (baseline, candidate)]
                key = key_of(tuple(sorted((*group, (label, values[1])))))
                pairs.append((ComparedSides(key, values[0], f"{label}={values[1]}"), baseline, candidate))
        return self._assignment(pairs)

    def _by_matchers(self) -> RoleAssignment:
        texts = [",".join(map(str, side)) for side in self._settings.matchers]
        texts = [_short(text) for text in texts]
        fixed = tuple(
            (matcher.name, matcher.value) for matcher in self._settings.matchers[1] if matcher.operator == "="
        )
        pairs = []
        for group in sorted({group for group, _ in self._cells}):
            baseline, candidate = (self._index.get((group, side)) for side in ("baseline", "candidate"))
            if baseline is not None and candidate is not None:
                labels = {name: value for name, value in (*fixed, *group) if value}
                key = key_of(tuple(sorted(labels.items())))
                pairs.append((ComparedSides(key, *texts), baseline, candidate))
        return self._assignment(pairs)

    def _assignment(self, pairs: Sequence[tuple[ComparedSides, int, int]]) -> RoleAssignment:
        place = np.full(len(self._cells) + 1, -1, np.intp)
        side = np.zeros(len(self._cells) + 1, np.intp)
        for number, (_, baseline, candidate) in enumerate(pairs):
            place[[baseline, candidate]] = number
            side[candidate] = 1
        # The last place is that of rows without a cell.
        return RoleAssignment(tuple(sides for sides, _, _ in pairs), place[self._cell_of], side[self._cell_of])

    # ------------------------------------------------------------------ state

    def dump(self) -> npt.NDArray[np.uint8]:
        """Return when each value appeared, to store it."""
        rows = [
            [list(map(list, group)), value, first, last]
            for (group, value), first, last in zip(self._cells, self._first.tolist(), self._last.tolist(), strict=True)
            if np.isfinite(last)
        ]
        return np.frombuffer(json.dumps(rows).encode(), np.uint8).copy()

    def restore(self, stored: npt.NDArray[np.uint8]) -> bool:
        """Take up what was stored; False where it cannot be read."""
        try:
            rows = json.loads(stored.tobytes())
            cells = [
                (tuple((str(name), str(value)) for name, value in group), str(value)) for group, value, _, _ in rows
            ]
            times = np.array([[float(first), float(last)] for _, _, first, last in rows]).reshape(-1, 2)
        except (ValueError, TypeError):
            return False
        self._take(cells, times[:, 0].copy(), times[:, 1].copy())
        return True


def _natural(value: str) -> list[tuple[int, int, str]]:
    """Return a key by which 1.10 comes after 1.9."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in _NUMBERS.split(value) if part]


def _short(text: str) -> str:
    """Return matchers as they are read: ``version=1.4.2`` without its quotes."""
    return _QUOTED.sub(r"=\1", text)
