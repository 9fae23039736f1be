"""Alerts and episodes as the pages show them, and the explanation of a series that has none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from exporter.alerting.alert import Alert
from exporter.alerting.case import Case, Vote
from exporter.alerting.episode import Episode
from exporter.alerting.explain import explain
from exporter.config.model import QueryPlan
from exporter.cycle import Cycle
from exporter.web.pages.facts import Anomaly, Labels, SeriesRow

__all__ = ["explanation", "is_about", "of_alert", "of_episode"]

_SHOWN_BESIDE = frozenset(
    {"summary", "observed", "expected", "band", "score", "since", "lasted", "chart_url", "chart_image"}
)
"""Annotations that the page says elsewhere, or is."""


def of_alert(alert: Alert, cycle: Cycle | None, external: Mapping[str, str], acknowledged: Episode | None) -> Anomaly:
    """Return an open alert.

    Parameters
    ----------
    cycle : Cycle, optional
        Of its query; None for the alert of a group.
    external : mapping
        Labels that every alert gets.
    acknowledged : Episode, optional
        Its episode, where somebody takes care of it.
    """
    rule = None if cycle is None else cycle.plan.alert
    # What the exporter added is not what the series is known by.
    added = {"alertname", "query", "group", *external, *(() if rule is None else rule.labels)}
    labels = tuple(
        (name, value)
        for name, value in sorted(alert.labels.items())
        if name not in added and not name.startswith("exported_")
    )
    return Anomaly(
        query=alert.query,
        labels=labels,
        state=str(alert.state) if acknowledged is None else "acknowledged",
        since=alert.active_at,
        summary=alert.annotations.get("summary", ""),
        id=alert.episode,
        notes=_notes(alert.annotations),
        said=() if acknowledged is None else _said(acknowledged),
        has_graph=cycle is not None,
    )


def of_episode(episode: Episode, labels: Labels) -> Anomaly:
    """Return an episode of the series with `labels`."""
    return Anomaly(
        query=episode.query,
        labels=labels,
        state=str(episode.status),
        since=episode.opened_at,
        summary=episode.summary,
        until=episode.resolved_at,
        id=episode.id,
        said=_said(episode),
    )


def is_about(alert: Mapping[str, str], series: Labels) -> bool:
    """Return whether an alert is about a series, by the labels of both.

    >>> is_about({"alertname": "A", "job": "a", "exported_query": "x"}, [("job", "a"), ("query", "x")])
    True
    """
    return all(
        value in (alert.get(name), alert.get(f"exported_{name}")) for name, value in series if name != "__name__"
    )


def explanation(plan: QueryPlan, one: SeriesRow) -> Sequence[tuple[str, str]]:
    """Explain a series that is anomalous but has no alert; nothing where it is not."""
    if not one.score >= 0.5:
        return ()
    votes = tuple(
        Vote(detector.kind, severity, detector.votes)
        for detector, (_, severity) in zip(plan.detection.detectors, one.severities, strict=True)
    )
    case = Case(
        query=plan.name,
        labels={},
        series=dict(one.labels),
        at=one.at,
        since=one.at,
        observed=one.observed,
        expected=one.expected,
        lower=one.lower,
        upper=one.upper,
        score=one.score,
        votes=votes,
        cast=0 if math.isnan(one.votes) else int(one.votes),
        quorum=plan.detection.quorum,
        unit=plan.unit,
        zone=plan.zone,
    )
    found = explain(case, {})
    return (("summary", found.get("summary", "")), *_notes(found))


def _notes(annotations: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, text) for name, text in annotations.items() if name not in _SHOWN_BESIDE and text]


def _said(episode: Episode) -> tuple[str, ...]:
    found = []
    if episode.acknowledged_by is not None:
        found.append(_sentence("Acknowledged", episode.acknowledged_by, episode.acknowledged_why))
    if episode.feedback is not None:
        words = f"Called “{episode.feedback}”"
        found.append(_sentence(words, episode.feedback_by, episode.feedback_comment))
    return tuple(found)


def _sentence(what: str, who: str | None, why: str | None) -> str:
    return f"{what} by {who or 'somebody'}" + (f": {why}" if why else ".")
