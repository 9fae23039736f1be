"""Alerts and episodes as the pages show them, and the explanation of a series that has none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from exporter.alerting.alert import Alert
from exporter.alerting.episode import Episode
from exporter.alerting.explanation.explanation import explain_series
from exporter.alerting.explanation.input import DetectorVote, ExplanationInput
from exporter.config.plan import QueryPlan
from exporter.silences import AlertStatus
from exporter.web.pages.models import AnomalyCard, Labels, SeriesRow

__all__ = ["explanation", "is_about", "of_alert", "of_episode", "series_labels"]

_SHOWN_BESIDE = frozenset(
    {"summary", "observed", "expected", "band", "score", "since", "lasted", "chart_url", "chart_image"}
)
"""Annotations that the page says elsewhere, or is."""
_ALERTS_OWN = frozenset({"alertname", "query"})
"""Labels that every alert has; where a series has such a label, its alert has it as ``exported_<name>``."""


def of_alert(
    alert: Alert,
    plan: QueryPlan | None,
    names: frozenset[str],
    acknowledged: Episode | None,
    told: Sequence[AlertStatus] = (),
) -> AnomalyCard:
    """Return an open alert.

    Parameters
    ----------
    plan : QueryPlan, optional
        Of its query; None for the alert of a group.
    names : frozenset of str
        Of the labels that the series of the query have.
    acknowledged : Episode, optional
        Its episode, where somebody takes care of it.
    told : sequence of Told
        What Alertmanagers make of it.
    """
    rule = None if plan is None else plan.alert
    labels = series_labels(alert.labels, names - set(() if rule is None else rule.labels))
    return AnomalyCard(
        query=alert.query,
        labels=labels,
        state=str(alert.state) if acknowledged is None else "acknowledged",
        since=alert.active_at,
        summary=alert.annotations.get("summary", ""),
        id=alert.episode,
        notes=_notes(alert.annotations),
        remarks=(*(() if acknowledged is None else _said(acknowledged)), *told_in_words(told)),
        has_graph=plan is not None,
    )


def series_labels(alert: Mapping[str, str], names: frozenset[str]) -> Labels:
    """Return the labels of its series among those of an alert, which has more.

    >>> alert = {"alertname": "A", "query": "cpu", "exported_query": "x", "job": "a", "severity": "page"}
    >>> series_labels(alert, frozenset({"job", "query"}))
    (('job', 'a'), ('query', 'x'))
    """
    found: dict[str, str] = {}
    for name, value in alert.items():
        own = name if name in names and name not in _ALERTS_OWN else name.removeprefix("exported_")
        if own in names and (own != name or name not in _ALERTS_OWN):
            found[own] = value
    return tuple(sorted(found.items()))


def of_episode(episode: Episode, labels: Labels) -> AnomalyCard:
    """Return an episode of the series with `labels`."""
    return AnomalyCard(
        query=episode.query,
        labels=labels,
        state=str(episode.status),
        since=episode.opened_at,
        summary=episode.summary,
        until=episode.resolved_at,
        id=episode.id,
        remarks=_said(episode),
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
        DetectorVote(detector.kind, severity, detector.votes)
        for detector, (_, severity) in zip(plan.detection.detectors, one.severities, strict=True)
    )
    case = ExplanationInput(
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
    found = explain_series(case, {}).annotations
    return (("summary", found.get("summary", "")), *_notes(found))


def told_in_words(told: Sequence[AlertStatus]) -> list[str]:
    """Say what Alertmanagers make of an alert, those that say the same in one sentence.

    >>> active = AlertStatus("http://am1:9093", 0.0, "active", ("pager",))
    >>> told_in_words([active, AlertStatus("http://am2:9093", 0.0, "absent")])
    ['Alertmanager http://am1:9093: tells pager.', 'Alertmanager http://am2:9093: does not have it.']
    """
    together: dict[str, list[str]] = {}
    for one in told:
        together.setdefault(_in_words(one), []).append(one.alertmanager)
    return [f"Alertmanager {', '.join(names)}: {words}" for words, names in together.items()]


def _in_words(one: AlertStatus) -> str:
    if one.state == "absent":
        return "does not have it."
    if one.state == "unprocessed":
        return "has not looked at it so far."
    receivers = ", ".join(one.receivers) or "nobody"
    if one.state == "active":
        return f"tells {receivers}."
    why = [f"silenced by {silence.by or 'somebody'}" for silence in one.silenced_by]
    why += [f"inhibited by {_name(other.labels) or 'another alert'}" for other in one.inhibited_by]
    return f"{' and '.join(why) or 'suppressed'}; {receivers} is not told."


def _name(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    own = " ".join(f"{name}={value}" for name, value in sorted(labels.items()) if name not in ("alertname", "query"))
    return f"{labels.get('query') or labels.get('group') or labels.get('alertname', '')} of {own}"


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
