"""Values far from the typical value of their hour, however often that has happened before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exporter.engine.columns import Array, Column
from exporter.engine.detectors.base import (
    CERTAIN,
    SEVERITY_MAX,
    DetectorResult,
    FloatArray,
    ReasonContext,
    Residual,
    Rows,
    SampleBatch,
    State,
    StatefulDetector,
    severity_result,
)
from exporter.engine.limits import Limit, SignalLimits, limit_columns, note_marks, recurring, shift_marks
from exporter.engine.seconds import DAY, HOUR

__all__ = ["Far"]

HOURS = 24
RULES = (
    Limit(least=1.0, quarter=4.4, tenth=1.3, share=0.66, days=0.7, beyond=1.3),
    Limit(least=0.8, quarter=4.4, tenth=1.3, share=0.66),
)
"""SignalLimits of the deviation, and of that of the logarithm. With normal noise they are the least ones."""
COARSE = 3000.0
"""Seconds between samples from which on a sample stands for an hour: there is no last hour to compare it with, and a
single one is no accident. It is far where it is far from its own hour and from the mean of all hours."""
OVERALL, OF_HOUR = np.float32(4.2), np.float32(3.2)
"""Standard deviations of all hours together, and of the noise of this hour, that are far."""
BEYOND = 1.3
"""What recurs at an hour must be this many times as far as the last times."""
HELD = 6 * HOUR
"""Seconds in which an anomaly that goes on becomes what its samples are compared with."""
SIZE_FADE = np.float16(0.93)
"""Part of the size of what recurs that is left after a day."""


class Far(StatefulDetector):
    """Distance from the typical value of this hour and from the last hour, beyond what most hours of the series reach.

    The smaller of the residual and its contrast, in three standard deviations of the noise of this hour, is divided by
    the limit of the series (`exporter.engine.limits`). Where the series is never negative the same is computed of the
    logarithm, and the smaller of both counts. An incident does not become normal because it happened before. Normal is
    only what most hours or most days reach, and what came at the same hour on three of the last four days. A single
    sample must be `alone` times as far as two in a row.

    Fails on what changes slowly. Cannot say in the first week.

    Parameters
    ----------
    limit : float > 0
        Severity is 1.0 at so many times the limit of the series.
    alone : float >= 1
        A single sample must be so many times as far as two in a row.
    """

    interval: ClassVar[bool] = False
    zero_based: ClassVar[bool] = True
    warm_up: ClassVar[float] = 8 * DAY

    kind: Literal["far"] = Field(
        "far", description="Far from the typical value of its hour, however often that has happened."
    )
    limit: float = Field(1.0, gt=0, le=100, allow_inf_nan=False, description="Factor of the limit of the series.")
    alone: float = Field(
        1.5, ge=1, le=100, allow_inf_nan=False, description="How much farther one sample must be alone."
    )

    layout: ClassVar[Mapping[str, Column]] = limit_columns(len(RULES)) | {
        "last": Column((2,), np.float32),  # How far above and below the last sample was that is learned.
        "marks": Column((HOURS,), np.uint8),  # Whether each hour of the day had a far sample; a bit a day, today is 1.
        "sizes": Column((HOURS,), np.float16),  # And how far, lately.
        "hour": Column((), np.int32, np.iinfo(np.int32).min),  # Number of the hour that goes on, local time.
        "reached": Column((), np.float32),  # How far its farthest sample was.
        "held": Column(
            (2,), np.float32, np.nan
        ),  # Residual and its logarithm in the hour before the anomaly under way.
    }

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series, and note them."""
        residual = batch.residual
        if residual is None:
            return severity_result(batch, *np.full((2, *batch.sample.shape), np.nan))
        state, usable = batch.state, batch.usable
        number = int(batch.times[0] // 3600.0)
        if number != int(state["hour"].max()):
            _end_hour(state)
            state["hour"][...] = number
        limit = state["limit"] * np.float32(self.limit)
        ready = ~np.isnan(limit[0])
        common = self._common_size(state, number % HOURS)
        value, ratio = _deviations(residual, residual.contrast, residual.ratio_contrast)
        far = _far(value, ratio, residual.positive, limit, usable & ready)
        two = _sides(value, far, common)
        if batch.score_only:
            severity = self._severity(two, np.broadcast_to(state["last"][:, None], two.shape))
        else:
            severity = self._severity(two, np.concatenate([state["last"][:, None], two[:, :-1]], axis=1))
        if (severity >= 1.0).any() or not np.isnan(state["held"][0]).all():
            far, severity = self._go_on(batch, residual, limit, common)
        elif not batch.score_only:
            state["last"][...] = two[:, -1]
        most = np.fmax.reduce(far)
        recurs = most >= (self.alone if batch.score_only else 1.0)
        if recurs.any():
            state["reached"][...] = np.where(recurs, np.maximum(state["reached"], most), state["reached"])
            note_marks(state["marks"], number % HOURS, recurs)
        sizes = np.stack([np.abs(value), np.abs(ratio)])
        if batch.score_only:
            SignalLimits(state, RULES).note_between(sizes, usable & (far >= 1.0))
        else:
            SignalLimits(state, RULES).note(batch.times, sizes, usable)
        severity = severity.astype(np.float64)
        if residual.step >= COARSE:
            severity = np.maximum(severity, self._coarse(residual, limit))
        severity = np.minimum(severity, SEVERITY_MAX)
        if not usable.all():
            beyond = np.stack([batch.sample > batch.stats.mean, batch.sample < batch.stats.mean])
            severity = np.where(usable, severity, CERTAIN * beyond)  # Not finite.
        return severity_result(batch, *np.where(ready, severity, np.nan))

    def _severity(self, two: Array, before: Array) -> Array:
        """Return the severities of samples, given how far they and the ones before them are; shapes (2, ..., n)."""
        severity: Array = np.maximum(two / np.float32(self.alone), np.minimum(two, before))
        return severity

    @staticmethod
    def _common_size(state: State, hour: int) -> Array:
        """Return how far is normal at an hour because it recurs there, at least 1; shape (n,)."""
        marks = state["marks"]
        size: Array = np.ones(marks.shape[1], np.float32)
        if (often := recurring(marks, hour)).any():
            hours = [(hour - 1) % HOURS, hour, (hour + 1) % HOURS]
            reached = np.float32(BEYOND) * np.maximum.reduce(state["sizes"][hours].astype(np.float32))
            size = np.where(often, np.maximum(reached, size), size)
        return size

    def _go_on(self, batch: SampleBatch, residual: Residual, limit: Array, common: Array) -> tuple[Array, Array]:
        """Judge samples one after the other, where anomalies begin or go on; shapes (t, n) and (2, t, n).

        An anomaly is compared with the hour before it began, or the last hour would be as far after an hour.
        """
        held, last = batch.state["held"], batch.state["last"]
        usable = batch.usable & ~np.isnan(limit[0])
        local = np.stack([residual.value - residual.contrast, residual.ratio - residual.ratio_contrast])
        far, severity = np.empty(usable.shape, np.float32), np.empty((2, *usable.shape), np.float32)
        pace = np.float32(min(residual.step / HELD, 1.0))
        for index, ok in enumerate(usable):
            calm = np.isnan(held)
            value, ratio = _deviations(
                residual,
                np.where(calm[0], residual.contrast[index], residual.value[index] - held[0]),
                np.where(calm[1], residual.ratio_contrast[index], residual.ratio[index] - held[1]),
                index,
            )
            far[index] = _far(value, ratio, residual.positive, limit, ok)
            two = _sides(value, far[index], common)
            severity[:, index] = self._severity(two, last)
            if batch.score_only:
                continue
            last[...] = two
            begins = (severity[:, index] >= 1.0).any(axis=0)
            # In the noise a sample may be near; only one that is halfway back says that it is over.
            goes_on = begins | (~np.isnan(held[0]) & ~(ok & (far[index] < 0.5)))
            level = np.where(calm, local[:, index], held)
            held[...] = np.where(goes_on, level + pace * (local[:, index] - level), np.float32(np.nan))
        return far, severity

    def _coarse(self, residual: Residual, limit: Array) -> Array:
        """Return how far coarse samples are above and below, shape (2, t, n)."""
        of_hour = np.abs(residual.value) / (OF_HOUR * residual.spread)
        of_all = np.abs(residual.overall) / OVERALL
        size = np.where(residual.value * residual.overall > 0.0, np.minimum(of_hour, of_all), np.float32(0.0))
        size = np.where(np.isnan(limit[0]), np.float32(np.nan), size / np.float32(self.limit))
        return np.stack([np.where(residual.value > 0.0, size, 0.0), np.where(residual.value < 0.0, size, 0.0)])

    def reason(self, context: ReasonContext) -> str:
        """Say on which side it is."""
        return f"far {context.side} what most hours of this series reach"

    def learn(self, state: State, block: int) -> None:  # noqa: ARG002
        """Learn the block that has ended."""
        new = SignalLimits(state, RULES).end_block()
        if len(new):
            marks = shift_marks(state["marks"], new)
            # A size is kept as long as any of the eight days has a mark.
            sizes = state["sizes"][:, new] * SIZE_FADE
            state["sizes"][:, new] = np.where(marks != 0, sizes, np.float16(0.0))

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:  # noqa: ARG002
        """End the anomaly that goes on."""
        state["last"][:, rows], state["held"][:, rows] = 0.0, np.nan

    def relearn(self, state: State, rows: Rows) -> None:
        """Begin anew: the limits were those of deviations from the old baseline."""
        self.reset(state, rows)


def _end_hour(state: State) -> None:
    """Keep how far the samples of the hour that has ended were."""
    reached = state["reached"]
    if reached.any():
        sizes = state["sizes"][int(state["hour"].max()) % HOURS]
        sizes[...] = np.maximum(sizes, np.minimum(reached, np.float32(6e4)).astype(np.float16))
        reached[...] = 0.0


def _deviations(
    residual: Residual, contrast: Array, ratio_contrast: Array, index: int | None = None
) -> tuple[Array, Array]:
    """Return how far values and their logarithms are, given their contrasts; all instants, or one."""
    which = slice(None) if index is None else index
    value = _deviation(residual.value[which], contrast, residual.spread)
    return value, _deviation(residual.ratio[which], ratio_contrast, residual.ratio_spread)


def _deviation(value: Array, contrast: Array, spread: Array) -> Array:
    """Return the smaller of both in three standard deviations of the noise, where they have one sign; else 0."""
    size = np.minimum(np.abs(value), np.abs(contrast)) / (np.float32(3.0) * spread)
    size = np.where(np.isnan(size), np.float32(0.0), size)  # 0 / 0: a constant.
    signed: Array = np.where(value * contrast > 0.0, np.copysign(size, value), np.float32(0.0))
    return signed


def _far(value: Array, ratio: Array, positive: Array, limit: Array, counts: Array) -> Array:
    """Return how far samples are beyond the limits of their series: both of value and logarithm, where this counts."""
    of_ratio = np.where(positive & ~np.isnan(ratio), np.abs(ratio) / limit[1], np.float32(np.inf))
    far = np.where(counts, np.minimum(np.abs(value) / limit[0], of_ratio), np.float32(0.0))
    return far.astype(np.float32, copy=False)


def _sides(value: Array, far: Array, common: Array) -> Array:
    """Return how far samples are above and below, shape (2, ..., n), less what is normal at this hour."""
    judged = far / common
    zero = np.float32(0.0)
    return np.stack([np.where(value > 0.0, judged, zero), np.where(value < 0.0, judged, zero)])
