"""Slow leaks and drifts: a cumulative sum of hourly deviations, each of which is fine by itself."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from exporter.engine.detectors.base import DetectorResult, Params, SampleBatch
from exporter.engine.detectors.columns import Array, Column, Columns
from exporter.engine.detectors.ordered import add_to

__all__ = ["Collective", "CollectiveMemory"]

HOUR = 3600.0
SETTLED = 72
"""Hours that are compared with their own hour of the week before sums begin: so the usual deviation is known."""
CLIP = 3.0
"""Deviations of one hour count at most this many times the usual one: a single jump is for other detectors."""
RATE = 1.0 / 72.0
"""Part of a new hour in the usual size of a deviation, and in the offset that accepts a new level within days."""
NORMAL = 1.25
"""Standard deviation in mean absolute deviations, for a normal distribution."""
MARGIN = 1.5
"""A series that wanders by habit must wander so much further than ever before."""
FADE = 0.9995
"""What is left after an hour of the longest way that was ever wandered: half after two months."""
SEVERITY_MAX = 1.0
"""A sum grows with time, so beyond the threshold it says how long a drift goes on, not how bad it is. It must not
hide what other detectors see meanwhile."""
_SUM_MAX = 3.0
"""Sums end at so many limits, so that the end of a leak is seen within hours."""
_NEVER = np.iinfo(np.int32).min


class Collective(Params):
    """Sum of the deviations of hourly means from what is usual at that hour, upward and downward.

    Catches what is never far from usual and always on the same side: a leak over a day or longer. The usual mean
    is that of the baseline. Deviations are measured in their own usual size, so noise that is correlated over
    hours is not mistaken for a drift; less an allowance they are summed (a CUSUM [1]_), and a lasting
    new level is accepted within days.

    Blind to a single sample, to drifts shorter than half a day, and to those slower than the baseline learns;
    cannot say before the baseline knows the hours of the week (two weeks) and three days have been compared with
    them. After a large drift has ended it goes on for hours, and may then see one the other way for up to three
    days, until what was accepted of the new level is taken back. Severity is never more than 1.0.

    Parameters
    ----------
    limit : float > 0, usual deviations
        Severity is 1.0 where the sum reaches this, or half as much again as it ever did before.
    allowance : float >= 0, usual deviations
        What an hour may deviate without being counted.

    References
    ----------
    .. [1] E. S. Page (1954), Continuous Inspection Schemes. Biometrika 41(1/2).
    """

    interval: ClassVar[bool] = False
    single: ClassVar[bool] = False
    warm_up: ClassVar[float] = 17 * 24 * HOUR

    kind: Literal["collective"] = Field("collective", description="Slow leaks: deviations that add up over hours.")
    limit: float = Field(10.0, gt=0, le=1000, allow_inf_nan=False, description="Sum of hourly deviations.")
    allowance: float = Field(1.0, ge=0, le=10, allow_inf_nan=False, description="What of each is not counted.")

    def judge(self, moment: SampleBatch) -> DetectorResult:
        """Judge without any past, where nothing can be said."""
        return _judgement(moment, np.full((2, moment.sample.shape[1]), np.nan))

    def memory(self) -> CollectiveMemory:
        """Return an empty memory; see `StatefulDetector`."""
        return CollectiveMemory(self)


LAYOUT = {
    "open": Column((), np.int32, _NEVER),  # Number of the hour that is going on, local time.
    "usual": Column((), np.float32, np.nan),  # What the baseline said of it when it began; baseline units.
    "sum": Column((), np.float64),  # Of its samples.
    "count": Column((), np.int32),
    "hours": Column((), np.int32),  # That have ended, and were compared.
    "size": Column((), np.float32),  # Usual size of a deviation; baseline units.
    "offset": Column((), np.float32),  # Deviation that is accepted as the new level; baseline units.
    "above": Column((), np.float32),  # The two sums, in usual deviations.
    "below": Column((), np.float32),
    "way": Column((), np.float32),  # The largest sum of the excursion that is going on.
    "longest": Column((), np.float32),  # And of those that have ended.
}


class CollectiveMemory:
    """The sums of every series; see `DetectorState`."""

    def __init__(self, params: Collective) -> None:
        self.params = params
        self._columns = Columns(LAYOUT)

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        self._columns.grow(capacity)

    def forget(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew for `rows`."""
        self._columns.forget(rows)

    def arrays(self) -> dict[str, Array]:
        """Return all of the state, by name."""
        return self._columns.all()

    def judge(self, moment: SampleBatch, rows: slice) -> DetectorResult:
        """Judge samples of `rows`; all of a moment lie in one hour, and what ended an hour decides."""
        state = self._columns.of(rows)
        hour = int(moment.times[0] // HOUR)
        if hour != int(state["open"].max()):
            self._end_hour(state)
            state["open"][...] = hour
        # The baseline learns within the hour; it is to be compared with what was known before.
        began = state["count"] == 0
        usual = moment.stats.mean
        if moment.stats.fine is not None:
            # Against a coarser bucket every weekend would be a drift.
            usual = np.where(moment.stats.fine, usual, np.nan)
        state["usual"][...] = np.where(began, usual, state["usual"])
        if not moment.passing:
            add_to(state["sum"], np.where(moment.usable, moment.sample, 0.0))
            state["count"] += moment.usable.sum(axis=0)
        limit = np.maximum(self.params.limit, MARGIN * state["longest"])
        known = state["hours"] >= SETTLED
        severity = np.minimum(np.stack([state["above"], state["below"]]) / limit, SEVERITY_MAX)
        return _judgement(moment, np.where(known, severity, np.nan))

    def close(self, rows: slice) -> None:
        """Learn nothing: what a block was is in the hour."""

    def accept(self, rows: npt.NDArray[np.intp], by: npt.NDArray[np.float64]) -> None:  # noqa: ARG002
        """Let the sums begin anew: they were about the old level."""
        state = self._columns.all()
        for name in ("sum", "count", "offset", "above", "below", "way"):
            state[name][rows] = 0

    def relearn(self, rows: npt.NDArray[np.intp]) -> None:
        """Begin anew: how far a series usually is from its baseline was about the old one, too."""
        self.forget(rows)

    def _end_hour(self, state: dict[str, Array]) -> None:
        """Add the deviation of the hour that has ended to the sums; nothing changes where it had no sample."""
        limit = self.params.limit
        mean = state["sum"] / np.maximum(state["count"], 1)
        deviation = mean - state["usual"] - state["offset"]
        known = (state["count"] > 0) & np.isfinite(deviation)
        deviation = np.where(known, deviation, 0.0)
        size, hours = state["size"], state["hours"]
        reach = CLIP * size

        usual = NORMAL * size.astype(np.float64)
        counted = np.where(usual > 0.0, np.clip(deviation / np.where(usual > 0.0, usual, 1.0), -CLIP, CLIP), 0.0)
        begun = known & (hours >= SETTLED)
        for name, toward in (("above", counted), ("below", -counted)):
            total = np.clip(state[name] + toward - self.params.allowance, 0.0, _SUM_MAX * limit)
            state[name][...] = np.where(begun, total, state[name])
        farther = np.maximum(state["above"], state["below"])
        ended = farther <= 0.0
        way = np.maximum(state["way"], farther)
        state["longest"][...] = np.where(ended, np.maximum(state["longest"], way), state["longest"]) * FADE
        state["way"][...] = np.where(ended, 0.0, way)

        # The first day is learned as it is. After that an hour far from usual counts as far and no more: else one
        # spike would move the offset, and the hours after it would seem to drift the other way. While a drift is
        # suspected the size is left alone, or the drift would make itself usual.
        clipped = np.where(hours > 24, np.clip(deviation, -reach, reach), deviation)
        suspected = farther >= 0.5 * np.maximum(limit, MARGIN * state["longest"])
        rate = np.maximum(RATE, 1.0 / (hours + 1.0))
        learned = known & ~suspected
        state["offset"] += np.where(known, RATE * clipped, 0.0)
        size += np.where(learned, rate * (np.abs(clipped) - size), 0.0)
        hours += known
        state["sum"][...], state["count"][...] = 0.0, 0


def _judgement(moment: SampleBatch, severity: npt.NDArray[np.float64]) -> DetectorResult:
    """Return severities of above and below, shape (2, n), for every sample that is there."""
    nothing = np.full(moment.sample.shape[1], np.nan)
    above, below = np.where(np.isnan(moment.sample), np.nan, severity[:, None])
    return DetectorResult(above, below, nothing, nothing, nothing)
