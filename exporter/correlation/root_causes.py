"""Index of open alerts across queries and groups; finds the root cause and the incident of an alert."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log2

from exporter.alerting.alert import Alert, AlertCandidate
from exporter.alerting.explanation.input import CauseInput
from exporter.alerting.explanation.registry import CAUSE, RECOVERED
from exporter.alerting.identity import with_plain
from exporter.alerting.incident_groups import WINDOW, GroupMembers, IncidentGroups
from exporter.alerting.root_cause import (
    DependencyGraph,
    IncidentLink,
    OpenAnomaly,
    SeverityTrace,
    extended,
    incident_of,
    link_incidents,
)
from exporter.alerting.settings import DependencySettings

__all__ = ["DIGEST", "FIRING_LABELS", "RootCauses", "SlotCandidates"]

INCIDENT, ROLE = "incident", "incident_role"
_ROOT, _EFFECT = "root", "effect"
_MAX_SEVERITY = 16.0
DIGEST = "notify_as"
FIRING_LABELS = frozenset({INCIDENT, ROLE, DIGEST})
"""Labels that an alert gets when it fires."""
_COMMON = frozenset({"alertname", "query", "group", *FIRING_LABELS})


@dataclass(frozen=True, slots=True)
class SlotCandidates:
    """What is anomalous in one slot of one query or group.

    Attributes
    ----------
    source : str
        Name of the query, or of the job of a group.
    at, interval : float
        The slot, Unix seconds, and the seconds between slots.
    alerts : mapping
        All alerts of the source by fingerprint, before this slot. An open one that is neither a candidate nor silent is
        normal now.
    candidates : mapping
        By fingerprint.
    scores : mapping
        Of the candidates, 0 to 1.
    storm_labels : mapping
        By fingerprint of a storm: the labels that most of its members share.
    silent : collection of str
        Open alerts whose state is unknown in this slot.
    incidents : mapping
        By fingerprint, of storms: the incident of which they are the root, the same in every shard.
    """

    source: str
    at: float
    interval: float
    alerts: Mapping[str, Alert]
    candidates: Mapping[str, AlertCandidate]
    scores: Mapping[str, float]
    storm_labels: Mapping[str, Mapping[str, str]]
    silent: Collection[str]
    incidents: Mapping[str, str] = field(default_factory=dict)


class RootCauses:
    """The anomalies of all queries that can be causes or effects. Each query has one writer; any thread may read.

    Parameters
    ----------
    dependencies : sequence of DependencySettings
    sent_labels : callable
        Returns the labels `incident` and `incident_role` under which an Alertmanager has an alert that has not fired
        here, by fingerprint: another replica, which has seen more, has fixed them. Empty where there are none.
    elsewhere : callable
        Returns the alerts that other processes have sent: fingerprint, since when they are anomalous, and labels.
    """

    def __init__(
        self,
        dependencies: Sequence[DependencySettings] = (),
        *,
        sent_labels: Callable[[str], Mapping[str, str]] = lambda identity: {},  # noqa: ARG005
        elsewhere: Callable[[], Iterable[tuple[str, float, Mapping[str, str]]]] = tuple,
    ) -> None:
        self._sent_labels, self._elsewhere = sent_labels, elsewhere
        self._ended: dict[str, frozenset[str]] = {}
        self._recovered: dict[tuple[str, ...], tuple[float, float]] = {}
        """By entity of a group: when the newest alerts of its queries, which overlapped, began and ended."""
        self._anomalies: dict[str, tuple[OpenAnomaly, ...]] = {}
        self._discovered: dict[str, tuple[DependencySettings, ...]] = {}
        self._dependencies: tuple[DependencySettings, ...] = ()
        self._groups = IncidentGroups()
        self.configure(dependencies, ())

    def configure(
        self,
        dependencies: Sequence[DependencySettings],
        sources: Collection[str],
        groups: Iterable[GroupMembers] = (),
        *,
        patience: float = 0.0,
    ) -> None:
        """Apply another configuration.

        Parameters
        ----------
        sources : collection of str
            The queries and groups that have alerts.
        groups : iterable of GroupMembers
            They join alerts of some of these.
        patience : float
            Seconds after which the alerts of other processes are listed. What may be the effect of a cause that is not
            here waits for as long, because its incident is fixed when it fires: both may begin in the same slot.
        """
        self._dependencies, self._patience = tuple(dependencies), patience
        self._groups = IncidentGroups(groups)
        self._discovered = {_key(each): self._discovered.get(_key(each), ()) for each in self.queried}
        self._connect()
        for removed in self._anomalies.keys() - set(sources):
            self._anomalies.pop(removed, None)

    @property
    def queried(self) -> tuple[DependencySettings, ...]:
        """The dependencies that a query says."""
        return tuple(each for each in self._dependencies if each.from_query is not None)

    def discover(self, settings: DependencySettings, edges: tuple[DependencySettings, ...]) -> bool:
        """Replace the answer of a query of `dependencies`; return whether that is a change."""
        if self._discovered.get(_key(settings)) in (None, edges):
            return False
        self._discovered[_key(settings)] = edges
        self._connect()
        return True

    def _connect(self) -> None:
        """Make the graph of the dependencies of the file and of those that queries say."""
        written = [each for each in self._dependencies if each.from_query is None]
        edges = {
            (frozenset(each.caller.items()), frozenset(each.callee.items()), each.equal): each
            for each in (*written, *(each for edges in self._discovered.values() for each in edges))
        }
        # One assignment: another thread sees all of the old or all of the new.
        self.graph = DependencyGraph(tuple(edges.values()))

    def update(
        self,
        source: str,
        alerts: Mapping[str, Alert],
        traces: Mapping[str, SeverityTrace],
        interval: float,
        *,
        recovered: Collection[str] = (),
    ) -> None:
        """Replace the open alerts of one query or group.

        Parameters
        ----------
        recovered : collection of str
            The alerts that have ended in this slot because their series are normal.
        """
        for ended in (alerts[identity] for identity in recovered if identity in alerts):
            labels = with_plain(ended.labels)
            if ended.resolved_at is not None and "query" in labels:
                kept = {key: ends for key, ends in self._recovered.items() if ends[1] > ended.resolved_at - WINDOW}
                for key in self._groups.keys(labels):
                    own = ended.active_at, ended.resolved_at
                    other = kept.get(key, own)
                    # Of alerts that overlap, the first began what the group sees; after a start they come in any order.
                    overlap = other[0] <= own[1] and own[0] <= other[1]
                    kept[key] = (min(own[0], other[0]), max(own[1], other[1])) if overlap else max(own, other)
                # One assignment: another thread sees all of the old or all of the new.
                self._recovered = kept
        self._ended[source] = frozenset(identity for identity, alert in alerts.items() if not alert.is_open)
        self._anomalies[source] = tuple(
            self._anomaly(identity, alert, alert.active_at, trace, interval)
            for identity, trace in traces.items()
            if (alert := _open_alert(alerts, identity)) is not None
        )

    def restore(
        self, source: str, alerts: Mapping[str, Alert], traces: Mapping[str, SeverityTrace], interval: float
    ) -> None:
        """Take the alerts of a query or group as an earlier process, or configuration, has left them."""
        recovered = [
            identity
            for identity, alert in alerts.items()
            if not alert.is_open and any(each.name in alert.annotations for each in RECOVERED)
        ]
        self.update(source, alerts, traces, interval, recovered=recovered)

    def recovered_beside(self, labels: Mapping[str, str]) -> tuple[float, float] | None:
        """Return when the newest alerts of queries about an entity of a group began and ended, Unix seconds.

        Parameters
        ----------
        labels : mapping
            Of an alert of the group. None where there was no such alert lately, or where one is open.
        """
        if not self._recovered:
            return None
        for key in self._groups.keys(with_plain(labels)):
            if (ends := self._recovered.get(key)) is not None:
                open_anomalies = (anomaly for each in list(self._anomalies.values()) for anomaly in each)
                still = any("query" in each.labels and key in self._groups.keys(each.labels) for each in open_anomalies)
                return None if still else ends
        return None

    def extend_traces(self, slot: SlotCandidates, traces: Mapping[str, SeverityTrace]) -> dict[str, SeverityTrace]:
        """Return the traces of severity with this slot."""
        if not self.graph and not self._groups:
            return {}
        new = {}
        for identity, candidate in slot.candidates.items():
            labels = {**slot.storm_labels.get(identity, {}), **with_plain(candidate.labels)}
            if self.graph.mentions(labels) or self._groups.keys(labels):
                before = traces.get(identity, SeverityTrace(labels, incident=slot.incidents.get(identity, "")))
                new[identity] = extended(before, slot.at, _severity(slot.scores[identity]), labels)
        for identity, trace in traces.items():
            if identity not in new and _open_alert(slot.alerts, identity) is not None:
                new[identity] = trace if identity in slot.silent else extended(trace, slot.at, 0.0, trace.labels)
        return new

    def explain(self, slot: SlotCandidates, traces: Mapping[str, SeverityTrace]) -> dict[str, AlertCandidate]:
        """Return the candidates; those that can be causes or effects with their incident, cause and effects."""
        linked = [identity for identity in slot.candidates if identity in traces]
        if not linked:
            return dict(slot.candidates)
        own = []
        for identity, trace in traces.items():
            last, candidate = slot.alerts.get(identity), slot.candidates.get(identity)
            alert = _open_alert(slot.alerts, identity)
            began = slot.at if candidate is None or candidate.since is None else min(slot.at, candidate.since)
            onset = began if alert is None else alert.active_at
            # What ended here lately may still be listed as it was.
            again = alert is None and last is not None
            own.append(self._anomaly(identity, alert, onset, trace, slot.interval, again=again))
        others = [other for name, open_ in list(self._anomalies.items()) if name != slot.source for other in open_]
        others += self._sent_elsewhere(slot.interval, {anomaly.identity for anomaly in (*others, *own)})
        anomalies = {anomaly.identity: anomaly for anomaly in (*others, *own)}
        links = link_incidents(self.graph, anomalies.values(), linked, self._groups)
        explained = dict(slot.candidates)
        for identity in linked:
            candidate, link = slot.candidates[identity], links[identity]
            labels = {INCIDENT: link.incident, ROLE: _EFFECT if link.effect else _ROOT}
            cause = self._cause_input(anomalies[identity], link, slot.alerts.get(identity), [*others, *own])
            explanation = candidate.explanation.add(CAUSE, cause)
            waits = 0.0
            if self._patience and not link.root.incident:
                # What depends on what waits itself waits for as long.
                waits = self._patience * self.graph.levels(link.root.labels)
            explained[identity] = replace(candidate, firing_labels=labels, explanation=explanation, patience=waits)
        return explained

    def _sent_elsewhere(self, interval: float, here: Collection[str]) -> list[OpenAnomaly]:
        """Return the anomalies of other processes, as Alertmanagers list their alerts: only onsets are known."""
        ended: frozenset[str] = frozenset().union(*self._ended.values())
        anomalies = []
        for identity, onset, labels in self._elsewhere():
            plain = with_plain(labels)
            if identity in here or identity in ended or not (self.graph.mentions(plain) or self._groups.keys(plain)):
                continue
            incident = labels.get(INCIDENT) or incident_of(identity)
            effect = labels.get(ROLE) == _EFFECT
            anomalies.append(OpenAnomaly(identity, onset, interval, SeverityTrace(plain), incident, effect))
        return anomalies

    def _cause_input(
        self, anomaly: OpenAnomaly, link: IncidentLink, alert: Alert | None, anomalies: Sequence[OpenAnomaly]
    ) -> CauseInput:
        keys = set(self._groups.keys(anomaly.labels))
        effects: list[str] = []
        mates: list[str] = []
        for other in anomalies:
            if other.effect and other.incident == anomaly.own_incident != other.own_incident:
                same = keys.intersection(self._groups.keys(other.labels))
                (mates if same else effects).append(_name(other, anomaly))
        shown = () if link.effect else sorted(effects)
        near = CauseInput(effects=shown, mates=() if link.effect else sorted(mates))
        if link.first is not None:
            ahead = anomaly.onset - link.first.onset
            near = replace(near, first=_name(link.first, anomaly), first_since=link.first.onset, first_ahead=ahead)
        cause = link.cause
        if cause is not None:
            ahead = anomaly.onset - cause.onset
            return replace(near, cause=_name(cause, anomaly), since=cause.onset, ahead=ahead)
        # The cause is over, or was not seen again: what the alert said when it fired still holds.
        before = {} if alert is None or not anomaly.effect else alert.annotations
        first = "" if near.first else before.get("same_incident", "")
        return replace(near, earlier=before.get("suspected_cause", ""), earlier_first=first)

    def _anomaly(
        self,
        identity: str,
        alert: Alert | None,
        onset: float,
        trace: SeverityTrace,
        interval: float,
        *,
        again: bool = False,
    ) -> OpenAnomaly:
        # A restart lets a pending alert wait for longer, as if it had begun later; its trace is as it was.
        onset = min((onset, *trace.times[:1]))
        if alert is not None and alert.fired_at is not None:
            # What fired before there were dependencies is the root of whatever follows from it.
            labels: Mapping[str, str] = {INCIDENT: trace.incident or incident_of(identity), **alert.labels}
        else:
            labels = {} if again else self._sent_labels(identity)
        return OpenAnomaly(identity, onset, interval, trace, labels.get(INCIDENT, ""), labels.get(ROLE) == _EFFECT)


def _key(settings: DependencySettings) -> str:
    return settings.model_dump_json()


def _open_alert(alerts: Mapping[str, Alert], identity: str) -> Alert | None:
    alert = alerts.get(identity)
    return alert if alert is not None and alert.is_open else None


def _name(anomaly: OpenAnomaly, other: OpenAnomaly) -> str:
    """Return the query of an anomaly, and the labels that distinguish it from the other."""
    query = anomaly.labels.get("query") or anomaly.labels.get("group", "")
    pairs = (
        f"{name}={value}"
        for name, value in sorted(anomaly.labels.items())
        if name not in _COMMON and other.labels.get(name) != value
    )
    own = " ".join(pairs)
    return f"{query} of {own}" if own else query


def _severity(score: float) -> float:
    """Return the severity of a score.

    >>> _severity(0.5), _severity(1.0)
    (1.0, 16.0)
    """
    return min(_MAX_SEVERITY, -log2(1.0 - score)) if score < 1.0 else _MAX_SEVERITY
