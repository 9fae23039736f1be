"""Groups over recorded samples: the joint scores and the loads that a daemon would have seen.

Queries are scored one after the other, and what their verdicts contribute to groups is kept; then each group judges
instant by instant. Samples that are half a step apart or less belong to one instant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from exporter.config.engine_settings import engine_settings
from exporter.config.model import AlertingGroup
from exporter.config.plan import QueryPlan
from exporter.detect.load_climbs import climbed
from exporter.detect.recorded_series import RecordedSeries
from exporter.detect.scoring import ScoredGroup, ScoredSeries, score_series
from exporter.engine.multivariate import (
    Forest,
    Group,
    GroupInput,
    JointForest,
    alerts_under_load,
    entities_of,
    fit,
    inputs_of,
    join,
)
from exporter.engine.series import SeriesTable, labels_of
from exporter.engine.verdict import Verdicts
from exporter.worker_pool import WorkerPool

__all__ = ["QUERY_LABELS", "query_of", "score_queries"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

QUERY_LABELS = ("column", "query", "__name__")
"""Labels that may name the query of a series; the first that a series has counts."""
_SMALL = 500_000
"""Samples that are scored sooner than processes have started."""
_ROUND = 0.95
"""Part of the step within which inputs belong to one instant, as in the daemon."""


@dataclass
class _Grid:
    """The inputs of the series of a query that share an engine."""

    table: SeriesTable
    rows: Sequence[tuple[int, int]]
    inputs: list[GroupInput] = field(default_factory=list)
    held: list[BoolArray | None] = field(default_factory=list)
    """By input, which rows a load holds; None: none."""
    factors: list[FloatArray | None] = field(default_factory=list)
    """By input, the factor of the load of each row, NaN: there is none; None: nowhere."""


class _QueryInputs:
    """What the verdicts of one query contribute to groups."""

    def __init__(self, plan: QueryPlan) -> None:
        self._plan = plan
        self.grids: list[_Grid] = []

    def observe(self, verdicts: Verdicts, table: SeriesTable, rows: Sequence[tuple[int, int]]) -> None:
        if not self.grids or self.grids[-1].table is not table:
            self.grids.append(_Grid(table, rows))
        grid = self.grids[-1]
        grid.inputs += inputs_of(verdicts, self._plan.min_deviation, self._plan.min_relative_deviation, young=True)
        grid.held += [None] * len(verdicts)
        grid.factors += [None] * len(verdicts)


def query_of(series: RecordedSeries) -> str | None:
    """Return the name of the query that a series says it is of; None where it says nothing."""
    return next((series.labels[name] for name in QUERY_LABELS if series.labels.get(name)), None)


def score_queries(
    series: Sequence[RecordedSeries],
    plans: Mapping[str, QueryPlan],
    groups: Sequence[AlertingGroup],
    step: float,
    pool: WorkerPool | None = None,
) -> tuple[list[ScoredSeries], list[ScoredGroup]]:
    """Score series by their queries, and groups of which there are two queries at least.

    Parameters
    ----------
    series : sequence of RecordedSeries
        Each named after its query; see `query_of`.
    plans : mapping
        By name; of every name that a series has.
    step : float, seconds
        What a sample stands for.
    pool : WorkerPool, optional
        Where queries are scored; by default in this process.
    """
    pool = (pool or WorkerPool()).for_work(small=sum(len(each.times) for each in series) < _SMALL)
    by_query: dict[str, list[int]] = {}
    for index, each in enumerate(series):
        by_query.setdefault(query_of(each) or "", []).append(index)
    scored: dict[int, ScoredSeries] = {}
    inputs: dict[str, _QueryInputs] = {}
    tasks = [([series[index] for index in members], plans[query], step) for query, members in by_query.items()]
    for (query, members), (part, own) in zip(by_query.items(), pool.map(_scored, tasks), strict=True):
        inputs[query] = own
        scored |= zip(members, part, strict=True)
    results = []
    for group in groups:
        queries = [query for query in group.queries if query in inputs]
        if len(queries) >= 2:
            plan = max((plans[query] for query in queries), key=lambda each: each.baseline.window)
            run = _GroupRun(group, {query: inputs[query] for query in queries}, plan.baseline.window, step)
            run.judge()
            for query in queries:
                _hold(scored, by_query[query], inputs[query].grids)
            results += run.results([series[index] for query in queries for index in by_query[query]])
    return [scored[index] for index in range(len(series))], results


def _scored(task: tuple[Sequence[RecordedSeries], QueryPlan, float]) -> tuple[list[ScoredSeries], _QueryInputs]:
    """Return the scores of the series of a query, and what it contributes to groups: the task of a worker."""
    series, plan, step = task
    inputs = _QueryInputs(plan)
    return score_series(series, engine_settings(plan), step, inputs.observe), inputs


def _hold(scored: dict[int, ScoredSeries], members: Sequence[int], grids: Sequence[_Grid]) -> None:
    """Mark the samples that a load holds."""
    for grid in grids:
        times = np.array([values.at for values in grid.inputs])
        shape = (len(times), grid.table.size)
        held, factors = np.zeros(shape, np.bool_), np.full(shape, np.nan)
        for index, (rows, factor) in enumerate(zip(grid.held, grid.factors, strict=True)):
            if rows is not None:
                held[index, : len(rows)] = rows
            if factor is not None:
                factors[index, : len(factor)] = factor
        for place, row in grid.rows:
            result = scored[members[place]]
            at = np.searchsorted(times, result.series.times)
            part = held[at, row] | climbed(result, factors[at, row])
            scored[members[place]] = replace(result, held=part if result.held is None else result.held | part)


class _GroupRun:
    """One group over all instants."""

    def __init__(self, settings: AlertingGroup, inputs: Mapping[str, _QueryInputs], window: float, step: float) -> None:
        self._queries = tuple(inputs)
        self._settings = settings.model_copy(update={"queries": self._queries})
        self._group = Group(self._settings, window)
        self._grids = [query.grids for query in inputs.values()]
        self._step = step
        self._slots = self._by_slot()
        self._begin = min(slot for slot, _ in self._slots)
        places = [[entities_of(grid.table, settings.by) for grid in grids] for grids in self._grids]
        self._places = [[self._admit(entities) for entities in grids] for grids in places]
        size = self._group.table.size
        self._times = np.array([at for at, _ in self._slots])
        shape = (len(self._slots), size)
        self._score, self._load = np.full((2, *shape), np.nan)
        self._share = np.zeros((*shape, len(self._queries)))
        self._held = np.zeros(shape, np.bool_)
        self._forest: Forest | None = None

    def _by_slot(self) -> list[tuple[float, list[list[int | None]]]]:
        """Return every instant with the place of the input of each grid of each query; None where it has none."""
        first = min(grid.inputs[0].at for grids in self._grids for grid in grids)
        slots: dict[int, list[list[int | None]]] = {}
        times: dict[int, float] = {}
        for metric, grids in enumerate(self._grids):
            for number, grid in enumerate(grids):
                for index, values in enumerate(grid.inputs):
                    slot = int((values.at - first) / self._step + 0.5)
                    empty: list[list[int | None]] = [[None] * len(each) for each in self._grids]
                    slots.setdefault(slot, empty)[metric][number] = index
                    times[slot] = max(times.get(slot, -np.inf), values.at)
        return [(times[slot], slots[slot]) for slot in sorted(slots)]

    def _admit(self, entities: Sequence[bytes | None]) -> Rows:
        place = np.full(len(entities), -1, np.intp)
        keys = {row: entity for row, entity in enumerate(entities) if entity is not None}
        place[list(keys)] = self._group.admit(list(keys.values()), self._begin)
        return place

    def judge(self) -> None:
        """Judge all instants in the order of time."""
        alerting = np.ones(len(self._queries), np.bool_)
        flat = [np.concatenate(places) for places in self._places]
        for number, (at, chosen) in enumerate(self._slots):
            inputs = [_together(at, grids, places) for grids, places in zip(self._grids, chosen, strict=True)]
            self._train(at)
            matrix = join(inputs, flat, self._group.table.size, since=at - _ROUND * self._step)
            verdict = self._group.step(at, matrix, self._step)
            self._score[number], self._load[number], self._share[number] = verdict.score, verdict.load, verdict.share
            load = alerts_under_load(verdict, alerting, group_alerts=True)
            self._held[number] = load.replaced
            holds = load.held | load.suspected
            if holds.any():
                self._mark(chosen, holds, load.factor)

    def _mark(self, chosen: Sequence[Sequence[int | None]], holds: BoolArray, factor: FloatArray) -> None:
        for metric, (grids, indexes) in enumerate(zip(self._grids, chosen, strict=True)):
            for grid, place, index in zip(grids, self._places[metric], indexes, strict=True):
                if index is not None:
                    rows, before = (place >= 0) & holds[place, metric], grid.held[index]
                    grid.held[index] = rows if before is None else before | rows
                    now, most = np.where(place >= 0, factor[place], np.nan), grid.factors[index]
                    grid.factors[index] = now if most is None else np.fmax(most, now)

    def _train(self, at: float) -> None:
        """Train a forest where it is time; it is used from the next instant on, as in the daemon."""
        detector = self._group.detector
        if isinstance(detector, JointForest):
            if self._forest is not None:
                detector.adopt(self._forest)
                self._forest = None
            elif detector.due(at):
                self._forest = fit(detector.training(at), self._settings.forest_contamination, at)

    def results(self, series: Sequence[RecordedSeries]) -> list[ScoredGroup]:
        """Return the scores of every entity, at the instants at which any of its series has a sample."""
        names = frozenset(self._settings.by)
        members: dict[tuple[tuple[str, str], ...], list[RecordedSeries]] = {}
        for each in series:
            chosen = tuple(sorted(pair for pair in each.labels.items() if pair[0] in names))
            if len(chosen) == len(names):
                members.setdefault(chosen, []).append(each)
        results = []
        for row, entity in self._group.entities():
            labels = labels_of(entity)
            stamps: dict[int, bytes] = {}
            for each in members.get(tuple(sorted(labels)), ()):
                slots = np.searchsorted(self._times, each.times - 1e-6)
                stamps |= zip(slots.tolist(), each.stamps.tolist(), strict=True)
            chosen_slots = np.array(sorted(slot for slot in stamps if slot < len(self._times)), np.intp)
            results.append(
                ScoredGroup(
                    self._settings.name,
                    dict(labels),
                    self._queries,
                    np.array([stamps[slot] for slot in chosen_slots.tolist()], np.bytes_),
                    self._times[chosen_slots],
                    self._score[chosen_slots, row],
                    self._load[chosen_slots, row],
                    self._share[chosen_slots, row],
                    self._held[chosen_slots, row],
                )
            )
        return results


def _together(at: float, grids: Sequence[_Grid], places: Sequence[int | None]) -> GroupInput | None:
    """Return the inputs of all grids of a query at an instant as one; None where there is none."""
    if all(place is None for place in places):
        return None
    if len(grids) == 1:
        return grids[0].inputs[places[0] or 0]
    parts = []
    for grid, place in zip(grids, places, strict=True):
        nothing = np.full(grid.table.size, np.nan)
        never = np.zeros(len(nothing), np.bool_)
        none = GroupInput(at, nothing, nothing, nothing, nothing, nothing, nothing, never, nothing)
        parts.append(none if place is None else grid.inputs[place])
    names = [name for name in GroupInput.__slots__ if name != "at"]
    return GroupInput(at, **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
