"""Root causes: which anomaly explains which, and what belongs to one incident.

The configuration says who depends on whom: a *caller* on a *callee*. The anomaly of a callee explains that of a caller
if it began first, at most five minutes before, and if the severities of both agree: their cross-correlation peaks where
the callee leads. A difference of one interval either way does not count, because onsets are known by samples only.

Links are followed to their root, and everything that leads to the same root is one incident. A circle of services has
its root where it began.

What was decided when an alert fired stays, because labels are its identity. Everything follows from the anomalies that
are given: which of them explains another does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.alerting.incident_groups import WINDOW, IncidentGroups, Key
from exporter.alerting.settings import DependencySettings

__all__ = [
    "HORIZON",
    "OpenAnomaly",
    "DependencyGraph",
    "IncidentLink",
    "SeverityTrace",
    "agreement",
    "extended",
    "incident_of",
    "link_incidents",
]

FloatArray = npt.NDArray[np.float64]
_Index = dict[tuple[str, str], list[tuple[int, Mapping[str, str]]]]
"""By the least label of a pattern: number and pattern of the dependency."""

_NO_GROUPS = IncidentGroups()
HORIZON = 300.0
"""Seconds that a cause may begin before its effect."""
_AGREES = 0.5
"""Correlation from which severities agree."""
_ENOUGH = 3
"""Slots that both traces need for a comparison."""
_LONGEST = 128
"""Points of the grid on which two severities are compared, at most."""
_CANDIDATES = 16
"""Candidates per anomaly that are compared, those with the closest onsets."""
_LEVELS = 3
"""Levels of callees that are counted."""
_INCIDENT_LENGTH = 12
_CLOSEST = 10.0
"""Seconds between two points of a trace at least."""
_KEPT = 64
"""Points of a trace: its beginning, because only what begins together is compared."""


class SeverityTrace(msgspec.Struct, frozen=True, array_like=True):
    """The severity of an open alert in its first slots; empty where it is unknown.

    Attributes
    ----------
    labels : mapping
        What dependencies are matched with: the alert's, and of a storm also what most of its members share.
    times : tuple of float, Unix seconds
    severities : tuple of float
        0 where it was normal.
    incident : str
        The incident of which it is the root, where that is not by its fingerprint: storms of several shards are one.
    """

    labels: Mapping[str, str]
    times: tuple[float, ...] = ()
    severities: tuple[float, ...] = ()
    incident: str = ""


def extended(trace: SeverityTrace, at: float, severity: float, labels: Mapping[str, str]) -> SeverityTrace:
    """Return a trace with one more slot, unless it is full or the slot is too close to the last."""
    if len(trace.times) >= _KEPT or (trace.times and at - trace.times[-1] < _CLOSEST):
        return msgspec.structs.replace(trace, labels=labels)
    return SeverityTrace(labels, (*trace.times, at), (*trace.severities, severity), trace.incident)


@dataclass(frozen=True, slots=True)
class OpenAnomaly:
    """One open alert that can be a cause or an effect.

    Attributes
    ----------
    identity : str
        Fingerprint of the alert.
    onset : float, Unix seconds
        When it became anomalous.
    interval : float, seconds
        Between its slots.
    trace : SeverityTrace
    incident : str
        Fixed when the alert fired; empty while it has not.
    effect : bool
        Whether the alert fired as the effect of another.
    """

    identity: str
    onset: float
    interval: float
    trace: SeverityTrace
    incident: str = ""
    effect: bool = False

    @property
    def labels(self) -> Mapping[str, str]:
        """What dependencies are matched with."""
        return self.trace.labels

    @property
    def own_incident(self) -> str:
        """The incident of which it is the root."""
        return self.trace.incident or incident_of(self.identity)


@dataclass(frozen=True, slots=True)
class IncidentLink:
    """The incident of an anomaly, and its place in it.

    Attributes
    ----------
    incident : str
    effect : bool
        Whether another anomaly is the root.
    cause : OpenAnomaly or None
        The one that explains it.
    root : OpenAnomaly
        Where it began, or the first alert on the way there whose incident is fixed.
    first : OpenAnomaly or None
        The one about the same thing that brings it into the incident, where nothing explains it.
    """

    incident: str
    effect: bool
    cause: OpenAnomaly | None
    root: OpenAnomaly
    first: OpenAnomaly | None = None


def incident_of(identity: str) -> str:
    """Return the incident of which an alert is the root, by its fingerprint."""
    return identity[:_INCIDENT_LENGTH]


class DependencyGraph:
    """Who depends on whom."""

    def __init__(self, dependencies: Sequence[DependencySettings]) -> None:
        self._edges = tuple(dependencies)
        # Indexed by one of their labels, so that an anomaly is only compared with what may match.
        self._callers = _by_label(edge.caller for edge in dependencies)
        self._callees = _by_label(edge.callee for edge in dependencies)

    def __len__(self) -> int:
        return len(self._edges)

    def calls(self, labels: Mapping[str, str]) -> list[tuple[object, ...]]:
        """Return what an anomaly depends on: the keys under which `called` returns its callees."""
        return self._keys(self._callers, labels)

    def called(self, labels: Mapping[str, str]) -> list[tuple[object, ...]]:
        """Return the keys of the dependencies of which an anomaly is the callee."""
        return self._keys(self._callees, labels)

    def mentions(self, labels: Mapping[str, str]) -> bool:
        """Return whether an anomaly with these labels can be a cause or an effect."""
        return bool(self.calls(labels) or self.called(labels))

    def levels(self, labels: Mapping[str, str]) -> int:
        """Return how many levels of callees are below an anomaly, as far as they are counted."""
        return max((self._levels[number] for number in self._matching(self._callers, labels)), default=0)

    @cached_property
    def _levels(self) -> list[int]:
        """Levels below the caller of each dependency; of a circle as many as are counted."""
        callees = [frozenset(edge.callee.items()) for edge in self._edges]
        # Many call the same.
        below = {callee: self._matching(self._callers, dict(callee)) for callee in set(callees)}
        levels = [1] * len(callees)
        for _ in range(_LEVELS - 1):
            deepest = {callee: max((levels[at] for at in numbers), default=0) for callee, numbers in below.items()}
            levels = [1 + deepest[callee] for callee in callees]
        return levels

    def pairs(self, labels: Sequence[str]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Yield the values of some labels of each caller and its callee, where a dependency gives all of them."""
        for edge in self._edges:
            if all(name in edge.caller and name in edge.callee for name in labels):
                yield tuple(edge.caller[name] for name in labels), tuple(edge.callee[name] for name in labels)

    def _keys(self, index: _Index, labels: Mapping[str, str]) -> list[tuple[object, ...]]:
        return [
            (number, *(labels.get(name, "") for name in self._edges[number].equal))
            for number in self._matching(index, labels)
        ]

    @staticmethod
    def _matching(index: _Index, labels: Mapping[str, str]) -> list[int]:
        return [
            number
            for pair in labels.items()
            for number, pattern in index.get(pair, ())
            if pattern.items() <= labels.items()
        ]


