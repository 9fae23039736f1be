"""What groups said last, for those who look: the worst of their things, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.engine.multivariate import GroupVerdict
from exporter.engine.series import Labels, SeriesTable

__all__ = ["WORST", "EntityStatus", "GroupStatus", "things_said"]

WORST = 20
"""Things of a group that are shown."""


@dataclass(frozen=True, slots=True)
class EntityStatus:
    """One thing of a group.

    Attributes
    ----------
    score : float
    shares : tuple of (str, float)
        Part of each query's metric in the score, 0 to 1, the largest first.
    load : float
        The factor by which all metrics are up, where that is why the thing is not anomalous; else NaN.
    """

    labels: Labels
    score: float
    shares: tuple[tuple[str, float], ...]
    load: float


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """What one group said last. Never changed.

    Attributes
    ----------
    at : float, Unix seconds
    scored, anomalous : int
        How many things have a score, and one of at least 0.5.
    worst : tuple of Thing
        The highest scores first.
    """

    group: str
    at: float
    scored: int
    anomalous: int
    worst: tuple[EntityStatus, ...]


def things_said(group: str, queries: Sequence[str], verdict: GroupVerdict, table: SeriesTable) -> GroupStatus:
    """Return what a verdict says; called by the cycle of the group, which alone changes `table`."""
    scored = np.flatnonzero(~np.isnan(verdict.score))
    worst = scored[np.argsort(-verdict.score[scored], kind="stable")[:WORST]].tolist()
    found = []
    for row in worst:
        if table.in_use(row):
            shares = sorted(zip(queries, verdict.share[row].tolist(), strict=True), key=lambda pair: -pair[1])
            thing = EntityStatus(table.labels(row), float(verdict.score[row]), tuple(shares), float(verdict.load[row]))
            found.append(thing)
    return GroupStatus(group, verdict.at, len(scored), int(np.count_nonzero(verdict.anomalous)), tuple(found))
