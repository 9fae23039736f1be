"""Index of the loads that groups recognise: which series are anomalous by one, so their alerts are held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["LOAD", "Loads", "MemberRows", "RowLoads"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
Value = TypeVar("Value", bound=np.generic)

LOAD = "load"
"""The reason for which alerts are held."""
_PATIENCE = 3.0
"""Intervals of a group after which its next slot is not waited for, and a load that it saw is over."""
_FIRST = 300.0
"""Seconds after a start for which its queries wait for its first slot: it begins when they have read their history."""


@dataclass(frozen=True, slots=True)
class MemberRows:
    """What the newest slot of one group says of the series of one of its queries. Never changed.

    Attributes
    ----------
    at : float, Unix seconds
        The slot.
    member : ndarray of bool, shape (size,)
        Rows of the query that belong to an entity of the group.
    held, suspected : ndarray of bool, shape (size,)
        Rows that are up because of a load, and rows that may be.
    factor : ndarray, shape (size,), optional
        By which the metrics of the entity of each row are up together; NaN: there is no load. None: nowhere.
    begun : bool
        False: the group has judged no slot so far, and `at` is the start.
    """

    at: float
    member: BoolArray
    held: BoolArray
    suspected: BoolArray
    factor: FloatArray | None = None
    begun: bool = True


@dataclass(frozen=True, slots=True)
class RowLoads:
    """What all groups say of the series of one query; arrays by its rows.

    Attributes
    ----------
    held : ndarray of bool
        Rows whose alerts are held, and end where they fire.
    suspected : ndarray of bool
        Rows whose alerts do not begin to fire now.
    judged : ndarray of float, Unix seconds
        The newest slot of the groups of each row; inf where there is none. What began later may prove to be a load.
    interval : float, seconds
        Of the slowest group; inf where one has not begun.
    factor : ndarray of float, optional
        Of the largest load that each row is under; NaN: there is none. None: nowhere.
    """

    held: BoolArray
    suspected: BoolArray
    judged: FloatArray
    interval: float
    factor: FloatArray | None = None

    def unsettled(self, since: FloatArray, for_: float) -> BoolArray:
        """Return the rows that are anomalous since a time that their groups have not judged.

        None, where alerts wait for so long anyway that groups have judged by then.

        Parameters
        ----------
        since : ndarray, shape (size,), Unix seconds
            NaN where a row is not anomalous.
        for_ : float, seconds
            How long rows are anomalous before they alert.
        """
        return since > self.judged if for_ < self.interval else np.zeros(len(since), np.bool_)


class Loads:
    """The newest rows of all groups. Each group has one writer; any thread may read."""

    def __init__(self) -> None:
        self._intervals: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._rows: dict[str, dict[str, MemberRows]] = {}

    def configure(self, groups: Mapping[str, tuple[float, Iterable[str]]], at: float) -> None:
        """Apply another configuration.

        Parameters
        ----------
        groups : mapping
            The interval in seconds and the queries of each group.
        at : float, Unix seconds
            Now: until the first slot of a new group its queries wait for it.
        """
        self._begun = {name: self._begun.get(name, at) for name in groups}
        self._rows = {
            name: {query: self._rows.get(name, {}).get(query, _nothing(self._begun[name])) for query in queries}
            for name, (_, queries) in groups.items()
        }
        self._intervals = {name: interval for name, (interval, _) in groups.items()}

    def update(self, group: str, rows: Mapping[str, MemberRows]) -> None:
        """Take the newest slot of a group: its rows by query."""
        if group in self._rows:
            self._rows[group] = {**self._rows[group], **rows}

    def of(self, query: str, at: float, size: int) -> RowLoads | None:
        """Return what groups say of the rows of a query, `size` in all, at `at`, Unix seconds; None without a group."""
        loads: RowLoads | None = None
        for name, queries in list(self._rows.items()):
            interval = self._intervals.get(name, 0.0)
            rows = queries.get(query)
            if rows is None or at - rows.at > (_PATIENCE * interval if rows.begun else _FIRST):
                continue
            if loads is None:
                held, suspected = np.zeros((2, size), np.bool_)
                loads = RowLoads(held, suspected, np.full(size, np.inf), 0.0, np.full(size, np.nan))
            held, suspected = (_to(size, part, False) for part in (rows.held, rows.suspected))
            # A row that is new to the group may be a member.
            judged = np.where(_to(size, rows.member, True), rows.at, np.inf)
            loads = replace(
                loads,
                held=loads.held | held,
                suspected=loads.suspected | suspected,
                judged=np.minimum(loads.judged, judged),
                interval=max(loads.interval, interval if rows.begun else np.inf),
                factor=loads.factor
                if rows.factor is None or loads.factor is None
                else np.fmax(loads.factor, _to(size, rows.factor, np.nan)),
            )
        return loads


def _nothing(at: float) -> MemberRows:
    none = np.zeros(0, np.bool_)
    return MemberRows(at, none, none, none, begun=False)


def _to(size: int, values: npt.NDArray[Value], rest: bool | float) -> npt.NDArray[Value]:
    """Return values of `size` rows; those that are missing at the end are `rest`."""
    fitted = np.full(size, rest, values.dtype)
    fitted[: len(values)] = values[:size]
    return fitted
