"""The front page: open anomalies, queries, entities of groups, series by score, and upcoming events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from exporter.web.pages.models import OverviewPage, QueryState, SeriesFilter, SeriesRow, StateFilter, Viewer
from exporter.web.pages.rendering import TEMPLATES

__all__ = ["overview_page"]

_ORDER = (
    QueryState.FAILED,
    QueryState.LEARNING,
    QueryState.WAITING,
    QueryState.EMPTY,
    QueryState.WARMING_UP,
    QueryState.SCORED,
)
_STATES = {StateFilter.ALL: "all states", StateFilter.ANOMALOUS: "anomalous", StateFilter.WARMING_UP: "warming up"}
_HEALTH = {True: ("good", "up"), False: ("bad", "down"), None: ("muted", "not asked yet")}
_QUERY_KINDS = {QueryState.FAILED: "bad", QueryState.SCORED: "good", QueryState.EMPTY: "warn"}
_LEAD = 3 * 3600.0
"""Seconds that the graph of an anomaly shows before it began."""
_ENOUGH = 0.9
"""Part of the series of a query that is judged where all is well; AnomalyExporterSeriesUnjudged has the same."""
_SMALLEST_SHARE = 0.05
"""Share in the score of an entity below which a metric is not named."""


def overview_page(page: OverviewPage, filters: SeriesFilter, viewer: Viewer) -> str:
    """Return the HTML."""
    return TEMPLATES.render(
        "overview.html",
        page=page,
        filters=filters,
        viewer=viewer,
        assets=viewer.assets,
        summary=_summary(page),
        queries=sorted(page.queries, key=lambda query: (_ORDER.index(query.state), -query.anomalous)),
        last_page=max(1, -(-page.matching // filters.size)),
        no_series=_no_series(page, filters),
        states=_STATES,
        health_words=_HEALTH,
        query_kinds=_QUERY_KINDS,
        smallest_share=_SMALLEST_SHARE,
        lead=_LEAD,
        shared_labels=_shared_labels(page.series),
    )


def _shared_labels(rows: Sequence[SeriesRow]) -> dict[str, set[tuple[str, str]]]:
    """Return by query the labels that all of its rows have, where it has several: they tell none from the others."""
    count = Counter(row.query for row in rows)
    shared: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        labels = set(row.labels) if count[row.query] > 1 else set()
        shared[row.query] = shared.get(row.query, labels) & labels
    return shared


def _summary(page: OverviewPage) -> tuple[str, str, list[str]]:
    """Say in one sentence what most visitors come for: the kind of badge, its word, and the parts of the sentence."""
    states = Counter(query.state for query in page.queries)
    failed, learning, empty = (states[state] for state in (QueryState.FAILED, QueryState.LEARNING, QueryState.EMPTY))
    warming = states[QueryState.WARMING_UP]
    # Those of a failing query are unknown.
    judged = page.total - sum(query.series for query in page.queries if query.state is QueryState.FAILED)
    anomalous = sum(query.anomalous for query in page.queries)
    scored = sum(query.scored for query in page.queries)
    unjudged = [
        query
        for query in page.queries
        if query.state in (QueryState.SCORED, QueryState.WARMING_UP) and query.judged_ratio < _ENOUGH
    ]
    parts = [_count(len(page.anomalies), "open anomaly", "open anomalies")]
    if judged > 0:
        parts.append(f"{anomalous:,} of {judged:,} series anomalous now")
    elif not page.total:
        parts.append("no series so far")
    if held := sum(query.held for query in page.queries):
        parts.append(f"{held:,} held by a load")
    if failed:
        whose = "its" if failed == 1 else "their"
        parts.append(f"{_count(failed, 'query', 'queries')} failing: {whose} series are unknown, not fine")
    if empty:
        parts.append(f"{_count(empty, 'query', 'queries')} without a series")
    if learning:
        parts.append(f"{_count(learning, 'query', 'queries')} learning")
    if unjudged:
        lowest = min(unjudged, key=lambda query: query.judged_ratio)
        parts.append(f"only {lowest.judged_ratio:.0%} of the series of {lowest.name} are judged")
    if warming and scored:
        parts.append(f"{_count(warming, 'query', 'queries')} warming up, without alerts so far")
    if warming and not scored:
        parts.append("all series are still warming up, so none can alert")
    if failed or any(anomaly.state != "acknowledged" for anomaly in page.anomalies):
        return "bad", "Look here", parts
    if page.anomalies or empty or unjudged:
        return "warn", "In hand" if page.anomalies else "Incomplete", parts
    if learning or not page.total:
        return "learning", "Learning", parts
    if not scored:
        return "learning", "Warming up", parts
    return "good", "All well", parts


def _count(count: int, singular: str, plural: str) -> str:
    return f"{count:,} {singular if count == 1 else plural}"


def _no_series(page: OverviewPage, filters: SeriesFilter) -> str:
    if filters.query or filters.text or filters.state is not StateFilter.ALL:
        return "No series fits this filter."
    if any(query.state is QueryState.LEARNING for query in page.queries):
        return "History is being read; the first scores come with the first slot after it."
    return "No query has a series so far. Does its expression return something in Prometheus?"
