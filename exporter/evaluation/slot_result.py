"""The result of a slot by row, as alerts follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Alert, AlertCandidate
from exporter.alerting.label_index import Hashes
from exporter.alerting.storm import RowStates, StormAssignment
from exporter.engine.series import SeriesTable
from exporter.suppression.sample_masks import RowMask

__all__ = ["ExplanationRequest", "SlotResult", "masked", "silent_alerts", "without_load"]

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ExplanationRequest:
    """An anomalous row to explain, or one that was.

    Attributes
    ----------
    since : float or None, Unix seconds
        Since when it is anomalous, where the alert of the row does not know.
    in_storm : bool
        It represents a storm, so other series of its query are no news.
    recovered : bool
        It is normal again, and its alert is over.
    """

    row: int
    since: float | None = None
    in_storm: bool = False
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class SlotResult:
    """The result of a slot by row.

    Attributes
    ----------
    score : ndarray, shape (size,)
        The higher, the worse.
    table : SeriesTable
        Of the rows.
    explain : callable
        Returns a candidate for each request, in their order; called once, with the rows that are shown.
    partial : bool
        The answer may be incomplete, so a series without a sample is not missing.
    elsewhere : callable, optional
        Returns the label sets of the answer that belong to other shards; called where an alert may be of one of them.
    held, waiting : ndarray of bool, shape (size,), optional
        Rows that are anomalous by a load, and rows of which that is not known yet.
    expected : ndarray of bool, shape (size,), optional
        Rows that climbed during an event at which more is expected of them.
    climbed : ndarray of uint64
        The hashes of the series that do not alert because they climbed, to be stored.
    """

    states: RowStates
    score: npt.NDArray[np.float64]
    table: SeriesTable
    explain: Callable[[Sequence[ExplanationRequest]], list[AlertCandidate]]
    partial: bool = False
    elsewhere: Callable[[], Sequence[bytes]] | None = None
    held: npt.NDArray[np.bool_] | None = None
    waiting: npt.NDArray[np.bool_] | None = None
    expected: npt.NDArray[np.bool_] | None = None
    climbed: Hashes = field(default_factory=lambda: np.zeros(0, np.uint64))


def without_load(
    slot: SlotResult, rows: Mapping[str, Rows], open_alerts: Mapping[str, Alert]
) -> tuple[SlotResult, set[str], set[str]]:
    """Return the slot without rows that are anomalous by a load; the alerts that it ends; and those that wait.

    Parameters
    ----------
    rows : mapping
        The rows of each open alert.
    open_alerts : mapping
        By fingerprint.
    """
    if slot.held is None or slot.waiting is None:
        return slot, set(), set()
    anomalous, quiet = slot.states.anomalous, slot.waiting.copy()
    held, waiting = set(), set()
    for identity, alert in open_alerts.items():
        members = rows[identity][anomalous[rows[identity]]]
        if len(members) and slot.held[members].all():
            held.add(identity)
        elif alert.fired_at is not None:
            quiet[members] = False
        elif len(members) and (quiet | slot.held)[members].all():
            waiting.add(identity)
    return replace(slot, states=replace(slot.states, anomalous=anomalous & ~quiet & ~slot.held)), held, waiting


def silent_alerts(slot: SlotResult, assignment: StormAssignment, rows: Mapping[str, Rows]) -> tuple[set[str], set[str]]:
    """Return the open alerts that are missing, and those whose state is unknown.

    Parameters
    ----------
    rows : mapping of str to ndarray
        Those that decide about each alert that is not anomalous.
    """
    missing, unknown = set(assignment.missing), set(assignment.unknown)
    states = slot.states
    for identity, members in rows.items():
        if not states.present[members].all() or not len(members):
            missing.add(identity)
        elif not states.scored[members].all():
            unknown.add(identity)
    return (set(), missing | unknown) if slot.partial else (missing, unknown)


def masked(mask: RowMask, slot: SlotResult) -> SlotResult:
    """Return the result of a slot under known events and silences; see docs/calendar.md."""
    ignored = mask.ignored if slot.expected is None else mask.ignored | slot.expected
    states = replace(slot.states, anomalous=slot.states.anomalous & ~ignored, silenced=mask.silenced)

    def explain(requests: Sequence[ExplanationRequest]) -> list[AlertCandidate]:
        pairs = zip(slot.explain(requests), requests, strict=True)
        return [mask.annotate(candidate, request.row) for candidate, request in pairs]

    return replace(slot, states=states, explain=explain)
