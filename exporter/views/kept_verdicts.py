"""Verdicts that are kept for charts: what the evaluators hand over, and what a chart has room for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config.plan import QueryPlan
from exporter.store import ChunkHeader, KeptVerdicts, VerdictLog
from exporter.views.latest_verdicts import LatestVerdict

__all__ = ["GridVerdicts", "keep", "on_grid"]

FloatArray = npt.NDArray[np.float64]

LINES = ("observed", "expected", "lower", "upper", "score", "votes")


def keep(verdict_log: VerdictLog, newest: LatestVerdict | None) -> None:
    """Keep the newest verdict of a query for charts."""
    if newest is not None:
        plan = newest.plan
        header = ChunkHeader(plan.name, plan.identity, plan.detection.quorum, plan.interval, _names(plan))
        verdict_log.add(header, newest.names.labels, newest.verdict, newest.suppressed)


def _names(plan: QueryPlan) -> tuple[str, ...]:
    """Return a name for each detector: its kind, with a number where there are several of a kind."""
    kinds = [detector.kind for detector in plan.detection.detectors]
    count: Counter[str] = Counter()
    names = []
    for kind in kinds:
        count[kind] += 1
        names.append(kind if kinds.count(kind) == 1 else f"{kind} {count[kind]}")
    return tuple(names)


@dataclass(frozen=True, slots=True)
class GridVerdicts:
    """Verdicts on a series at the instants of a chart. Arrays of shape (t,), source units, NaN = absent.

    Attributes
    ----------
    times : Unix seconds
        Of the sample that is shown.
    lines
        `observed`, `expected`, `lower`, `upper`, `score` and `votes`.
    severities
        Of each detector, by its kind.
    present
        Whether there is a verdict.
    """

    times: FloatArray
    lines: dict[str, FloatArray]
    severities: dict[str, FloatArray]
    present: npt.NDArray[np.bool_]


def on_grid(kept: KeptVerdicts | None, grid: FloatArray, step: float) -> GridVerdicts:
    """Choose a verdict for each instant of a grid: the worst anomalous one since the instant before, else the newest.

    Parameters
    ----------
    grid : ndarray, shape (t,)
        Ascending, `step` seconds apart.
    """
    count = len(grid)
    times, present = grid.copy(), np.zeros(count, np.bool_)
    lines = {name: np.full(count, np.nan) for name in LINES}
    if kept is None:
        return GridVerdicts(times, lines, {}, present)
    # A slot belongs to the instant that follows it; a millisecond is how exact slots are.
    place = np.ceil((kept.times - grid[0] - 1e-3) / step).astype(np.intp)
    score = kept.lines["score"]
    weight = np.where(score >= 0.5, score, 0.0)
    order = np.lexsort((kept.times, weight, place))
    order = order[(place[order] >= 0) & (place[order] < count)]
    last = np.flatnonzero(np.diff(place[order], append=count + 1))
    chosen, places = order[last], place[order[last]]
    times[places], present[places] = kept.times[chosen], True
    for name, line in lines.items():
        line[places] = kept.lines[name][chosen]
    severities = {}
    for kind, severity in kept.severities.items():
        severities[kind] = np.full(count, np.nan)
        severities[kind][places] = severity[chosen]
    return GridVerdicts(times, lines, severities, present)
