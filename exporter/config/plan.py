"""What holds for one query when the file is combined: settings, grid offset, identity of its state, shard."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from exporter.alerting.explanation.formatting import Unit
from exporter.alerting.settings import AlertSettings
from exporter.correlation.canary_settings import CanarySettings
from exporter.correlation.settings import DrillDownSettings
from exporter.engine.cadence import cadence_of
from exporter.engine.forecast.settings import ForecastSettings
from exporter.engine.multivariate.settings import GroupSettings
from exporter.engine.peers.settings import PeerSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings, Direction, DriftSettings
from exporter.errors import ExporterError
from exporter.prometheus.settings import DEFAULT_SOURCE
from exporter.prometheus.shard import Shard, owner_of

__all__ = ["QueryPlan", "ShardBy", "offset_of", "offsets", "sharded", "state_identity"]

ShardBy = Literal["series", "query"]

_SCORING_ONLY = frozenset({"threshold", "multiplier", "votes", "limit", "allowance", "usual", "alone", "evidence"})
"""Detector parameters that change how a sample is scored, never what is learned."""


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """What holds for one query when everything is combined.

    Attributes
    ----------
    interval, offset, timeout : float
        Seconds; its slots are `offset` after multiples of `interval`.
    zone : str
        IANA time zone, known to exist.
    valid_range : tuple
        Lowest and highest value that can be true, in source units; None where an end is open.
    identity : str
        Changes exactly when learned state cannot be used any more.
    source : str
        The name of the server that is asked.
    shard : Shard or None
        The part of its series that belongs to this process; None: all of them.
    shard_by : "series" or "query"
        What is split between processes.
    shadow : QueryPlan or None
        The second configuration that judges the same samples: the plan that the query has once it is promoted.
    """

    name: str
    expr: str
    interval: float
    offset: float
    timeout: float
    zone: str
    direction: Direction
    min_deviation: float
    min_relative_deviation: float
    valid_range: tuple[float | None, float | None]
    baseline: BaselineSettings
    detection: DetectionSettings
    drift: DriftSettings
    alert: AlertSettings | None
    max_series: int
    identity: str
    source: str = DEFAULT_SOURCE
    unit: Unit | None = None
    shard: Shard | None = None
    shard_by: ShardBy = "series"
    drill_down: DrillDownSettings | None = None
    forecast: ForecastSettings | None = None
    peers: PeerSettings | None = None
    canary: CanarySettings | None = None
    shadow: QueryPlan | None = None

    @property
    def cadence(self) -> float:
        """Seconds between samples that are learned: the step of history, as a whole number of intervals."""
        return cadence_of(self.interval, self.baseline.backfill_step)


def offset_of(name: str, interval: float) -> float:
    """Return the offset of a query on its grid: whole milliseconds below `interval`, equal in every process."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return math.floor(int.from_bytes(digest, "big") / 2**64 * interval * 1000) / 1000


