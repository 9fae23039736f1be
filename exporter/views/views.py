"""What the pages show of the running program. It reads what others left and keeps none of them waiting."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from prometheus_client import CollectorRegistry

from exporter import __version__
from exporter.alerting.alert import AlertState
from exporter.alerting.episode import Episode, Status
from exporter.alerting.explanation.links import generator_url
from exporter.charts import chart as charts
from exporter.charts import tasks
from exporter.charts.worker_process import WorkerProcess
from exporter.config.model import Config
from exporter.delivery import AlertSnapshots
from exporter.errors import StateError
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.evaluation.latest_verdicts import LatestVerdicts, Said
from exporter.multivariate.group_status import WORST, GroupStatus
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.silences import AlertStatus
from exporter.store import EpisodeFilter
from exporter.views.anomalies import explanation, is_about, of_alert, of_episode
from exporter.views.charts import Subject, chart_of
from exporter.views.health import health
from exporter.views.past import Past
from exporter.views.selection import matching_rows, row_of, select
from exporter.web.api.anomalies import Episodes
from exporter.web.pages.graph import default_range
from exporter.web.pages.models import (
    AnomalyCard,
    ChartPart,
    ChartStyle,
    DisplayError,
    EntityRow,
    EventRow,
    GraphPage,
    GroupRow,
    Labels,
    OverviewPage,
    QueryRow,
    QueryState,
    SeriesFilter,
    SeriesRow,
    TimeRange,
)

__all__ = ["Program", "Views"]

log = logging.getLogger(__name__)

_CANDIDATES = 20
_ANOMALIES, _PAST = 200, 10
"""Open anomalies that the front page lists, and past ones on the page of a series."""


@dataclass(frozen=True, slots=True)
class Program:
    """What is looked at; callables answer at once.

    Attributes
    ----------
    cycles : callable
        The cycles in force, by query.
    config : callable
        The configuration in force.
    episodes : callable
        Where episodes are kept.
    things : callable
        What groups said last.
    events : callable
        From an instant to the known events that are in effect or come soon.
    told : callable
        From the labels of an alert and since when it fires to what Alertmanagers make of it.
    """

    clock: Callable[[], float]
    cycles: Callable[[], Mapping[str, QueryEvaluator]]
    config: Callable[[], Config]
    latest: LatestVerdicts
    alert_snapshots: AlertSnapshots
    registry: CollectorRegistry
    episodes: Callable[[], Episodes]
    store_bytes: Callable[[], int]
    things: Callable[[], Sequence[GroupStatus]] = lambda: ()
    events: Callable[[float], Sequence[EventRow]] = lambda at: ()  # noqa: ARG005
    told: Callable[[Mapping[str, str], float], tuple[AlertStatus, ...]] = lambda labels, since: ()  # noqa: ARG005


class Views:
    """The `PageData` of a running program.

    Parameters
    ----------
    program : Program
    connect : callable
        Makes a client of Prometheus from its settings.
    """

    def __init__(self, program: Program, connect: Callable[[PrometheusSettings], PrometheusApi]) -> None:
        self._program = program
        # Two, so that what a chart is judged and drawn with is imported at the same time.
        self._judging, self._drawing = WorkerProcess(), WorkerProcess()
        self._past = Past(connect, self._judging.run)

    def close(self) -> None:
        """Break off what is read from Prometheus."""
        self._past.close()
        self._judging.close()
        self._drawing.close()

    def now(self) -> float:
        """Return the time, whole Unix seconds: who asks for the same within a second gets the same chart."""
        return float(self._program.clock() // 1.0)

    def overview(self, filters: SeriesFilter) -> OverviewPage:
        """Return the front page."""
        program = self._program
        at, config = program.clock(), program.config()
        cycles = program.cycles()
        queries = [self._query(cycle) for cycle in cycles.values()]
        series, matching = select(self.known(), filters)
        said = {one.group: one for one in program.things()}
        return OverviewPage(
            at=at,
            zone=config.global_.timezone,
            version=__version__,
            queries=queries,
            anomalies=self._open(cycles)[:_ANOMALIES],
            events=program.events(at),
            health=health(
                program.registry,
                config,
                size=program.store_bytes(),
                asked=any(query.judged_at or query.trouble for query in queries),
                at=at,
            ),
            series=series,
            matching=matching,
            total=sum(query.series for query in queries),
            groups=[_group(group.name, said.get(group.name)) for group in config.groups],
            entities=_worst(said.values()),
        )

    def known(self) -> list[Said]:
        """Return what each query said last, in their order; of one that fails that is not what is so now."""
        cycles, latest = self._program.cycles(), self._program.latest
        working = [name for name, cycle in cycles.items() if cycle.trouble is None]
        return [one for name in working if (one := latest.get(name)) is not None]

    def series(self, query: str, labels: Labels) -> GraphPage:
        """Return one series whose labels include `labels`; one that is gone has a past all the same."""
        program = self._program
        at, cycle = program.clock(), self._cycle(query)
        said = program.latest.get(query)
        rows = [] if said is None else matching_rows(said, labels)
        one = row_of(said, rows[0]) if said is not None and rows else _gone(query, labels, cycle.judged)
        others = [] if said is None else [said.names.labels[row] or () for row in rows[1 : 1 + _CANDIDATES]]
        now = [found for found in self._open({query: cycle}) if found.query == query and _fits(found, one.labels)]
        source = program.config().prometheus
        return GraphPage(
            at=at,
            zone=cycle.plan.zone,
            version=__version__,
            query=self._query(cycle),
            series=one,
            quorum=cycle.plan.detection.quorum,
            anomalies=[*now, *self._past_of(query, one.labels)],
            source_url=generator_url(source.external_url or source.url, cycle.plan.expr),
            candidates=others,
            explanation=() if now else explanation(cycle.plan, one),
        )

    def preload(self) -> None:
        """Begin, beside everything else, what the first chart would have to wait for."""
        for apart, first in ((self._judging, tasks.preload), (self._drawing, charts.preload)):
            if not apart.running:
                threading.Thread(target=_quietly, args=(apart, first), name="chart-prepare", daemon=True).start()

    def chart(self, query: str, labels: Labels, within: TimeRange | None, part: ChartPart, style: ChartStyle) -> bytes:
        """Return a chart as a file."""
        program = self._program
        cycle, said = self._cycle(query), program.latest.get(query)
        self.preload()
        rows = [] if said is None else matching_rows(said, labels)
        if said is not None and rows:
            labels = said.names.labels[rows[0]] or ()
        subject = Subject(program.config().prometheus, cycle.plan, labels, max(1, cycle.series))
        now = program.clock()
        asked = default_range(now) if within is None else within
        if asked.start >= now:
            raise DisplayError("this range lies in the future", 400)
        # Prometheus would draw its newest sample for five minutes to come.
        within = TimeRange(asked.start, min(asked.end, now))
        chart = chart_of(self._past, subject, within, part, self._judging.run)
        return self._drawing.run(charts.render, chart, style)

    def _cycle(self, query: str) -> QueryEvaluator:
        cycles = self._program.cycles()
        if query not in cycles:
            known = ", ".join(sorted(cycles)[:_CANDIDATES])
            raise DisplayError(f"no query is called {query!r}; there are: {known}")
        return cycles[query]

    def _query(self, cycle: QueryEvaluator) -> QueryRow:
        plan, said = cycle.plan, self._program.latest.get(cycle.plan.name)
        trouble = cycle.trouble
        here = scored = anomalous = 0
        if said is not None and trouble is None:
            verdict = said.verdict
            here = int(np.count_nonzero(~np.isnan(verdict.observed)))
            scored = int(np.count_nonzero(verdict.ready))
            anomalous = int(np.count_nonzero(verdict.anomalous))
        state = QueryState.SCORED
        if trouble is not None:
            state = QueryState.FAILED
        elif not cycle.ready:
            state = QueryState.LEARNING
        elif said is None:
            state = QueryState.WAITING
        elif not cycle.series:
            state = QueryState.EMPTY
        return QueryRow(
            name=plan.name,
            expr=plan.expr,
            state=state,
            progress=cycle.progress,
            series=cycle.series,
            scored=scored,
            warming_up=here - scored,
            anomalous=anomalous,
            alerting=plan.alert is not None,
            judged_at=cycle.judged if np.isfinite(cycle.judged) else None,
            interval=plan.interval,
            trouble=trouble,
        )

    def _open(self, cycles: Mapping[str, QueryEvaluator]) -> list[AnomalyCard]:
        """Return the open alerts of some queries, and of groups, firing ones first, then the newest."""
        acknowledged = {one.id: one for one in self._episodes(EpisodeFilter(status=Status.ACKNOWLEDGED))}
        plans = {name: cycle.plan for name, cycle in cycles.items()}
        told = self._program.told
        found = [
            of_alert(
                alert,
                plans.get(alert.query),
                self._names(alert.query),
                acknowledged.get(alert.episode),
                () if alert.fired_at is None else told(alert.labels, alert.fired_at),
            )
            for name, query_alerts in self._program.alert_snapshots.read().by_query.items()
            if name in cycles or name not in self._program.cycles()
            for alert in query_alerts.alerts.values()
            if alert.state is not AlertState.RESOLVED
        ]
        return sorted(found, key=lambda one: (one.state != "firing", -one.since))

    def _names(self, query: str) -> frozenset[str]:
        said = self._program.latest.get(query)
        return frozenset() if said is None else said.names.label_names

    def _past_of(self, query: str, labels: Labels) -> list[AnomalyCard]:
        """Return the episodes of a series that are over, the newest first."""
        filters = EpisodeFilter(query=query, status=Status.RESOLVED, labels=lambda given: is_about(given, labels))
        return [of_episode(one, labels) for one in self._episodes(filters, limit=_PAST)]

    def _episodes(self, filters: EpisodeFilter, *, limit: int = _ANOMALIES) -> tuple[Episode, ...]:
        try:
            return self._program.episodes().episodes(filters, limit=limit).episodes
        except StateError as fault:
            # What is open is known without the store; what was said of it is not.
            log.error("the store failed", extra={"error": str(fault)})
            return ()


def _quietly(apart: WorkerProcess, first: Callable[[], None]) -> None:
    with contextlib.suppress(DisplayError):  # Whoever asks for a chart is told.
        apart.run(first)


def _gone(query: str, labels: Labels, judged: float) -> SeriesRow:
    nan = float("nan")
    return SeriesRow(
        query,
        labels,
        judged if np.isfinite(judged) else nan,
        nan,
        nan,
        nan,
        nan,
        nan,
        nan,
        ready=True,
        positions=np.full(1, nan),
    )


def _fits(found: AnomalyCard, labels: Labels) -> bool:
    return bool(found.labels) and set(found.labels) <= set(labels)


def _group(name: str, said: GroupStatus | None) -> GroupRow:
    return GroupRow(name, None, 0, 0) if said is None else GroupRow(name, said.at, said.scored, said.anomalous)


def _worst(said: Iterable[GroupStatus]) -> list[EntityRow]:
    rows = [EntityRow(one.group, each.labels, each.score, each.shares, each.load) for one in said for each in one.worst]
    return sorted(rows, key=lambda row: -row.score)[:WORST]
