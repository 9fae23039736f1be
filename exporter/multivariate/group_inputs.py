"""Inputs of groups: the newest of each query with the entity of each row, and the past that a new group learns.

An entity is what a group watches: one pod, one service; the set of values of the group's `by` labels.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config.plan import QueryPlan
from exporter.engine.multivariate import Group, GroupInput, entities_of, input_of, join
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict

__all__ = ["GroupInputs", "HistoryWait", "QueryInput", "replay"]

_KEPT, _KEPT_VALUES = 10_080, 2_000_000
"""Inputs of a query that are kept at most, a week of minutes, and values in them: 50 MB while history is read."""
_PATIENCE = 300.0
"""Seconds for which reading history may come no further before a group begins without it."""


@dataclass(frozen=True, slots=True)
class QueryInput:
    """The newest input of one query for one choice of labels.

    Attributes
    ----------
    entities : sequence of bytes or None, by the rows of the query
        The entity of each series as a JSON object; None: it belongs to none. The same object while nothing changed.
    ready : ndarray of bool, by the rows of the query
        Whether the series is old enough to alert.
    complete : bool
        Whether the answer was whole, so that an entity without a sample is gone.
    """

    values: GroupInput
    entities: Sequence[bytes | None]
    ready: npt.NDArray[np.bool_]
    complete: bool


class GroupInputs:
    """The newest input of each query, and earlier ones for groups that have not begun. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._labels: Mapping[str, frozenset[tuple[str, ...]]] = {}
        self._newest: dict[tuple[str, tuple[str, ...]], QueryInput] = {}
        self._rows: dict[tuple[str, tuple[str, ...]], tuple[SeriesTable, int]] = {}
        self._past: dict[str, deque[GroupInput]] = {}
        self._keepers: dict[str, frozenset[str]] = {}
        self._due_past: dict[str, float] = {}
        """How much of the past is read of queries that have learned it before a group was there, 0 to 1."""
        self._past_entities: dict[tuple[str, tuple[str, ...]], Sequence[bytes | None]] = {}
        """Of the rows of that past: they are not those of now."""

    def configure(self, labels: Mapping[str, frozenset[tuple[str, ...]]]) -> None:
        """Set by which choices of labels each query is read; everything else is dropped."""
        with self._lock:
            self._labels = labels
            for query, by in [(query, by) for query, by in self._newest if by not in labels.get(query, ())]:
                del self._newest[query, by], self._rows[query, by]

    def wants(self, query: str) -> bool:
        """Return whether a query is in a group."""
        return bool(self._labels.get(query))

    def keep_past(self, group: str, queries: Collection[str]) -> None:
        """Keep the past of some queries from now on for a group, and of no others for it."""
        with self._lock:
            self._keepers[group] = frozenset(queries)
            kept = frozenset[str]().union(*self._keepers.values())
            self._past = {query: self._past.get(query) or deque(maxlen=_KEPT) for query in kept}
            self._due_past = {query: part for query, part in self._due_past.items() if query in kept}
            rows = self._past_entities.items()
            self._past_entities = {key: entities for key, entities in rows if key[0] in kept}

    def ask_past(self, queries: Collection[str]) -> None:
        """Have the past of queries that is kept read from its begin: what is there so far is of too few slots."""
        with self._lock:
            for query in self._past.keys() & set(queries):
                self._due_past[query], self._past[query] = 0.0, deque(maxlen=_KEPT)

    def past_progress(self, query: str) -> float:
        """Return how much of the past that was asked for is read, 0 to 1; 1 where none was."""
        with self._lock:
            return self._due_past.get(query, 1.0)

    def past_goes_on(self, query: str, progress: float) -> None:
        """Note how much of it is read, 0 to 1; all of it is read at `end_past` only."""
        with self._lock:
            if query in self._due_past:
                self._due_past[query] = min(progress, 0.99)

    def put_past(self, plan: QueryPlan, verdict: Verdict) -> None:
        """Take a verdict on a slot of it."""
        values = input_of(verdict, plan.min_deviation, plan.min_relative_deviation)
        with self._lock:
            if plan.name in self._due_past:
                self._keep(plan.name, values, len(values.z))

    def end_past(self, query: str, table: SeriesTable | None) -> None:
        """Take the rows of it; None: it cannot be had."""
        with self._lock:
            if query in self._due_past:
                self._due_past[query] = 1.0
                if table is not None:
                    own = {(query, by): entities_of(table, by) for by in self._labels.get(query, ())}
                    self._past_entities |= own

    def past_entities(self, query: str, by: tuple[str, ...]) -> Sequence[bytes | None] | None:
        """Return the entities of the rows of the past of a query; None: they are those of its newest input."""
        with self._lock:
            return self._past_entities.get((query, by))

    def _keep(self, query: str, values: GroupInput, size: int) -> None:
        past = self._past[query]
        past.append(values.halved())
        while len(past) > max(2, _KEPT_VALUES // max(1, size)):
            past.popleft()

    def past(self, query: str) -> list[GroupInput]:
        """Return the inputs of a query that were kept, in the order of time."""
        with self._lock:
            return list(self._past.get(query, ()))

    def put(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Take a verdict; called by the evaluator of the query, which alone changes `table`."""
        labels = self._labels.get(plan.name)
        if not labels:
            return
        values = input_of(verdict, plan.min_deviation, plan.min_relative_deviation)
        with self._lock:
            # What was asked for has other rows, and comes as far as this.
            if plan.name in self._past and plan.name not in self._due_past:
                self._keep(plan.name, values, table.size)
        for by in labels:
            key, rows = (plan.name, by), (table, table.version)
            with self._lock:
                before = self._newest.get(key)
                same = before is not None and self._rows.get(key) == rows
            entities = before.entities if before is not None and same else entities_of(table, by)
            with self._lock:
                newest = QueryInput(values, entities, verdict.ready, verdict.complete)
                self._newest[key], self._rows[key] = newest, rows

    def get(self, query: str, by: tuple[str, ...]) -> QueryInput | None:
        """Return the newest input of a query."""
        with self._lock:
            return self._newest.get((query, by))


class HistoryWait:
    """Whether a group can begin: all of its queries have learned their history, or no more history comes.

    Parameters
    ----------
    least : int
        How many queries must have done so at least. With one metric there is nothing to judge.
    """

    def __init__(self, least: int = 2) -> None:
        self._least = least
        self._progress: list[float] = []
        self._since = -np.inf

    def over(self, progress: Sequence[float], at: float) -> bool:
        """Return whether to wait no longer.

        Parameters
        ----------
        progress : sequence of float
            How much of its history each query has learned, 0 to 1.
        at : float, Unix seconds
            Now.
        """
        if progress != self._progress:
            self._progress, self._since = list(progress), at
        done = sum(part >= 1.0 for part in progress)
        return done == len(progress) or (done >= self._least and at - self._since >= _PATIENCE)


def replay(
    group: Group,
    past: Mapping[str, Sequence[GroupInput]],
    places: Mapping[str, npt.NDArray[np.intp]],
    *,
    slots: Sequence[float],
    interval: float,
    age: float,
    ended: Callable[[], bool],
) -> int:
    """Let a group judge and learn slots of the past, as if it had been there; return how many.

    Slots that it has judged already are left out.

    Parameters
    ----------
    past : mapping
        The inputs of its queries, by name and in its order, in the order of time.
    places : mapping
        The row of the entity of each row of each query.
    slots : sequence of float, Unix seconds
        In the order of time.
    interval : float, seconds
        How much time a slot stands for.
    age : float, seconds
        Inputs that are so much older than a slot do not belong to it.
    ended : callable
        Whether to break off.
    """
    begin = dict.fromkeys(past, 0)
    number = 0
    for slot in slots:
        if slot <= group.at:
            continue
        if ended():
            break
        now: list[GroupInput | None] = []
        for query, inputs in past.items():
            index = begin[query]
            while index < len(inputs) and inputs[index].at <= slot:
                index += 1
            begin[query] = index
            now.append(inputs[index - 1] if index else None)
        rows = [
            places[query] if values is None else places[query][: len(values.z)]
            for query, values in zip(past, now, strict=True)
        ]
        group.step(slot, join(now, rows, group.table.size, since=slot - age), interval)
        number += 1
    return number