def offsets(intervals: Mapping[str, float], groups: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return the grid offset of every query.

    Queries are spread, so that they do not all start together. Queries of one group share their offset: metrics that
    are read at different times disagree whenever all of them change.

    Parameters
    ----------
    intervals : mapping of str to float
        Seconds, by query.
    groups : sequence of sequence of str
        Queries that are scored together; a query may be in several groups.

    Returns
    -------
    dict of str to float
        Seconds, below the interval of the query.
    """
    leader = _leaders(intervals, groups)
    # By the shortest interval, because slots of the longer ones are then among those of the shorter.
    shortest: dict[str, float] = {}
    for name, first in leader.items():
        shortest[first] = min(intervals[name], shortest.get(first, math.inf))
    return {name: offset_of(first, shortest[first]) for name, first in leader.items()}


def state_identity(
    expr: str,
    zone: str,
    baseline: BaselineSettings,
    cadence: float,
    detection: DetectionSettings,
    budget_basis: tuple[float, ...] | None,
    source: str | None = None,
    *,
    forecasts: bool = False,
    peers: Sequence[str] | None = None,
) -> str:
    """Hash what learned state depends on.

    Left out: the interval where samples are learned at the same cadence; when a series may alert or is forgotten; and
    how a sample is scored, because none of these changes what is learned.

    Parameters
    ----------
    budget_basis : tuple of float or None
        What the alerts that are counted for a budget depend on; None without a budget.
    source : str or None
        The server that is asked; None: the default one.
    forecasts : bool
        Whether there are any: what they are made of is read back from history.
    peers : sequence of str or None
        The labels that siblings have in common, because places among siblings are read back as well; None: nothing is
        compared with siblings.
    """
    detectors = [detector.model_dump(mode="json", exclude=set(_SCORING_ONLY)) for detector in detection.detectors]
    basis: dict[str, object] = {
        "expr": expr,
        "zone": zone,
        "window": baseline.window,
        "backfill_step": cadence,
        "detectors": sorted(detectors, key=lambda detector: json.dumps(detector, sort_keys=True)),
    }
    if budget_basis is not None:
        basis["budget"] = budget_basis
    if source is not None:
        basis["source"] = source
    if forecasts:
        basis["forecasts"] = True
    if peers is not None:
        basis["peers"] = sorted(peers)
    if baseline.holidays is not None:
        basis["holidays"] = baseline.holidays
        if baseline.bridge_days:
            basis["bridge_days"] = True
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:32]


def sharded(
    plans: tuple[QueryPlan, ...], groups: Sequence[GroupSettings], index: int, count: int
) -> tuple[QueryPlan, ...]:
    """Return the plans for process `index` of the `count` that split queries and series between them.

    A query by itself is in one process, and so are the queries of groups all of which are such. Of another query all
    processes have series; the labels that select the shard of a series are such that the members of a group meet.

    Raises
    ------
    ExporterError
        Two groups share a query and have no label in common, so their members cannot be kept together.
    """
    if count == 1:
        return plans
    whole = _whole(plans, groups)
    split = [group for group in groups if not whole.keys() >= set(group.queries)]
    together = [_Together(f"group {group.name!r}", group.by, group.queries) for group in split]
    together += [
        _Together(f"the canary of {plan.name}", plan.canary.by, (plan.name,))
        for plan in plans
        if plan.canary is not None and plan.name not in whole
    ]
    by = _shard_labels([plan.name for plan in plans], together)
    result = []
    for plan in plans:
        if plan.name in whole:
            if owner_of(whole[plan.name], count) == index:
                result.append(plan)
            continue
        # Siblings are compared where they meet; groups and canaries come first, because they cannot be judged in part.
        siblings = () if plan.peers is None else plan.peers.by
        shard = Shard(index, count, frozenset(by[plan.name] or siblings))
        shadow = None if plan.shadow is None else _in_shard(plan.shadow, shard)
        result.append(replace(_in_shard(plan, shard), shadow=shadow))
    return tuple(result)


def _in_shard(plan: QueryPlan, shard: Shard) -> QueryPlan:
    # Another shard is another set of series: those that are new here have to be learned from history.
    identity = f"{plan.identity}/{shard.index}/{shard.count}/{','.join(sorted(shard.by))}"
    return replace(plan, shard=shard, identity=identity)


def _whole(plans: Sequence[QueryPlan], groups: Sequence[GroupSettings]) -> dict[str, str]:
    """Return the queries that one process has all of, each with the name by which that process is chosen."""
    leader = _leaders([plan.name for plan in plans], [group.queries for group in groups])
    split = {leader[plan.name] for plan in plans if plan.shard_by == "series"}
    return {name: first for name, first in leader.items() if first not in split}


def _leaders(names: Iterable[str], groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return the first name of the queries that groups join each query with."""
    leader = {name: name for name in names}
    for group in groups:
        joined = {leader[name] for name in group if name in leader}
        if joined:
            first = min(joined)
            leader = {name: first if old in joined else old for name, old in leader.items()}
    return leader


@dataclass(frozen=True, slots=True)
class _Together:
    """Series that have to meet in one process: those with the same values of `by`."""

    name: str
    by: tuple[str, ...]
    queries: tuple[str, ...]


def _shard_labels(queries: Sequence[str], groups: Sequence[_Together]) -> Mapping[str, tuple[str, ...] | None]:
    """Return the labels that select the shard of each query: those that all groups over it have in common."""
    labels: dict[str, tuple[str, ...] | None] = dict.fromkeys(queries)
    for _ in groups:  # So many rounds carry a label over any chain of groups.
        for group in groups:
            restricted = [{*own} for query in group.queries if (own := labels[query]) is not None]
            common = set(group.by).intersection(*restricted)
            if not common:
                raise ExporterError(
                    f"{group.name} cannot be split into shards: it has no `by`, or shares no label with another group; "
                    "give it to one process with `shard_by: query`"
                )
            labels |= dict.fromkeys(group.queries, tuple(sorted(common)))
    return labels
