"""From the load of entities to the alerts that it holds: those of the rows of the queries of a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exporter.correlation.loads import MemberRows
from exporter.engine.multivariate import AlertsUnderLoad

__all__ = ["member_rows"]


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
        rows[query] = MemberRows(at, member, held, suspected, np.where(member, load.factor[place], np.nan))
    return rows
