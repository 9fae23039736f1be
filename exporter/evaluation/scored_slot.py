"""What scoring one slot of a query gives: all that alerts, page and metrics follow from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.calibration import Calibration
from exporter.engine.engine import Engine
from exporter.engine.row_details import RowDetails
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Aligned, Verdict
from exporter.prometheus import Frame

__all__ = ["ScoredSlot"]


@dataclass(frozen=True, slots=True)
class ScoredSlot:
    """The verdict on one slot, and the engine as it was then.

    Attributes
    ----------
    frame : Frame
        The answer that was scored.
    table : SeriesTable
        The series of its rows.
    details : callable
        Returns what explanations say of anomalous rows, shape (m,), ascending; see `Engine.details`.
    given_way : sequence of int
        Rows whose series gave way to new ones, where nothing else says so.
    first_at, first_score_at : float, Unix seconds
        See `Engine.first_at` and `Engine.first_score_at`.
    elsewhere : callable, optional
        Returns the label sets of the answer that belong to other shards.
    """

    frame: Frame
    verdict: Verdict
    aligned: Aligned
    table: SeriesTable
    details: Callable[[npt.NDArray[np.intp]], RowDetails]
    given_way: Sequence[int]
    first_at: float
    first_score_at: float
    calibration: Calibration
    elsewhere: Callable[[], Sequence[bytes]] | None = None

    @classmethod
    def of(
        cls,
        engine: Engine,
        frame: Frame,
        aligned: Aligned,
        verdict: Verdict,
        interval: float,
        given_way: Sequence[int] = (),
        elsewhere: Callable[[], Sequence[bytes]] | None = None,
    ) -> ScoredSlot:
        """Return the result of an engine, which may not go on before it was used."""
        score_at = engine.first_score_at(verdict, interval)
        calibration = engine.calibration
        return cls(
            frame, verdict, aligned, engine.table, engine.details, given_way, engine.first_at, score_at, calibration,
            elsewhere,
        )  # fmt: skip
