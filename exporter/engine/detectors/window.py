"""Small deviations that last: means of a few samples, each of which is normal by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exporter.engine.columns import Array, Column
from exporter.engine.constants import NAN, ZERO, single
from exporter.engine.detectors.base import (
    DetectorResult,
    FloatArray,
    LearningSteps,
    ReasonContext,
    Residual,
    Rows,
    SampleBatch,
    State,
    StatefulDetector,
    severity_result,
)
from exporter.engine.limits import Limit, SignalLimits, limit_columns
from exporter.engine.ordered import clip, rolling_sum, sum_with
from exporter.engine.recurrence import MARKS, DailyMarks
from exporter.engine.seconds import DAY

__all__ = ["Window"]

WIDTHS = (3, 12)
"""Samples whose mean is judged."""
SEVERITY_MAX = 1.0
"""A mean grows with time, so beyond the limit it says how long a deviation lasts, not how bad it is."""
FINE, COARSE = 150.0, 900.0
"""Seconds between samples below and beyond which there is no result: means of a few minutes say what single samples do,
and twelve samples farther apart are a part of the day."""
BEFORE = 12
"""Samples before them whose mean is compared."""
LEAST = single(1.75)
AWAY = single(2.0)
"""Standard deviations of the noise that the mean itself must be away, however many samples it is of."""
CLIP = single(4.0)
"""Standard deviations of the noise that a residual counts as at most: one spike is no deviation that lasts."""
LAST = single(2.0)
"""A mean counts at most as this many times the newest residual: what is over ends, though the mean is still off."""
_SCALE = (np.sqrt(np.maximum(np.arange(max(WIDTHS) + 1), 1)) / 3.0).astype(np.float32)
"""Thirds of the standard deviation of a mean, by the number of samples."""
RULES = (Limit(least=float(LEAST), quarter=0.0, tenth=3.2, share=0.0, days=0.6, beyond=1.6),)


class Window(StatefulDetector):
    """Mean of the last 3 and of the last 12 residuals, in three of its own standard deviations.

    Severity follows from the smaller of the mean and of its difference to the mean of the twelve samples before, so
    what has lasted for hours does not count. Detects half of three deviations within the hour. The limit is learned
    from the means of the series (`exporter.engine.limits`): where noise is correlated it is large.

    Blind to single samples and to what comes slowly. Cannot say in the first week, and not of samples that are minutes
    or an hour apart.

    Parameters
    ----------
    limit : float > 0
        Severity is 1.0 at so many times the limit of the series.
    """

    interval: ClassVar[bool] = False
    single: ClassVar[bool] = False
    warm_up: ClassVar[float] = 8 * DAY

    kind: Literal["window"] = Field("window", description="Small deviations that last for 3 or 12 samples.")
    limit: float = Field(1.0, gt=0, le=100, allow_inf_nan=False, description="Factor of the limit of the series.")

    layout: ClassVar[Mapping[str, Column]] = limit_columns(RULES) | MARKS

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series, and note them."""
        residual = batch.residual
        if residual is None or not FINE <= residual.step <= COARSE:
            return severity_result(batch, *np.full((2, *batch.sample.shape), np.nan))
        state, usable, steps = batch.state, batch.usable, batch.steps
        signed = self._means(residual, steps)
        sizes = np.maximum.reduce(np.abs(signed))[None]
        signed = np.where(np.abs(signed[0]) >= np.abs(signed[1]), signed[0], signed[1])
        limit = state["limit"] * np.float32(self.limit)
        severity = np.where(np.isnan(limit), NAN, sizes[0] / limit)
        SignalLimits(state, RULES).note(batch.times, sizes, usable, (severity >= 1.0) & usable, steps)
        marks = DailyMarks(state, int(batch.times[0] // 3600.0))
        often = marks.often()
        marks.note(np.any((severity >= 1.0) & usable, axis=0))
        severity = np.where(often, ZERO * severity, severity)
        above = np.where(signed > 0.0, severity, 0.0 * severity)
        below = np.where(signed < 0.0, severity, 0.0 * severity)
        two = np.minimum(np.array((above, below)).astype(np.float64), SEVERITY_MAX)
        return severity_result(batch, *np.where(usable, two, np.where(np.isnan(limit[0]), np.nan, 0.0)))

    @staticmethod
    def _means(residual: Residual, steps: LearningSteps) -> Array:
        """Return the smaller of mean and difference of both widths, with its sign, shape (2, t, n)."""
        spread, most = residual.spread, CLIP * residual.spread
        before, own = clip(residual.before, -most, most), clip(residual.own, -most, most)
        signed = np.empty((len(WIDTHS), *own.shape), np.float32)
        moved = (before[1:] != before[:-1]).view(np.uint8)
        end = len(before) - steps.most  # Where those before the first instant end.
        moves = own != steps.at_each(before, end - 1)
        for index, width in enumerate(WIDTHS):
            start = end - width + 1
            now = sum_with(before[start:], own, width, steps.at_each) * np.float32(1.0 / width)
            old = rolling_sum(before[start - BEFORE : start + steps.most], BEFORE) * np.float32(1.0 / BEFORE)
            old = steps.at_each(old)
            many = steps.at_each(rolling_sum(moved[start - 1 : end - 1 + steps.most], width - 1)) + moves
            now = _while_it_lasts(now, own)
            change = now - np.where(np.isnan(old), ZERO, old)
            # A value that repeats is one sample, however often it is read.
            scale = _SCALE[many]
            size = np.minimum(np.minimum(np.abs(now), np.abs(change)) * scale, np.abs(now) / AWAY * LEAST) / spread
            size = np.fmax(size, ZERO)  # 0 / 0: a constant.
            signed[index] = np.where(now * change > 0.0, np.copysign(size, now), ZERO)
        return signed

    def reason(self, context: ReasonContext) -> str:
        """Say on which side the last samples were."""
        return f"the mean of the last samples is {context.side} the typical value of this hour"

    def learn(self, state: State, block: int) -> None:  # noqa: ARG002
        """Learn the block that has ended."""
        new = SignalLimits(state, RULES).end_block()
        if len(new):
            DailyMarks.next_day(state, new)

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:
        """Change nothing: the residuals have followed the level."""

    def relearn(self, state: State, rows: Rows) -> None:
        """Begin anew: the limits were those of deviations from the old baseline."""
        self.reset(state, rows)


def _while_it_lasts(mean: Array, last: Array) -> Array:
    """Return means that count at most as `LAST` times the newest residual, and not on its other side."""
    limited = np.copysign(np.minimum(np.abs(mean), LAST * np.abs(last)), mean)
    return np.where(mean * last > 0.0, limited, ZERO)