def _by_label(patterns: Iterable[Mapping[str, str]]) -> _Index:
    index: _Index = {}
    for number, pattern in enumerate(patterns):
        index.setdefault(min(pattern.items()), []).append((number, pattern))
    return index


def link_incidents(
    graph: DependencyGraph,
    anomalies: Iterable[OpenAnomaly],
    identities: Iterable[str],
    groups: IncidentGroups = _NO_GROUPS,
) -> dict[str, IncidentLink]:
    """Return the incident, role and cause of some anomalies.

    Parameters
    ----------
    graph : DependencyGraph
    anomalies : iterable of OpenAnomaly
        All that are open.
    identities : iterable of str
        Of the anomalies to link.
    groups : IncidentGroups
        What is about the same thing.
    """
    by_identity = {anomaly.identity: anomaly for anomaly in anomalies}
    callees: dict[tuple[object, ...], list[OpenAnomaly]] = {}
    for anomaly in by_identity.values():
        for key in graph.called(anomaly.labels):
            callees.setdefault(key, []).append(anomaly)
    mates: dict[Key, list[OpenAnomaly]] = {}
    for anomaly in by_identity.values():
        for mate_key in groups.keys(anomaly.labels):
            mates.setdefault(mate_key, []).append(anomaly)
    causes: dict[str, OpenAnomaly | None] = {}

    def cause_of(effect: OpenAnomaly) -> OpenAnomaly | None:
        if effect.identity not in causes:
            candidates = {
                callee.identity: callee for key in graph.calls(effect.labels) for callee in callees.get(key, ())
            }
            causes[effect.identity] = _best(effect, candidates.values())
        return causes[effect.identity]

    def first_of(anomaly: OpenAnomaly) -> OpenAnomaly | None:
        """Return what brings an anomaly that nothing explains into an incident: what is explained, or began first."""
        own = _place(anomaly)
        near = [
            (cause_of(mate) is None, _place(mate), mate)
            for key in groups.keys(anomaly.labels)
            for mate in mates[key]
            if mate.identity != anomaly.identity and abs(mate.onset - anomaly.onset) <= WINDOW
        ]
        earlier = [entry for entry in near if not entry[0] or entry[1] < own]
        return min(earlier, key=lambda entry: entry[:2])[2] if earlier else None

    def before(anomaly: OpenAnomaly) -> OpenAnomaly | None:
        return cause_of(anomaly) or first_of(anomaly)

    links = {}
    for identity in identities:
        anomaly = by_identity[identity]
        root, incident = _root(anomaly, before)
        cause = cause_of(anomaly)
        first = first_of(anomaly) if cause is None else None
        if root.identity == identity and not anomaly.effect:
            # In a circle every anomaly has a cause, but not the one where it began.
            cause, first = cause if anomaly.incident else None, None
        links[identity] = IncidentLink(incident, root.identity != identity or anomaly.effect, cause, root, first)
    return links


