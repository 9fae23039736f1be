"""Rows that climbed to where they are while more was expected of them: they do not alert, as a jump does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.alerting.label_index import Hashes
from exporter.engine.row_details import RowDetails
from exporter.engine.shape import explained_by_load
from exporter.engine.verdict import Verdict
from exporter.evaluation.slot_result import SlotResult

__all__ = ["Climbs", "climbs_of", "with_climbs"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Climbs:
    """Rows that are anomalous and do not alert.

    Attributes
    ----------
    expected, under_load : ndarray of bool, shape (size,)
        By an event with `action: expect`, and by a load of their group.
    hashes : ndarray of uint64
        Of their series.
    """

    expected: BoolArray
    under_load: BoolArray
    hashes: Hashes


def climbs_of(
    verdict: Verdict,
    multiple: FloatArray | None,
    load: FloatArray | None,
    details: Callable[[npt.NDArray[np.intp]], RowDetails],
    before: Callable[[], tuple[Hashes, Hashes]],
) -> Climbs | None:
    """Return the rows that climbed within what an event or a load accounts for; None where there is neither.

    A series that has climbed is quiet for as long as it is anomalous, does not jump, and is at most as many times above
    the band of the event, or above what the load makes of its band, as these are above the ordinary band.

    Parameters
    ----------
    multiple, load : ndarray, shape (size,), optional
        Of the ordinary value that is expected, and the factor of the load of the group; above 1.
    details : callable
        Returns what is known of anomalous rows, shape (m,), ascending.
    before : callable
        Returns the hashes of the series that climbed by the slot before, and those of all rows.
    """
    size = len(verdict.observed)
    unchanged = np.ones(size)
    multiple = unchanged if multiple is None else np.fmax(multiple, 1.0)
    load = unchanged if load is None else np.fmax(load, 1.0)
    if not ((multiple > 1.0) | (load > 1.0)).any():
        return None
    observed, expected, upper = verdict.observed, verdict.expected, verdict.upper
    with np.errstate(invalid="ignore"):
        above = verdict.anomalous & verdict.ready & (expected >= 0.0) & (observed > expected)
        # The upper edge is that of the event.
        by_event = above & (multiple > 1.0) & (observed <= multiple * upper)
        by_load = above & explained_by_load(observed, expected, upper, load)
    rows = np.flatnonzero(by_event | by_load)
    if not len(rows):
        return None
    slowly, suddenly = details(rows).climbs((upper / multiple - expected)[rows])
    earlier, hashes = before()
    rows = rows[(slowly | np.isin(hashes[rows], earlier)) & ~suddenly]
    quiet = np.zeros(size, np.bool_)
    quiet[rows] = True
    return Climbs(quiet & by_event & ~by_load, quiet & by_load, hashes[rows])


def with_climbs(slot: SlotResult, climbs: Climbs | None) -> SlotResult:
    """Return the result of a slot in which the rows that climbed do not alert."""
    if climbs is None:
        return slot
    held = climbs.under_load if slot.held is None else slot.held | climbs.under_load
    waiting = np.zeros(len(held), np.bool_) if slot.waiting is None else slot.waiting
    return replace(slot, held=held, waiting=waiting, expected=climbs.expected, climbed=climbs.hashes)
