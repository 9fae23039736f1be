"""From the load of entities to the alerts that it holds: those of the rows of the queries of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.correlation.loads import MemberRows
from exporter.engine.multivariate import GroupVerdict

__all__ = ["AlertsUnderLoad", "alerts_under_load", "member_rows"]

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AlertsUnderLoad:
    """Which alerts of entities and their metrics a load holds.

    Attributes
    ----------
    held, suspected : ndarray of bool, shape (n, p)
        Metrics; see `MemberLoad`.
    replaced : ndarray of bool, shape (n,)
        Entities whose own alert is held, because what fails under the load has the alert of its query.
    """

    held: BoolArray
    suspected: BoolArray
    replaced: BoolArray


def alerts_under_load(verdict: GroupVerdict, alerting: BoolArray, *, group_alerts: bool) -> AlertsUnderLoad:
    """Return which alerts are held.

    Where a metric fails under a load and no alert would say so, nothing is held.

    Parameters
    ----------
    alerting : ndarray of bool, shape (p,)
        Whether the queries alert.
    group_alerts : bool
        Whether the group does.
    """
    members = verdict.members
    replaced: BoolArray = np.any(members.failing & alerting, axis=1)
    silent = members.failing.any(axis=1) & ~replaced & ~(verdict.anomalous & group_alerts)
    spoken = ~silent[:, None]
    return AlertsUnderLoad(members.held & spoken, members.suspected & spoken, replaced)


def member_rows(
    at: float, load: AlertsUnderLoad, queries: Sequence[str], places: Sequence[npt.NDArray[np.intp]]
) -> dict[str, MemberRows]:
    """Return what is held by the rows of each query.

    Parameters
    ----------
    at : float, Unix seconds
    queries : sequence of str, length p
    places : sequence of ndarray of intp, length p
        The row of the entity of every row of each query; -1 where it belongs to none.
    """
    rows = {}
    for metric, (query, place) in enumerate(zip(queries, places, strict=True)):
        member = place >= 0
        held, suspected = (member & part[place, metric] for part in (load.held, load.suspected))
        rows[query] = MemberRows(at, member, held, suspected)
    return rows