def _place(anomaly: OpenAnomaly) -> tuple[float, bool, str]:
    """Return what anomalies about one thing are ordered by: of those that begin together a query says more."""
    return anomaly.onset, "group" in anomaly.labels and "query" not in anomaly.labels, anomaly.identity


def _root(anomaly: OpenAnomaly, cause_of: Callable[[OpenAnomaly], OpenAnomaly | None]) -> tuple[OpenAnomaly, str]:
    """Follow the causes to their root, or to an alert whose incident was fixed when it fired."""
    path, places = [anomaly], {anomaly.identity: 0}
    while not path[-1].incident:
        cause = cause_of(path[-1])
        if cause is None:
            break
        if cause.identity in places:
            circle = path[places[cause.identity] :]
            root = min(circle, key=lambda member: (member.onset, member.identity))
            return root, root.own_incident
        places[cause.identity] = len(path)
        path.append(cause)
    return path[-1], path[-1].incident or path[-1].own_incident


def _best(effect: OpenAnomaly, candidates: Iterable[OpenAnomaly]) -> OpenAnomaly | None:
    """Return the candidate that explains an anomaly best, or None where none does."""
    near = []
    for cause in candidates:
        slack = max(effect.interval, cause.interval)
        ahead = effect.onset - cause.onset
        if cause.identity != effect.identity and -slack <= ahead <= HORIZON + slack:
            near.append((abs(ahead), cause.identity, cause))
    ranked = []
    for _, identity, cause in sorted(near, key=lambda entry: entry[:2])[:_CANDIDATES]:
        peak, lag = agreement(effect, cause)
        if peak >= _AGREES and lag >= -max(effect.interval, cause.interval):
            ranked.append((-round(peak, 6), cause.onset, identity, cause))
    return min(ranked, key=lambda entry: entry[:3])[3] if ranked else None


def agreement(effect: OpenAnomaly, cause: OpenAnomaly) -> tuple[float, float]:
    """Return the highest correlation of two severities within `HORIZON`, and by how many seconds the cause leads there.

    Both are zero before their onset. Where a trace is too short the onsets decide: nothing contradicts them.
    """
    if min(len(effect.trace.times), len(cause.trace.times)) < _ENOUGH:
        return 1.0, effect.onset - cause.onset
    step = max(effect.interval, cause.interval, 1.0)
    begin = min(effect.onset, cause.onset) - HORIZON - step
    end = max((effect.onset, cause.onset, *effect.trace.times[-1:], *cause.trace.times[-1:]))
    step = max(step, (end - begin) / _LONGEST)
    grid: FloatArray = end - step * np.arange(floor((end - begin) / step), -1, -1, dtype=np.float64)
    late, early = (_severity_at(anomaly, grid) for anomaly in (effect, cause))
    late, early = late - late.mean(), early - early.mean()
    norm = float(np.sqrt((late @ late) * (early @ early)))
    if norm <= 0.0:
        return 1.0, effect.onset - cause.onset
    most = floor(HORIZON / step) + 1
    whole = np.correlate(late, early, "full") / norm
    lags = np.arange(len(whole)) - (len(grid) - 1)
    inside = np.abs(lags) <= most
    whole, lags = whole[inside], lags[inside]
    # Of equal peaks the closest to the onsets.
    expected = (effect.onset - cause.onset) / step
    peak = whole.max()
    best = np.flatnonzero(whole >= peak - 1e-9)
    chosen = best[np.argmin(np.abs(lags[best] - expected))]
    return float(peak), float(lags[chosen] * step)


def _severity_at(anomaly: OpenAnomaly, grid: FloatArray) -> FloatArray:
    """Return the severity at the points of a grid: that of the newest slot, 0 before the onset."""
    times, values = np.array(anomaly.trace.times), np.array(anomaly.trace.severities)
    if not len(times):
        return (grid >= anomaly.onset).astype(np.float64)
    place = np.searchsorted(times, grid + 1e-6, side="right") - 1
    # The anomaly may be older than its trace.
    return np.where(grid + 1e-6 >= min(anomaly.onset, times[0]), values[np.maximum(place, 0)], 0.0)
