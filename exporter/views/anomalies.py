"""Open alerts and past episodes as cards of the pages, and the explanation of a series without an alert."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from exporter.alerting.alert import Alert
from exporter.alerting.episode import Episode
from exporter.alerting.explanation.explanation import explain_series
from exporter.alerting.explanation.input import ExplanationInput
from exporter.config.plan import QueryPlan
from exporter.evaluation.explanation_builder import votes_of
from exporter.silences import AlertStatus, Silencing
from exporter.web.pages.models import AnomalyCard, Labels, SeriesRow

__all__ = ["alert_card", "concerns", "distinct_labels", "episode_card", "explanation", "notes_of", "series_labels"]

_SHOWN_ELSEWHERE = frozenset(
    {"summary", "observed", "expected", "band", "score", "since", "lasted", "chart_url", "chart_image"}
)
"""Annotations that the page shows elsewhere, or that lead to it."""
_EXPIRED = "expired"
_UNSENT = "It is not known to be over: its alert is not sent any more, and Alertmanager ends it by itself."
_ANY_ALERT = frozenset({"alertname", "query", "severity", "incident", "incident_role"})
"""Labels that say nothing about what an alert is about."""
_ALERT_LABELS = frozenset({"alertname", "query"})
"""Labels that every alert has; where a series has such a label, its alert has it as ``exported_<name>``."""


def alert_card(
    alert: Alert,
    plan: QueryPlan | None,
    names: frozenset[str],
    episode: Episode | None,
    alert_status: Sequence[AlertStatus] = (),
    external: Collection[str] = (),
) -> AnomalyCard:
    """Return the card of an open alert.

    Parameters
    ----------
    plan : QueryPlan, optional
        Of its query; None for the alert of a group.
    names : frozenset of str
        Of the labels that the series of the query have; empty where they are not known: of a group, and after a start.
    episode : Episode, optional
        Its episode, where the store has it.
    alert_status : sequence of AlertStatus
        Its status in every Alertmanager.
    external : collection of str
        Names of labels that every alert has.
    """
    rule = None if plan is None else plan.alert
    added = set(() if rule is None else rule.labels)
    if names:
        labels = series_labels(alert.labels, names - added)
    else:
        labels = distinct_labels(alert.labels, added.union(external))
    acknowledged = episode is not None and episode.acknowledged_at is not None
    return AnomalyCard(
        query=alert.query,
        labels=labels,
        state="acknowledged" if acknowledged else str(alert.state),
        since=alert.active_at if episode is None else episode.opened_at,
        summary=alert.annotations.get("summary", ""),
        id=alert.episode,
        notes=notes_of(alert.annotations),
        remarks=(*(() if episode is None else _remarks(episode)), *alert_status_texts(alert_status)),
        has_graph=plan is not None,
        acknowledged=acknowledged,
        verdict="" if episode is None else str(episode.feedback or ""),
    )


def distinct_labels(alert: Mapping[str, str], added: Collection[str] = ()) -> Labels:
    """Return the labels of an alert that tell it from others, without those that `added` names.

    >>> distinct_labels({"alertname": "A", "query": "cpu", "pod": "a", "severity": "page", "team": "x"}, ["team"])
    (('pod', 'a'),)
    """
    return tuple(sorted((name, value) for name, value in alert.items() if name not in _ANY_ALERT and name not in added))


def series_labels(alert: Mapping[str, str], names: frozenset[str]) -> Labels:
    """Return the labels of the series among those of its alert.

    >>> alert = {"alertname": "A", "query": "cpu", "exported_query": "x", "job": "a", "severity": "page"}
    >>> series_labels(alert, frozenset({"job", "query"}))
    (('job', 'a'), ('query', 'x'))
    """
    labels: dict[str, str] = {}
    for name, value in alert.items():
        own = name if name in names and name not in _ALERT_LABELS else name.removeprefix("exported_")
        if own in names and (own != name or name not in _ALERT_LABELS):
            labels[own] = value
    return tuple(sorted(labels.items()))


def episode_card(episode: Episode, labels: Labels, alert_status: Sequence[AlertStatus] = ()) -> AnomalyCard:
    """Return the card of an episode of the series with `labels`, with what Alertmanagers still list of it."""
    listed = [status for status in alert_status if status.state != "absent"]
    more = (_UNSENT, *alert_status_texts(listed)) if episode.ended_unsent else ()
    return AnomalyCard(
        query=episode.query,
        labels=labels,
        state=_EXPIRED if episode.ended_unsent else str(episode.status),
        since=episode.opened_at,
        summary=episode.summary,
        until=episode.resolved_at,
        id=episode.id,
        remarks=(*_remarks(episode), *more),
        verdict=str(episode.feedback or ""),
    )


def concerns(alert: Mapping[str, str], series: Labels) -> bool:
    """Return whether an alert is about a series, by the labels of both.

    >>> concerns({"alertname": "A", "job": "a", "exported_query": "x"}, [("job", "a"), ("query", "x")])
    True
    """
    return all(
        value in (alert.get(name), alert.get(f"exported_{name}")) for name, value in series if name != "__name__"
    )


def explanation(plan: QueryPlan, series: SeriesRow) -> Sequence[tuple[str, str]]:
    """Explain an anomalous series that has no alert, as pairs of name and text; empty where it is not anomalous."""
    if not series.score >= 0.5:
        return ()
    case = ExplanationInput(
        query=plan.name,
        labels={},
        series=dict(series.labels),
        at=series.at,
        since=series.at,
        observed=series.observed,
        expected=series.expected,
        lower=series.lower,
        upper=series.upper,
        score=series.score,
        cast=0 if math.isnan(series.votes) else int(series.votes),
        quorum=plan.detection.quorum,
        unit=plan.unit,
        zone=plan.zone,
    )
    votes = votes_of(plan.detection.detectors, [severity for _, severity in series.severities], case)
    annotations = explain_series(replace(case, votes=votes), {}).annotations
    return (("summary", annotations.get("summary", "")), *notes_of(annotations))


def alert_status_texts(statuses: Sequence[AlertStatus]) -> list[str]:
    """Describe the status of an alert in every Alertmanager; those with the same status share a sentence.

    >>> notifying = AlertStatus("http://am1:9093", 0.0, "active", ("pager",))
    >>> alert_status_texts([notifying, AlertStatus("http://am2:9093", 0.0, "absent")])
    ['Alertmanager http://am1:9093: notifies pager.', 'Alertmanager http://am2:9093: does not have it.']
    """
    by_text: dict[str, list[str]] = {}
    for status in statuses:
        by_text.setdefault(_status_text(status), []).append(status.alertmanager)
    return [f"Alertmanager {', '.join(names)}: {text}" for text, names in by_text.items()]


def _status_text(status: AlertStatus) -> str:
    if status.state == "absent":
        return "does not have it."
    if status.state == "unprocessed":
        return "has not looked at it so far."
    receivers = ", ".join(status.receivers) or "nobody"
    if status.state == "active":
        silent = {muting.receiver for muting in status.muted}
        muted = [f"{muting.receiver} is muted by {', '.join(muting.by)}" for muting in status.muted]
        notified = ", ".join(name for name in status.receivers if name not in silent)
        return "; ".join([f"notifies {notified or 'nobody'}", *muted]) + "."
    reasons = [_silenced_text(silence) for silence in status.silenced_by]
    reasons += [f"inhibited by {_name(other.labels) or 'another alert'}" for other in status.inhibited_by]
    reasons += sorted({f"muted by {', '.join(muting.by)}" for muting in status.muted})
    return f"{' and '.join(reasons) or 'suppressed'}; {receivers} is not notified."


def _silenced_text(silence: Silencing) -> str:
    notes = ", ".join(f"{name}: {text}" for name, text in sorted(silence.annotations.items()))
    return f"silenced by {silence.by or 'somebody'}" + (f" ({notes})" if notes else "")


def _name(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    own = " ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name not in ("alertname", "query"))
    return f"{labels.get('query') or labels.get('group') or labels.get('alertname', '')} of {own}"


def notes_of(annotations: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the annotations of an alert that the page does not show elsewhere, by name."""
    return [(name, text) for name, text in annotations.items() if name not in _SHOWN_ELSEWHERE and text]


def _remarks(episode: Episode) -> tuple[str, ...]:
    remarks = []
    if episode.acknowledged_by is not None:
        remarks.append(_sentence("Acknowledged", episode.acknowledged_by, episode.acknowledged_why))
    if episode.feedback is not None:
        action = f"Called “{episode.feedback}”"
        remarks.append(_sentence(action, episode.feedback_by, episode.feedback_comment))
    return tuple(remarks)


def _sentence(action: str, who: str | None, why: str | None) -> str:
    return f"{action} by {who or 'somebody'}" + (f": {why}" if why else ".")
