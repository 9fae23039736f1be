"""The data of pages and API from the running program. It only reads snapshots, and delays no evaluation."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from exporter import __version__
from exporter.alerting.episode import Episode, Status
from exporter.alerting.explanation.links import generator_url
from exporter.alerting.suppressed import suppression_code
from exporter.correlation.loads import LOAD
from exporter.engine.seconds import WEEK
from exporter.errors import StateError
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.json_numbers import finite_number
from exporter.multivariate.group_status import WORST, GroupStatus
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.store import EpisodeFilter
from exporter.views.anomalies import alert_card, concerns, episode_card, explanation
from exporter.views.baseline import baseline_of, read_baseline
from exporter.views.canaries import canary_reports
from exporter.views.explore import Explorer
from exporter.views.health import component_health
from exporter.views.latest_verdicts import LatestVerdict
from exporter.views.past import PastViews
from exporter.views.program import Program
from exporter.views.series import matching_rows, select_series, series_row
from exporter.views.series_charts import SeriesCharts
from exporter.views.shadows import shadow_reports
from exporter.web.api.baseline import BaselineParameters, SeriesBaseline
from exporter.web.api.what_if import OtherSettings, WhatIf, WhatIfParameters
from exporter.web.pages.explore_models import ExploreForm, ExplorePage
from exporter.web.pages.incident_models import AnomaliesPage, AnomalyFilter, IncidentPage, WhatIfPage
from exporter.web.pages.models import (
    AnomalyCard,
    ChartPart,
    ChartStyle,
    DisplayError,
    EntityRow,
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

__all__ = ["Views"]

log = logging.getLogger(__name__)

_CANDIDATES = 20
_OPEN, _PAST, _RECENT = 200, 10, 15
"""Open anomalies on the front page, past ones on the page of a series, and recent ones on the front page."""


class Views:
    """The `PageData` of a running program.

    Parameters
    ----------
    connect : callable
        Makes a client of Prometheus from its settings.
    """

    def __init__(self, program: Program, connect: Callable[[PrometheusSettings], PrometheusApi]) -> None:
        self._program = program
        self._past = PastViews(program)
        self._charts = SeriesCharts(connect, program.verdicts, program.changes, program.events_between)
        self._explorer = Explorer(self._charts, connect, program.config, program.clock)

    def close(self) -> None:
        """Abort requests to Prometheus, and end the worker processes."""
        self._charts.close()

    def now(self) -> float:
        """Return the time, whole Unix seconds: equal requests within a second get the same chart."""
        return float(self._program.clock() // 1.0)

    def overview(self, filters: SeriesFilter) -> OverviewPage:
        """Return the front page."""
        program = self._program
        at, config, evaluators = program.clock(), program.config(), program.evaluators()
        queries = [self._query_row(evaluator) for evaluator in evaluators.values()]
        series, matching = select_series(self.latest(), filters)
        group_status = {status.group: status for status in program.group_status()}
        return OverviewPage(
            at=at,
            zone=config.global_.timezone,
            version=__version__,
            queries=queries,
            anomalies=self._open_anomalies(evaluators)[:_OPEN],
            events=program.events(at),
            health=component_health(
                program.registry,
                config,
                alertmanagers=program.alertmanagers(),
                discovery=program.discovery(),
                store_bytes=program.store_bytes(),
                queried=any(query.judged_at or query.trouble for query in queries),
                at=at,
            ),
            series=series,
            matching=matching,
            total=sum(query.series for query in queries),
            groups=[
                GroupRow(group.name, None, 0, 0)
                if (status := group_status.get(group.name)) is None
                else GroupRow(group.name, status.at, status.scored, status.anomalous)
                for group in config.groups
            ],
            entities=_worst_entities(group_status.values()),
            past=self._past.rows(AnomalyFilter(), at, limit=_RECENT)[0],
            canaries=canary_reports(program.canary_status()),
            shadows=shadow_reports(evaluators.values()),
        )

    def anomalies(self, filters: AnomalyFilter) -> AnomaliesPage:
        """Return a page of episodes."""
        return self._past.anomalies(filters)

    def incident(self, episode: str) -> IncidentPage:
        """Return one episode with all that happened to it and beside it."""
        return self._past.incident(episode)

    def what_if(self, query: str, settings: OtherSettings | None) -> WhatIfPage:
        """Return what other settings would have made of the alerts of a query."""
        return self._past.what_if(self._evaluator(query).plan, settings)

    def what_if_of(self, request: WhatIfParameters) -> WhatIf:
        """Return the same for the API; raises `ApiError`."""
        return self._past.what_if_of(request)

    def latest(self) -> list[LatestVerdict]:
        """Return the newest verdicts of every query that does not fail, in the order of the configuration."""
        evaluators, latest = self._program.evaluators(), self._program.latest
        working = [name for name, evaluator in evaluators.items() if evaluator.trouble is None]
        return [query for name in working if (query := latest.get(name)) is not None]

    def series(self, query: str, labels: Labels) -> GraphPage:
        """Return the page of a series whose labels include `labels`; a series that is gone still has a past."""
        program = self._program
        at, evaluator = program.clock(), self._evaluator(query)
        latest = program.latest.get(query)
        rows = [] if latest is None else matching_rows(latest, labels)
        if latest is not None and rows:
            series = series_row(latest, rows[0])
            candidates = [latest.names.labels[row] or () for row in rows[1 : 1 + _CANDIDATES]]
        else:
            series, candidates = _gone(query, labels, evaluator.judged), []
        anomalies = [
            anomaly
            for anomaly in self._open_anomalies({query: evaluator})
            if anomaly.query == query and anomaly.labels and set(anomaly.labels) <= set(series.labels)
        ]
        source = program.config().servers[evaluator.plan.source]
        return GraphPage(
            at=at,
            zone=evaluator.plan.zone,
            version=__version__,
            query=self._query_row(evaluator),
            series=series,
            quorum=evaluator.plan.detection.quorum,
            anomalies=[*anomalies, *self._past_anomalies(query, series.labels)],
            source_url=generator_url(source.external_url or source.url, evaluator.plan.expr),
            candidates=candidates,
            explanation=() if anomalies else explanation(evaluator.plan, series),
            baseline=baseline_of(evaluator, tuple(series.labels)),
        )

    def baseline(self, request: BaselineParameters) -> SeriesBaseline:
        """Return what a series is judged against at each hour of the week; raises `ApiError`."""
        program = self._program
        return read_baseline(program.evaluators().get(request.query), program.latest.get(request.query), request)

    def explore(self, form: ExploreForm) -> ExplorePage:
        """Return the page on which an expression is tried."""
        return self._explorer.page(form)

    def explore_chart(self, form: ExploreForm, style: ChartStyle) -> bytes:
        """Return the chart of a trial as a file."""
        return self._explorer.chart(form, style)

    def preload(self) -> None:
        """Start the worker processes in the background, which the first chart would have to wait for."""
        self._charts.preload()

    def chart(self, query: str, labels: Labels, within: TimeRange | None, part: ChartPart, style: ChartStyle) -> bytes:
        """Return a chart as a file."""
        program = self._program
        evaluator, latest = self._evaluator(query), program.latest.get(query)
        rows = [] if latest is None else matching_rows(latest, labels)
        if latest is not None and rows:
            labels = latest.names.labels[rows[0]] or ()
        source, now = program.config().servers[evaluator.plan.source], program.clock()
        return self._charts.chart(source, evaluator.plan, labels, evaluator.series, within, part, style, now)

    def _evaluator(self, query: str) -> QueryEvaluator:
        evaluators = self._program.evaluators()
        if query not in evaluators:
            names = ", ".join(sorted(evaluators)[:_CANDIDATES])
            raise DisplayError(f"no query is called {query!r}; there are: {names}")
        return evaluators[query]

    def _query_row(self, evaluator: QueryEvaluator) -> QueryRow:
        plan, trouble = evaluator.plan, evaluator.trouble
        latest = self._program.latest.get(plan.name)
        present = scored = anomalous = held = provisional = 0
        if latest is not None and trouble is None:
            verdict = latest.verdict
            present = int(np.count_nonzero(~np.isnan(verdict.observed)))
            scored = int(np.count_nonzero(verdict.ready))
            provisional = int(np.count_nonzero(~np.isnan(verdict.score) & ~verdict.ready))
            under_load = verdict.anomalous & (latest.suppressed == suppression_code(LOAD))
            held = int(np.count_nonzero(under_load))
            anomalous = int(np.count_nonzero(verdict.anomalous)) - held
        state = QueryState.SCORED
        if trouble is not None:
            state = QueryState.FAILED
        elif not evaluator.ready:
            state = QueryState.LEARNING
        elif latest is None:
            state = QueryState.WAITING
        elif not evaluator.series:
            state = QueryState.EMPTY
        elif not scored:
            state = QueryState.WARMING_UP
        return QueryRow(
            name=plan.name,
            expr=plan.expr,
            state=state,
            progress=evaluator.progress,
            series=evaluator.series,
            scored=scored,
            warming_up=present - scored,
            anomalous=anomalous,
            held=held,
            alerting=plan.alert is not None,
            judged_at=finite_number(evaluator.judged),
            interval=plan.interval,
            trouble=trouble,
            remark=evaluator.remark,
            judged_ratio=evaluator.judged_ratio,
            mature_at=finite_number(evaluator.mature_at),
            first_score_at=finite_number(evaluator.first_score_at),
            provisional=provisional,
            false_alerts=_false_alerts(evaluator),
        )

    def _open_anomalies(self, evaluators: Mapping[str, QueryEvaluator]) -> list[AnomalyCard]:
        """Return the open alerts of some queries, and of groups, firing ones first, then the newest."""
        program = self._program
        episodes = {
            episode.id: episode
            for status in (Status.ACKNOWLEDGED, Status.OPEN)
            for episode in self._episodes(EpisodeFilter(status=status))
        }
        plans = {name: evaluator.plan for name, evaluator in evaluators.items()}
        cards = [
            alert_card(
                alert,
                plans.get(alert.query),
                frozenset() if (latest := program.latest.get(alert.query)) is None else latest.names.label_names,
                episodes.get(alert.episode),
                () if alert.fired_at is None else program.alert_status(alert.labels, alert.fired_at),
                program.config().global_.external_labels,
            )
            for name, query_alerts in program.alert_snapshots.read().by_query.items()
            if name in evaluators or name not in program.evaluators()
            for alert in query_alerts.alerts.values()
            if alert.is_open
        ]
        return sorted(cards, key=lambda card: (card.state != "firing", -card.since))

    def _past_anomalies(self, query: str, labels: Labels) -> list[AnomalyCard]:
        """Return the resolved episodes of a series, the newest first."""
        filters = EpisodeFilter(query=query, status=Status.RESOLVED, labels=lambda alert: concerns(alert, labels))
        status = self._program.alert_status
        return [
            episode_card(
                episode, labels, status(episode.labels, episode.fired_at or 0.0) if episode.ended_unsent else ()
            )
            for episode in self._episodes(filters, limit=_PAST)
        ]

    def _episodes(self, filters: EpisodeFilter, *, limit: int = _OPEN) -> tuple[Episode, ...]:
        try:
            return self._program.episodes.page(filters, limit=limit).episodes
        except StateError as fault:
            # Open alerts are in memory; only acknowledgements and past episodes are missing.
            log.error("the store failed", extra={"error": str(fault)})
            return ()


def _false_alerts(evaluator: QueryEvaluator) -> tuple[float, float, float] | None:
    """Return how many false alerts a week are expected, and the ends of the interval."""
    rate = evaluator.learner.engine.calibration.false
    if evaluator.plan.alert is None or math.isnan(rate.expected):
        return None
    return rate.expected * WEEK, rate.lower * WEEK, rate.upper * WEEK


def _gone(query: str, labels: Labels, judged: float) -> SeriesRow:
    at = judged if np.isfinite(judged) else np.nan
    nan = np.nan
    return SeriesRow(query, labels, at, nan, nan, nan, nan, nan, nan, ready=True, positions=np.full(1, nan))


def _worst_entities(groups: Iterable[GroupStatus]) -> list[EntityRow]:
    rows = [
        EntityRow(group.group, entity.labels, entity.score, entity.shares, entity.load)
        for group in groups
        for entity in group.worst
    ]
    return sorted(rows, key=lambda row: -row.score)[:WORST]
