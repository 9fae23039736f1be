"""The result of a slot by row, as alerts follow from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import AlertCandidate
from exporter.alerting.storm import RowStates
from exporter.engine.series import SeriesTable
from exporter.suppression.sample_masks import RowMask

__all__ = ["ExplanationRequest", "SlotResult", "masked"]


@dataclass(frozen=True, slots=True)
class ExplanationRequest:
    """An anomalous row to explain.

    Attributes
    ----------
    since : float or None, Unix seconds
        Since when it is anomalous, where the alert of the row does not know.
    in_storm : bool
        It represents a storm, so other series of its query are no news.
    """

    row: int
    since: float | None = None
    in_storm: bool = False


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
    """

    states: RowStates
    score: npt.NDArray[np.float64]
    table: SeriesTable
    explain: Callable[[Sequence[ExplanationRequest]], list[AlertCandidate]]
    partial: bool = False


def masked(mask: RowMask, slot: SlotResult) -> SlotResult:
    """Return the result of a slot under known events and silences; see docs/calendar.md."""
    states = replace(slot.states, anomalous=slot.states.anomalous & ~mask.ignored, silenced=mask.silenced)

    def explain(requests: Sequence[ExplanationRequest]) -> list[AlertCandidate]:
        pairs = zip(slot.explain(requests), requests, strict=True)
        return [mask.annotate(candidate, request.row) for candidate, request in pairs]

    return replace(slot, states=states, explain=explain)
