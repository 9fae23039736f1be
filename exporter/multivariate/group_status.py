"""The newest verdict of groups for the pages: the worst of their entities, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from exporter.engine.multivariate import GroupVerdict
from exporter.engine.series import Labels, SeriesTable

__all__ = ["WORST", "EntityStatus", "GroupStatus", "status_of"]

WORST = 20
"""Entities of a group that are shown."""


@dataclass(frozen=True, slots=True)
class EntityStatus:
    """One entity of a group.

    Attributes
    ----------
    shares : tuple of (str, float)
        Part of each query's metric in the score, 0 to 1, the largest first.
    load : float
        The factor by which all metrics are up, where that is why the entity is not anomalous; else NaN.
    """

    labels: Labels
    score: float
    shares: tuple[tuple[str, float], ...]
    load: float


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """The newest verdict of one group. Never changed.

    Attributes
    ----------
    at : float, Unix seconds
    scored, anomalous : int
        How many entities have a score, and a score of at least 0.5.
    worst : tuple of EntityStatus
        The highest scores first.
    """

    group: str
    at: float
    scored: int
    anomalous: int
    worst: tuple[EntityStatus, ...]


def status_of(group: str, queries: Sequence[str], verdict: GroupVerdict, table: SeriesTable) -> GroupStatus:
    """Return the status of a verdict; called by the evaluator of the group, which alone changes `table`."""
    scored = np.flatnonzero(~np.isnan(verdict.score))
    worst = scored[np.argsort(-verdict.score[scored], kind="stable")[:WORST]].tolist()
    entities = []
    for row in worst:
        if table.in_use(row):
            shares = sorted(zip(queries, verdict.share[row].tolist(), strict=True), key=lambda pair: -pair[1])
            score, load = float(verdict.score[row]), float(verdict.load[row])
            entities.append(EntityStatus(table.labels(row), score, tuple(shares), load))
    return GroupStatus(group, verdict.at, len(scored), int(np.count_nonzero(verdict.anomalous)), tuple(entities))
