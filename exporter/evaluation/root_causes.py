"""Cause and effect between the alerts of all queries and groups: what each of them sees of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import log2

from exporter.alerting.alert import Alert, AlertCandidate, AlertState
from exporter.alerting.explanation.input import CauseInput
from exporter.alerting.explanation.registry import CAUSE
from exporter.alerting.root_cause import (
    DependencyGraph,
    IncidentLink,
    OpenAnomaly,
    SeverityTrace,
    extended,
    link_incidents,
)
from exporter.alerting.settings import DependencySettings

__all__ = ["RootCauses"]

INCIDENT, ROLE = "incident", "incident_role"
_ROOT, _EFFECT = "root", "effect"
_MOST = 16.0
"""Severity that counts at most: beyond is no matter of more or less."""
_COMMON = frozenset({"alertname", "query", "group", INCIDENT, ROLE})


class RootCauses:
    """The anomalies that can be causes or effects, of all queries. Each has one writer; anybody may read.

    Parameters
    ----------
    dependencies : sequence of DependencySettings
    """

    def __init__(self, dependencies: Sequence[DependencySettings] = ()) -> None:
        self.graph = DependencyGraph(dependencies)
        self._known: dict[str, tuple[OpenAnomaly, ...]] = {}

    def configure(self, dependencies: Sequence[DependencySettings], sources: Collection[str]) -> None:
        """Go on under another configuration, in which only `sources` have alerts."""
        self.graph = DependencyGraph(dependencies)
        for gone in self._known.keys() - set(sources):
            self._known.pop(gone, None)

    def put(
        self, source: str, alerts: Mapping[str, Alert], traces: Mapping[str, SeverityTrace], interval: float
    ) -> None:
        """Note what is open of one query or group."""
        open_ones = {identity: alert for identity, alert in alerts.items() if alert.state is not AlertState.RESOLVED}
        self._known[source] = tuple(
            _anomaly(identity, alert, alert.active_at, trace, interval)
            for identity, trace in traces.items()
            if (alert := open_ones.get(identity)) is not None
        )

    def follow(
        self,
        traces: Mapping[str, SeverityTrace],
        alerts: Mapping[str, Alert],
        found: Mapping[str, AlertCandidate],
        scores: Mapping[str, float],
        shared: Mapping[str, Mapping[str, str]],
        silent: Collection[str],
        at: float,
    ) -> dict[str, SeverityTrace]:
        """Return the traces with this slot.

        Parameters
        ----------
        traces : mapping
            As they were.
        alerts : mapping
            As they were; what is open of them and in neither `found` nor `silent` is normal.
        found, scores : mapping
            What is anomalous now, and how much: 0 to 1.
        shared : mapping
            By identity of a storm: what most of its members share.
        silent : collection of str
            Those of which nothing is known.
        at : float, Unix seconds
        """
        if not self.graph:
            return {}
        new = {}
        for identity, finding in found.items():
            labels = {**shared.get(identity, {}), **finding.labels}
            if self.graph.knows(labels):
                new[identity] = extended(
                    traces.get(identity, SeverityTrace(labels)), at, _severity(scores[identity]), labels
                )
        for identity, trace in traces.items():
            alert = alerts.get(identity)
            if identity not in new and alert is not None and alert.state is not AlertState.RESOLVED:
                new[identity] = trace if identity in silent else extended(trace, at, 0.0, trace.labels)
        return new

    def explain(
        self,
        source: str,
        found: Mapping[str, AlertCandidate],
        alerts: Mapping[str, Alert],
        traces: Mapping[str, SeverityTrace],
        at: float,
        interval: float,
    ) -> dict[str, AlertCandidate]:
        """Return the findings, those that can be causes or effects with what they belong to."""
        wanted = [identity for identity in found if identity in traces]
        if not wanted:
            return dict(found)
        own = []
        for identity, trace in traces.items():
            alert = alerts.get(identity)
            known = alert if alert is not None and alert.state is not AlertState.RESOLVED else None
            finding = found.get(identity)
            began = at if finding is None or finding.since is None else min(at, finding.since)
            onset = began if known is None else known.active_at
            own.append(_anomaly(identity, known, onset, trace, interval))
        others = [one for name, known in list(self._known.items()) if name != source for one in known]
        links = link_incidents(self.graph, [*others, *own], wanted)
        by_identity = {one.identity: one for one in (*others, *own)}
        told = dict(found)
        for identity in wanted:
            now = by_identity[identity]
            finding, linked = found[identity], links[identity]
            marks = {INCIDENT: linked.incident, ROLE: _EFFECT if linked.effect else _ROOT}
            cause = _cause_input(now, linked, alerts.get(identity), [*others, *own])
            told[identity] = replace(finding, firing_labels=marks, explanation=finding.explanation.add(CAUSE, cause))
        return told


def _anomaly(identity: str, alert: Alert | None, onset: float, trace: SeverityTrace, interval: float) -> OpenAnomaly:
    fixed = alert is not None and alert.fired_at is not None
    labels = alert.labels if alert is not None and fixed else {}
    # What fired before there were dependencies is the root of whatever follows from it.
    incident = labels.get(INCIDENT, identity[:12]) if fixed else ""
    return OpenAnomaly(identity, onset, interval, trace, incident, labels.get(ROLE) == _EFFECT)


def _cause_input(
    now: OpenAnomaly, linked: IncidentLink, alert: Alert | None, anomalies: Sequence[OpenAnomaly]
) -> CauseInput:
    effects = sorted(
        _name(other, now)
        for other in anomalies
        if other.effect and other.incident == now.own_incident != other.own_incident
    )
    shown = () if linked.effect else effects
    cause = linked.cause
    if cause is not None:
        return CauseInput(_name(cause, now), cause.onset, now.onset - cause.onset, effects=shown)
    # The cause is over, or was not seen again: what the alert said when it fired still holds.
    earlier = alert.annotations.get("suspected_cause", "") if now.effect and alert is not None else ""
    return CauseInput(earlier=earlier, effects=shown)


def _name(one: OpenAnomaly, other: OpenAnomaly) -> str:
    """Say which anomaly it is, by what tells it from the other."""
    judged = one.labels.get("query") or one.labels.get("group", "")
    pairs = (
        f"{name}={value}"
        for name, value in sorted(one.labels.items())
        if name not in _COMMON and other.labels.get(name) != value
    )
    own = " ".join(pairs)
    return f"{judged} of {own}" if own else judged


def _severity(score: float) -> float:
    """Return the severity that a score stands for.

    >>> _severity(0.5), _severity(1.0)
    (1.0, 16.0)
    """
    return min(_MOST, -log2(1.0 - score)) if score < 1.0 else _MOST
