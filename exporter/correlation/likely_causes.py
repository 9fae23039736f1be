"""The likely causes of an alert: components ranked by the damage that is their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Alert, AlertCandidate
from exporter.alerting.explanation.formatting import Unit
from exporter.alerting.explanation.registry import LIKELY_CAUSES
from exporter.alerting.explanation.why_input import LikelyCause, LikelyCausesInput
from exporter.alerting.root_cause import HORIZON, DependencyGraph
from exporter.correlation.damage import SPACING, Component, DamageHistory, Damages, PastVerdicts
from exporter.correlation.ranking import FloatArray, own_damage, ranked, reached
from exporter.correlation.settings import CauseSettings
from exporter.engine.series import Labels, SeriesTable
from exporter.engine.verdict import Verdict

__all__ = ["LikelyCauses", "Ranking", "edges_among", "rank_causes"]

BoolArray = npt.NDArray[np.bool_]
EdgeArray = npt.NDArray[np.intp]

_SHOWN = 3
_MOST = 100
"""Alerts of one slot whose causes are ranked, the first of them."""
_LEAST = 0.1
"""Share of the damage below which a component is no cause."""
_NAME = "likely_causes"


@dataclass(frozen=True, slots=True)
class Ranking:
    """Components by how likely they are the cause, the likeliest first.

    Attributes
    ----------
    order : ndarray of int, shape (n,)
    own : ndarray, shape (n,)
        The damage that is their own, by component.
    likely : ndarray of bool, shape (n,)
        Who can be named: unusual, in time, and with a good part of the damage.
    total : float
        All of it.
    """

    order: npt.NDArray[np.intp]
    own: FloatArray
    likely: BoolArray
    total: float


def rank_causes(
    damages: Damages,
    excess: FloatArray,
    work: FloatArray,
    edges: EdgeArray,
    *,
    affected: int | None,
    latest: float,
) -> Ranking:
    """Rank the components behind an alert. Arrays of shape (n,).

    Parameters
    ----------
    damages : Damages
        Who is unusual, and since when.
    excess : ndarray
        The damage, in the unit of the alert.
    work : ndarray
        How much each component does while all is well.
    edges : ndarray of int, shape (m, 2)
        Caller and callee; none where no dependency is known.
    affected : int or None
        The component that alerts.
    latest : float, Unix seconds
        Who became unusual later is no cause.
    """
    own = own_damage(excess, edges)
    inside = np.ones(len(own), np.bool_)
    if affected is not None:
        if len(edges) and (edges == affected).any():
            inside = reached(len(own), edges, affected)
        else:
            # It holds the damage of everything that it calls, and what it calls is unknown.
            inside[affected] = False
    # Onsets that cannot be known contradict nothing.
    in_time = np.where(damages.judged, damages.onset <= latest, True)
    candidate = inside & in_time & (own > 0)
    total = float(own[inside & (own > 0)].sum())
    order = ranked(own, candidate, None if len(edges) else work)
    return Ranking(order, own, candidate & damages.distinct & (own >= _LEAST * total), total)


class LikelyCauses:
    """Ranks the components behind the alerts of all queries. Each query has one writer; any thread may read.

    Parameters
    ----------
    past : callable, optional
        Returns what was decided of the rows of a query before an instant, Unix seconds; None where that is not kept.
    """

    def __init__(
        self, past: Callable[[str, Sequence[Labels | None], float], PastVerdicts | None] | None = None
    ) -> None:
        self._past = past
        self._settings: dict[str, CauseSettings] = {}
        self._histories: dict[tuple[str, tuple[str, ...], bool], DamageHistory] = {}
        self._units: Mapping[str, Unit | None] = {}
        self._edges: dict[tuple[str, ...], tuple[object, Sequence[Component], EdgeArray]] = {}

    def configure(self, settings: Iterable[CauseSettings], units: Mapping[str, Unit | None]) -> None:
        """Apply another configuration; what is still needed of the past is kept.

        Parameters
        ----------
        units : mapping
            Of the values of each query.
        """
        settings = tuple(settings)
        keys = {key for cause in settings for key in _keys(cause) if key is not None}
        self._histories = {key: self._histories.get(key) or DamageHistory(key[1], mean=key[2]) for key in sorted(keys)}
        self._settings = {alerts: cause for cause in reversed(settings) for alerts in cause.alerts}
        self._units = dict(units)

    def measures(self, query: str) -> bool:
        """Return whether causes follow from the samples of a query."""
        return any(name == query for name, *_ in self._histories)

    def update(self, query: str, verdict: Verdict, table: SeriesTable) -> None:
        """Take the verdict of a slot."""
        for (name, *_), history in self._histories.items():
            if name == query:
                if history.empty and self._past is not None:
                    self._restore(history, query, verdict.at, table)
                history.add(verdict, table)

    def _restore(self, history: DamageHistory, query: str, at: float, table: SeriesTable) -> None:
        """Go on from what an earlier process, or an earlier configuration, saw of the query."""
        labels: list[Labels | None] = [None] * table.size
        for row, each in table.items():
            labels[row] = each
        past = None if self._past is None else self._past(query, labels, at)
        if past is not None:
            history.restore(past, table)

    def explain(
        self,
        query: str,
        at: float,
        interval: float,
        alerts: Mapping[str, Alert],
        candidates: Mapping[str, AlertCandidate],
        graph: DependencyGraph,
    ) -> dict[str, AlertCandidate]:
        """Return the candidates with their likely causes, where the configuration says what measures them.

        Parameters
        ----------
        query : str
            Of a query or a group: whose alerts they are.
        at, interval : float
            The slot, Unix seconds, and the seconds between slots.
        alerts : mapping
            Before this slot.
        """
        settings = self._settings.get(query)
        if settings is None:
            return dict(candidates)
        result = dict(candidates)
        measured: dict[float, Damages] = {}
        for identity, candidate in list(candidates.items())[:_MOST]:
            alert = alerts.get(identity)
            alert = alert if alert is not None and alert.is_open else None
            began = at if candidate.since is None else min(at, candidate.since)
            began = began if alert is None else min(began, alert.active_at)
            earlier = "" if alert is None else alert.annotations.get(_NAME, "")
            source = self._input(settings, candidate.labels, began, interval, earlier, graph, measured)
            result[identity] = replace(candidate, explanation=candidate.explanation.add(LIKELY_CAUSES, source))
        return result

    def _input(
        self,
        settings: CauseSettings,
        labels: Mapping[str, str],
        began: float,
        interval: float,
        earlier: str,
        graph: DependencyGraph,
        since: dict[float, Damages],
    ) -> LikelyCausesInput:
        damage, times, work = (None if key is None else self._histories[key] for key in _keys(settings))
        # What was there before an alert of long ago is not kept: what it said then still holds.
        if damage is None or (earlier and not damage.covers(began - HORIZON)):
            return LikelyCausesInput(earlier=earlier)
        if not damage.has_since(began):
            # The query that measures the damage has not been judged since then.
            return LikelyCausesInput(earlier=earlier)
        # Many alerts of a slot began together.
        measured = since.get(began) or damage.since(began, worse=settings.worse, slack=HORIZON)
        since[began] = measured
        components = measured.components
        excess = measured.excess
        if times is not None:
            excess = excess * np.nan_to_num(_aligned(times.since(began), components, "level"))
        expected = measured.expected if work is None else _aligned(work.since(began), components, "expected")
        edges = self._edges_among(graph, settings.component, components)
        key = tuple(labels.get(name, "") for name in settings.component)
        affected = components.index(key) if key in components else None
        ranking = rank_causes(
            measured,
            excess,
            expected,
            edges,
            affected=affected,
            latest=began + max(HORIZON, 2 * interval),
        )
        likely = [place for place in ranking.order.tolist() if ranking.likely[place]][:_SHOWN]
        causes = (
            LikelyCause(
                component=" ".join(components[place]),
                own=float(ranking.own[place]),
                since=_onset(float(measured.onset[place]), began),
                affected=place == affected,
            )
            for place in likely
        )
        return LikelyCausesInput(
            causes=tuple(causes),
            total=ranking.total,
            components=len(components),
            measure=settings.damage,
            unit=None if times is not None else self._units.get(settings.damage),
            began=began,
        )

    def _edges_among(
        self, graph: DependencyGraph, labels: tuple[str, ...], components: Sequence[Component]
    ) -> EdgeArray:
        cached = self._edges.get(labels)
        if cached is None or cached[0] is not graph or cached[1] != components:
            edges = edges_among(graph.pairs(labels), components)
            # One assignment: another thread sees all of the old or all of the new.
            cached = self._edges[labels] = (graph, components, edges)
        return cached[2]


def _onset(onset: float, began: float) -> float:
    """Return when a component became unusual, Unix seconds: that is known to the spacing of the slots that are kept."""
    return began if began < onset <= began + SPACING else onset


def edges_among(pairs: Iterable[tuple[Component, Component]], components: Sequence[Component]) -> EdgeArray:
    """Return the places of callers and callees, shape (m, 2); a call through something unmeasured is a call.

    >>> edges_among([(("a",), ("proxy",)), (("proxy",), ("b",))], [("a",), ("b",)]).tolist()
    [[0, 1]]
    """
    place = {component: number for number, component in enumerate(components)}
    calls: dict[Component, list[Component]] = {}
    for caller, callee in pairs:
        calls.setdefault(caller, []).append(callee)
    edges = set()
    for caller in calls.keys() & place.keys():
        waiting, passed = list(calls[caller]), {caller}
        while waiting:
            callee = waiting.pop()
            if callee in place:
                edges.add((place[caller], place[callee]))
            elif callee not in passed:
                passed.add(callee)
                waiting += calls.get(callee, ())
    return np.array(sorted(edge for edge in edges if edge[0] != edge[1]), np.intp).reshape(-1, 2)


def _keys(settings: CauseSettings) -> tuple[tuple[str, tuple[str, ...], bool] | None, ...]:
    """Return the histories of the damage, of the requests and of the work."""
    labels = tuple(settings.component)
    damage = (settings.damage, labels, settings.times is not None)
    return (
        damage,
        None if settings.times is None else (settings.times, labels, False),
        None if settings.work is None else (settings.work, labels, False),
    )


def _aligned(damages: Damages, components: Sequence[Component], name: str) -> FloatArray:
    """Return an array of the damages of other components, in the order of `components`."""
    values: FloatArray = getattr(damages, name)
    if damages.components == components:
        return values
    place = {component: number for number, component in enumerate(damages.components)}
    rows = np.array([place.get(component, len(values)) for component in components], np.intp)
    aligned: FloatArray = np.append(values, np.nan)[rows]
    return aligned
