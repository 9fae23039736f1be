"""What explanations say of some rows beside their verdict: plain arrays, so that they can come from another process."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from exporter.engine.baseline import BucketSummary
from exporter.engine.shape import BoolArray, Shape, climbs, shape_of
from exporter.engine.shift import Shift

__all__ = ["RowDetails"]

FloatArray = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class RowDetails:
    """The state of some rows after a verdict, source units.

    Attributes
    ----------
    rows : ndarray of intp, shape (m,), ascending
    week : int
        The hour of the week, 0 to 167.
    summary : BucketSummary
        Statistics of this time of the week; arrays of shape (m,).
    shift : ndarray, shape (3, m)
        Level before, level after, and the seconds since a shift under way began; NaN: there is none.
    deviations, values, hours : ndarray, shape (k, m)
        Recent samples less what was expected, the samples, and the means of recent hours; oldest first.
    level : ndarray, shape (m,)
        The level that a drift is measured from.
    """

    rows: Rows
    week: int
    summary: BucketSummary
    shift: FloatArray
    deviations: FloatArray
    values: FloatArray
    hours: FloatArray
    level: FloatArray

    def place(self, row: int) -> int:
        """Return where a row is; KeyError where it is not."""
        place = int(np.searchsorted(self.rows, row))
        if place == len(self.rows) or self.rows[place] != row:
            raise KeyError(row)
        return place

    def only(self, rows: Rows) -> RowDetails:
        """Return those of fewer rows, shape (k,), ascending."""
        places = np.array([self.place(row) for row in rows.tolist()], np.intp)
        columns = {name: getattr(self, name)[..., places] for name in ("shift", "deviations", "values", "hours")}
        summary = BucketSummary(*(getattr(self.summary, field.name)[places] for field in fields(BucketSummary)))
        return RowDetails(rows, self.week, summary, level=self.level[places], **columns)

    def shift_of(self, row: int) -> Shift | None:
        """Return where the level of a series has gone, or None where it is inside its band.

        "Moved from `before` to `after`, `seconds` ago": what an alert says while the shift is not accepted.
        """
        before, after, seconds = self.shift[:, self.place(row)].tolist()
        return None if np.isnan(seconds) else Shift(row, before, after, seconds)

    def climbs(self, halves: FloatArray) -> tuple[BoolArray, BoolArray]:
        """Return which rows have left their band upward sample by sample, and which by a jump; both of shape (m,).

        Parameters
        ----------
        halves : ndarray, shape (m,)
            The upper half of the width of the band; NaN: neither.
        """
        with np.errstate(all="ignore"):
            return climbs(np.where(halves > 0.0, self.deviations / halves, np.nan))

    def shape_of(self, row: int, half: float, *, adds_up: bool) -> tuple[Shape, float] | None:
        """Return the shape of an anomaly and the level that a drift is measured from, or None where it is not known.

        Parameters
        ----------
        half : float
            Half the width of the band.
        adds_up : bool
            Whether a detector of sums calls it anomalous.
        """
        place = self.place(row)
        deviations, hours = self.deviations[:, place] / half, self.hours[:, place] / half
        shape = shape_of(deviations, self.values[:, place], hours, adds_up=adds_up)
        return None if shape is None else (shape, float(self.level[place]))
