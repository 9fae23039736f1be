"""Slots of a query that were scored together, until alerts follow from them in the order of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from exporter.backtest.past_answers import PastAnswers
from exporter.engine.calibration import Calibration
from exporter.engine.row_details import RowDetails
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Aligned, Verdicts
from exporter.evaluation.scored_slot import ScoredSlot

__all__ = ["ScoredSpan", "no_details"]


def no_details(rows: npt.NDArray[np.intp]) -> RowDetails:
    """Raise KeyError: there are no details of these rows."""
    raise KeyError(f"none of these rows was anomalous: {rows}")


@dataclass(slots=True)
class ScoredSpan:
    """Slots that were scored in one call of the engine, or one that was scored alone.

    Its slots have nearly everything in common but their verdicts. They are made one by one, and only where something
    can follow from them.

    Attributes
    ----------
    last : ScoredSlot
        The last slot.
    answers : PastAnswers, optional
        Of all slots; whoever gave them to a worker has them, so it does not send them back.
    expired : sequence of int
        Rows that end with the last slot.
    capacity, row_bytes : int
        What its engine took up then; see `Engine`.
    verdicts : Verdicts, optional
        Of all slots; None where there is one.
    repeated : sequence of int
        Label sets that came twice, by slot.
    before : Calibration
        That of the slots before the last.
    first_score_at : mapping
        By slot, where it is not NaN.
    quiet : sequence of bool
        Slots without an anomalous row and without a remark of the server; never the last one of several, so that what
        the newest slot says is seen once in each of these spans.
    """

    last: ScoredSlot
    answers: PastAnswers | None
    expired: Sequence[int]
    capacity: int
    row_bytes: int
    verdicts: Verdicts | None = None
    repeated: Sequence[int] = ()
    before: Calibration = field(default_factory=Calibration)
    first_score_at: Mapping[int, float] = field(default_factory=dict)
    quiet: Sequence[bool] = (False,)

    def __len__(self) -> int:
        return len(self.quiet)

    @property
    def table(self) -> SeriesTable:
        """The series of its rows."""
        return self.last.table

    def slot(self, number: int) -> ScoredSlot:
        """Return one of the slots."""
        if self.verdicts is None or self.answers is None or number == len(self) - 1:
            return self.last
        verdict = self.verdicts[number]
        details = (self.verdicts.details or {}).get(number)
        return replace(
            self.last,
            frame=self.answers.frame(number),
            verdict=verdict,
            aligned=Aligned(verdict.observed, (), 0, self.repeated[number]),
            details=no_details if details is None else details.only,
            first_score_at=self.first_score_at.get(number, np.nan),
            calibration=self.before,
        )
