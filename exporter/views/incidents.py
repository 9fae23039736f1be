"""Past and open anomalies as lists, and one of them with everything that happened to it and beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from exporter.alerting.alert import AuditEvent
from exporter.alerting.episode import Episode, Feedback, Status
from exporter.alerting.explanation.formatting import format_span
from exporter.config.plan import QueryPlan
from exporter.correlation.changes import Change
from exporter.silences import AlertStatus
from exporter.store import AuditEntry, EpisodeFilter, EpisodeLog
from exporter.views.anomalies import alert_status_texts, distinct_labels, series_labels
from exporter.web.api import ApiError
from exporter.web.api.anomalies import cursor_of, read_cursor
from exporter.web.pages.incident_models import AnomalyFilter, TimelineEntry
from exporter.web.pages.models import DisplayError, EpisodeRow, Labels, TimeRange

__all__ = [
    "LabelsOf",
    "episode_row",
    "firing_annotations",
    "incident_members",
    "labels_by",
    "list_episodes",
    "shown_range",
    "timeline",
]

_PAGE = 50
_BEFORE, _AFTER = 3 * 3600.0, 3600.0
"""Seconds around an anomaly that its chart shows."""
_CHANGES_BEFORE = 6 * 3600.0
_MOST_MEMBERS, _MOST_CHANGES = 100, 20
_INCIDENT = "incident"

_OUTCOMES = {
    "normal": "back to normal",
    "no_data": "its series went away",
    "rule_removed": "its query or alert was removed",
    "rule_changed": "its labels were changed",
    "ignored": "a known event began",
    "load": "a load of its group explains it",
}
_EVENTS = {
    AuditEvent.OPEN: ("pending", "became anomalous"),
    AuditEvent.FIRING: ("firing", "its alert fired"),
    AuditEvent.RESOLVED: ("resolved", "its alert ended"),
    AuditEvent.DROPPED: ("resolved", "it ended before its alert fired"),
    AuditEvent.EXPIRED: ("resolved", "the exporter was down for too long to know"),
    AuditEvent.EXPIRED_SOURCE_DOWN: ("resolved", "its query failed for too long to know"),
    AuditEvent.ACKNOWLEDGED: ("acknowledged", "acknowledged"),
    AuditEvent.UNACKNOWLEDGED: ("open", "the acknowledgement was taken back"),
    AuditEvent.FEEDBACK: ("verdict", "called"),
    AuditEvent.FEEDBACK_DECLINED: ("verdict", "a verdict was not taken"),
    AuditEvent.FEEDBACK_WITHDRAWN: ("verdict", "the verdict was taken back"),
}

LabelsOf = Callable[[Episode], tuple[Labels, bool]]
"""From an episode to the labels of its series, and whether it has a graph."""


def labels_by(plans: Mapping[str, QueryPlan], names: Callable[[str], frozenset[str]]) -> LabelsOf:
    """Return what finds the labels of the series of an episode.

    Parameters
    ----------
    names : callable
        From a query to the names of the labels that its series have.
    """

    def labels(episode: Episode) -> tuple[Labels, bool]:
        plan, own = plans.get(episode.query), names(episode.query)
        if plan is None or not own:
            added = () if plan is None or plan.alert is None else plan.alert.labels
            return distinct_labels(episode.labels, added), plan is not None
        return series_labels(episode.labels, own - set(() if plan.alert is None else plan.alert.labels)), True

    return labels


def list_episodes(
    log: EpisodeLog, filters: AnomalyFilter, labels_of: LabelsOf, at: float, limit: int = _PAGE
) -> tuple[list[EpisodeRow], str]:
    """Return a page of episodes, the newest first, and the cursor of the next one; empty where there is none.

    Raises
    ------
    DisplayError, StateError
    """
    words = filters.text.lower().split()

    def fits(labels: Mapping[str, str]) -> bool:
        text = " ".join(f'{name}="{value}"' for name, value in labels.items()).lower()
        return all(word in text for word in words)

    try:
        after = read_cursor(filters.cursor or None)
    except ApiError as error:
        raise DisplayError(str(error), 400) from None
    page = log.page(
        EpisodeFilter(
            query=filters.query,
            status=None if filters.status is None else Status(filters.status),
            feedback=None if filters.verdict is None else Feedback(filters.verdict),
            since=at - filters.days * 86400.0,
            fired=True if filters.fired else None,
            labels=fits if words else None,
        ),
        after=after,
        limit=limit,
    )
    rows = [episode_row(episode, labels_of) for episode in page.episodes]
    return rows, "" if page.next is None else cursor_of(page.next)


def episode_row(episode: Episode, labels_of: LabelsOf) -> EpisodeRow:
    """Return an episode as it is listed."""
    labels, has_graph = labels_of(episode)
    outcome = ""
    if episode.resolved_at is not None:
        outcome = _OUTCOMES.get(episode.resolved_why or "", episode.resolved_why or "")
        if episode.fired_at is None:
            outcome += ", before its alert fired"
    state = str(episode.status)
    if episode.status is Status.OPEN:
        state = "pending" if episode.fired_at is None else "firing"
    return EpisodeRow(
        id=episode.id,
        query=episode.query,
        labels=labels,
        state=state,
        since=episode.opened_at,
        until=episode.resolved_at,
        summary=episode.summary,
        outcome=outcome,
        who=episode.acknowledged_by or "",
        verdict=str(episode.feedback or ""),
        verdict_by=episode.feedback_by or "",
        score=None if episode.worst is None else episode.worst.score,
        has_graph=has_graph,
    )


def firing_annotations(entries: Sequence[AuditEntry]) -> dict[str, str]:
    """Return the annotations with which an alert fired, from the audit of its episode; empty where it did not."""
    fired = [entry for entry in entries if entry.event == AuditEvent.FIRING and entry.intact]
    # The labels that it got by firing are there, too; a name with a dot is no annotation.
    return {name: text for name, text in fired[-1].details.items() if "." not in name} if fired else {}


def shown_range(episode: Episode, at: float) -> TimeRange:
    """Return the range of the chart of an episode."""
    end = at if episode.resolved_at is None else min(at, episode.resolved_at + _AFTER)
    start = episode.opened_at - _BEFORE
    return TimeRange(max(start, end - 30 * 86400.0), max(end, start + 60.0))


def incident_members(log: EpisodeLog, episode: Episode) -> list[Episode]:
    """Return the other episodes of the incident of an episode, those that began first first."""
    incident = episode.labels.get(_INCIDENT)
    if not incident:
        return []
    filters = EpisodeFilter(
        since=episode.opened_at - _CHANGES_BEFORE,
        until=(episode.resolved_at or episode.opened_at) + _CHANGES_BEFORE,
        labels=lambda labels: labels.get(_INCIDENT) == incident,
    )
    members = log.page(filters, limit=_MOST_MEMBERS).episodes
    return sorted((each for each in members if each.id != episode.id), key=lambda each: each.opened_at)


def timeline(
    entries: Iterable[AuditEntry], members: Sequence[Episode], changes: Sequence[Change], status: Sequence[AlertStatus]
) -> list[TimelineEntry]:
    """Return everything that happened, in its order.

    Parameters
    ----------
    entries : iterable of AuditEntry
        The transitions of the episode.
    members, changes, status : sequence
        Of the incident, what changed before and during it, and what each Alertmanager makes of the alert.
    """
    parts = [_of_transition(entry) for entry in entries]
    for member in members:
        who = f"{member.query} {_text(member.labels)}".strip()
        parts.append(TimelineEntry(member.opened_at, "member", f"{who} became anomalous", link=member.id))
        if member.resolved_at is not None:
            span = format_span(member.resolved_at - member.opened_at)
            parts.append(TimelineEntry(member.resolved_at, "member", f"{who} ended after {span}", link=member.id))
    parts += [TimelineEntry(change.at, "change", change.text) for change in changes[:_MOST_CHANGES]]
    for each in status:
        (text,) = alert_status_texts([each])
        parts.append(TimelineEntry(each.at, "silence" if each.silenced_by else "notification", text))
    return sorted(parts, key=lambda entry: entry.at)


def _of_transition(entry: AuditEntry) -> TimelineEntry:
    try:
        kind, text = _EVENTS[AuditEvent(entry.event)]
    except ValueError:
        # Of a newer version.
        kind, text = "other", entry.event
    if entry.event == AuditEvent.FEEDBACK:
        text = f"called “{entry.details.get('verdict', '')}”"
        why = entry.why
    else:
        why = _OUTCOMES.get(entry.why, entry.why)
    who = "" if entry.who == "exporter" else entry.who
    if why and kind != "pending":
        text += f": {why}"
    if not entry.intact:
        text += " (this entry of the audit is not what was written)"
    return TimelineEntry(entry.at, kind, text, who)


def _text(labels: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in distinct_labels(labels))
