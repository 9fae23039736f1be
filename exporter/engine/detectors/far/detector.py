"""Values far from the typical value of their hour, however often that has happened before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exporter.engine.columns import Array, Column
from exporter.engine.constants import NAN, UNITY, ZERO, single
from exporter.engine.detectors.base import (
    CERTAIN,
    SEVERITY_MAX,
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
from exporter.engine.detectors.far.jumps import JUMP_COLUMNS, SMOOTH, Jumps
from exporter.engine.limits import READY, Limit, SignalLimits, days_of, limit_columns
from exporter.engine.ordered import all_of, any_of, clip
from exporter.engine.recurrence import BEYOND, MARKS, SIZE_MAX, DailyMarks
from exporter.engine.seconds import DAY, HOUR

__all__ = ["Far"]

HOURS = 24
EARLY = 3
"""Days of limits from which on it judges: those of the first week are larger. What is far outside then has no other
voter but `novelty`, which knows the first incident."""
RULES = (
    Limit(
        least=1.0, quarter=5.0, tenth=1.6, share=0.677, days=0.7, beyond=1.3, white=5.2, white_share=0.317, early=EARLY
    ),
    Limit(least=0.8, quarter=4.4, tenth=1.6, share=0.66, early=EARLY),
    Limit(least=1.0, quarter=4.4, tenth=1.3, share=0.95, early=EARLY),
    Limit(least=0.8, quarter=4.4, tenth=1.3, share=0.95, early=EARLY),
)
"""Limits of the deviation and of that of the logarithm, of single samples and of two in a row: noise with wide tails
goes far in single samples, and seldom in two in a row. With normal noise they are the least ones."""
NEAR = 2.4
"""Standard deviations that what is far is away at least, but for jumps."""
PAIRS = 2
"""The first of those of two in a row."""
COARSE = 3000.0
"""Seconds between samples from which on a sample stands for an hour: there is no last hour to compare it with, and a
single one is no accident. It is far where it is far from its own hour and from the mean of all hours."""
OVERALL, OF_HOUR = single(3.6), single(3.2)
"""Standard deviations of all hours together, and of the noise of this hour, that are far."""
TOPS, TOPS_FADE = 4, np.float16(0.98)
"""Of coarse samples the farthest of the days count as well, so many of them; and what is left of each after a day."""
TOPS_BEYOND, TOPS_MOST = single(1.3), single(1.6)
"""A coarse sample must be so many times as far as the last of them, but never beyond the second: a series with wide
tails is heard less, and no incident hides the next one of its kind."""
HELD = 6 * HOUR
"""Seconds in which an anomaly that goes on becomes what its samples are compared with."""
PAIR, PAIR_WHITE = single(0.6), single(0.4)
"""The limit of two in a row is at least this part of that of single samples: what has wide tails is not believed
twice as easily. Where samples are not correlated two are never the same accident."""
WHATEVER = single(1.35)
"""Two values of a smooth series in a row so many times as far as their limit are far whatever their logarithms. Others
may be counts, whose tails are wide."""
WHITE = single(0.3)
"""Correlation from sample to sample below which any sample may be the farthest of the noise."""
HOLDS = single(0.8)
"""Share of samples that repeat the one before from which on a series holds its values."""
SIZE_FADE = np.float16(0.93)
"""Part of the size of what recurs that is left after a day."""


_SPREADS, _INFINITE = single(3.0), single(np.inf)


class Far(StatefulDetector):
    """Distance from the typical value of this hour and from the last hour, beyond what most hours of the series reach.

    The smaller of the residual and its contrast, in three standard deviations of the noise of this hour, is divided by
    the limit of the series (`exporter.engine.limits`). Where the series is never negative the same is computed of the
    logarithm, and the smaller of both counts. Single samples and two in a row have limits of their own, and a single
    one must be `alone` times as far. A value that is held is one sample, however often it is read. An incident does not
    become normal because it happened before. Normal is only what most hours or most days reach, and what came at the
    same hour on three of the last four days. Of smooth series, whose samples hardly differ from the ones before, a
    jump from the last three samples is far, too, though the value is near.

    Fails on what changes slowly. Cannot say in the first three days.

    Parameters
    ----------
    limit : float > 0
        Severity is 1.0 at so many times the limit of the series.
    alone : float >= 1
        A single sample must be so many times as far as two in a row.
    """

    interval: ClassVar[bool] = False
    zero_based: ClassVar[bool] = True
    warm_up: ClassVar[float] = 4 * DAY

    kind: Literal["far"] = Field(
        "far", description="Far from the typical value of its hour, however often that has happened."
    )
    limit: float = Field(1.0, gt=0, le=100, allow_inf_nan=False, description="Factor of the limit of the series.")
    alone: float = Field(
        1.5, ge=1, le=100, allow_inf_nan=False, description="How much farther one sample must be alone."
    )

    layout: ClassVar[Mapping[str, Column]] = (
        limit_columns(RULES)
        | MARKS
        | JUMP_COLUMNS
        | {
            "last": Column((2,), np.float32),  # How far above and below the last sample was that is learned.
            "prior": Column((2,), np.float32),  # And the one before it that was another reading.
            "before": Column((2,), np.float32),  # Its deviation, and that of its logarithm.
            "sizes": Column((HOURS,), np.float16),  # How far the marked hours were, lately,
            "hour": Column((), np.int32, np.iinfo(np.int32).min),  # Number of the hour that goes on, local time.
            "reached": Column((), np.float32),  # How far its farthest sample was.
            "tops": Column((TOPS,), np.float16),  # How far the farthest days were, of coarse samples,
            "top": Column((), np.float16),  # and the day that goes on.
            "white": Column((), np.bool_),  # Whether its samples are not correlated.
            # Residual and its logarithm in the hour before the anomaly under way.
            "held": Column((2,), np.float32, np.nan),
        }
    )

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series, and note them."""
        residual = batch.residual
        if residual is None:
            return severity_result(batch, *np.full((2, *batch.sample.shape), np.nan))
        state, usable, steps = batch.state, batch.usable, batch.steps
        number = int(batch.times[0] // 3600.0)
        if number != (before := int(state["hour"].max())):
            _end_hour(state)
            if number // HOURS != before // HOURS and residual.step >= COARSE:
                _end_day(state)
            state["hour"][...] = number
            state["white"][...] = residual.correlation < WHITE
        limit = state["limit"] * np.float32(self.limit)
        ready = ~np.isnan(limit[0])
        marks = DailyMarks(state, number)
        common = _common_size(state, marks, number % HOURS)
        both = _deviations(residual, residual.contrast, residual.ratio_contrast)
        counts = usable & ready
        far = _far(both, residual.positive, limit[PAIRS:], counts, _whatever(residual))
        alone = _sides(both[0], _far(both, residual.positive, limit[:PAIRS], counts), common)
        two = _sides(both[0], far, common)
        past = steps.past(state["before"], both, axis=1)
        earlier, prior = _earlier(state, two, _repeated(batch, residual), steps)
        severity = self._severity(alone, two, earlier)
        anomalous, under_way = np.any(severity >= 1.0, axis=(0, 2)), not all_of(np.isnan(state["held"][0]))
        if under_way or np.count_nonzero(anomalous):
            begin = 0 if under_way else int(anomalous.argmax())
            if len(calm := np.flatnonzero(steps.flags[:begin])):
                state["last"][...], state["prior"][...] = two[:, int(calm[-1])], earlier[:, int(calm[-1])]
            self._go_on(batch, residual, limit, common, begin, far, severity)
        elif steps.count:
            state["last"][...], state["prior"][...] = two[:, steps.last], prior
        # A single sample between two that are learned must be as far as one alone, to be what recurs.
        least = np.where(steps.flags, UNITY, np.float32(self.alone))[:, None]
        most = np.fmax.reduce(np.where(far >= least, far, ZERO))
        recurs = most > 0.0
        if any_of(recurs):
            state["reached"][...] = np.maximum(state["reached"], most)
            marks.note(recurs)
        pairs = np.where(both * past > 0.0, np.minimum(np.abs(both), np.abs(past)), ZERO)
        sizes = np.concatenate([np.abs(both), pairs])
        SignalLimits(state, RULES).note(batch.times, sizes, usable, usable & (far >= 1.0), steps)
        if steps.count:
            state["before"][...] = both[:, steps.last]
        severity = severity.astype(np.float64)
        if residual.step >= COARSE:
            severity = np.maximum(severity, self._coarse(residual, limit))
            severity = _beside_tops(state, severity, usable, steps)
        else:
            jumps = Jumps(state).judge(batch, residual, self.alone) / np.float32(self.limit)
            if any_of(jumps):
                jumps = np.where(marks.often(), ZERO, jumps)
                marks.note(np.maximum.reduce(jumps, axis=(0, 1)) >= 1.0)
                severity = np.maximum(severity, jumps)
        severity = np.minimum(severity, SEVERITY_MAX)
        if not all_of(usable):
            beyond = np.array((batch.level > batch.stats.mean, batch.level < batch.stats.mean))
            severity = np.where(usable, severity, CERTAIN * beyond)  # Not finite.
        return severity_result(batch, *np.where(ready, severity, np.nan))

    def _severity(self, alone: Array, two: Array, before: Array) -> Array:
        """Return severities; shapes (2, ..., n).

        Given how far samples are by the limits of single ones, and how far they and the ones before are by those of
        two in a row.
        """
        severity: Array = np.maximum(alone / np.float32(self.alone), np.minimum(two, before))
        return severity

    def _go_on(
        self,
        batch: SampleBatch,
        residual: Residual,
        limit: Array,
        common: Array,
        begin: int,
        far: Array,
        severity: Array,
    ) -> None:
        """Judge samples one after the other from `begin` on, where anomalies begin or go on; (t, n) and (2, t, n).

        An anomaly is compared with the hour before it began, or the last hour would be as far after an hour.
        """
        held, last, prior = (batch.state[name] for name in ("held", "last", "prior"))
        usable = batch.usable & ~np.isnan(limit[0])
        local = np.array((residual.value - residual.contrast, residual.ratio - residual.ratio_contrast))
        pace = np.float32(min(residual.step / HELD, 1.0))
        again, whatever = _repeated(batch, residual), _whatever(residual)
        for index in range(begin, len(usable)):
            ok = usable[index]
            calm = np.isnan(held)
            both = _deviations(
                residual,
                np.where(calm[0], residual.contrast[index], residual.value[index] - held[0]),
                np.where(calm[1], residual.ratio_contrast[index], residual.ratio[index] - held[1]),
                index,
            )
            far[index] = _far(both, residual.positive, limit[PAIRS:], ok, whatever)
            two = _sides(both[0], far[index], common)
            alone = _sides(both[0], _far(both, residual.positive, limit[:PAIRS], ok), common)
            earlier = np.where(again[index], prior, last)
            severity[:, index] = self._severity(alone, two, earlier)
            if not batch.steps.flags[index]:
                continue
            prior[...], last[...] = earlier, two
            begins = (severity[:, index] >= 1.0).any(axis=0)
            # In the noise a sample may be near; only one that is halfway back says that it is over.
            goes_on = begins | (~np.isnan(held[0]) & ~(ok & (far[index] < 0.5)))
            level = np.where(calm, local[:, index], held)
            held[...] = np.where(goes_on, level + pace * (local[:, index] - level), NAN)

    def _coarse(self, residual: Residual, limit: Array) -> Array:
        """Return how far coarse samples are above and below, shape (2, t, n)."""
        of_hour = np.abs(residual.value) / (OF_HOUR * residual.spread)
        of_all = np.abs(residual.overall) / OVERALL
        size = np.where(residual.value * residual.overall > 0.0, np.minimum(of_hour, of_all), ZERO)
        size = np.where(np.isnan(limit[0]), NAN, size / np.float32(self.limit))
        return np.array((np.where(residual.value > 0.0, size, 0.0), np.where(residual.value < 0.0, size, 0.0)))

    def reason(self, context: ReasonContext) -> str:
        """Say on which side it is, or that it is a jump: nothing else is far so near to its hour."""
        if abs(context.z) < NEAR:
            return "far from the samples just before, in a series that is otherwise smooth"
        return f"far {context.side} what most hours of this series reach"

    def learn(self, state: State, block: int) -> None:  # noqa: ARG002
        """Learn the block that has ended."""
        new = SignalLimits(state, RULES).end_block(state["white"])
        Jumps(state).end_block()
        if len(new):
            kept = DailyMarks.next_day(state, new)
            # A size is kept as long as any of the eight days has a mark.
            sizes = state["sizes"][:, new] * SIZE_FADE
            state["sizes"][:, new] = np.where(kept != 0, sizes, np.float16(0.0))
            limit = state["limit"]
            part = np.where(state["white"][new], PAIR_WHITE, PAIR)
            limit[PAIRS:, new] = np.maximum(limit[PAIRS:, new], part * limit[:PAIRS, new])

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:  # noqa: ARG002
        """End the anomaly that goes on."""
        for name, value in (("last", 0.0), ("prior", 0.0), ("before", 0.0), ("held", np.nan)):
            state[name][:, rows] = value
        Jumps(state).accept(rows)

    def relearn(self, state: State, rows: Rows) -> None:
        """Begin anew: the limits were those of deviations from the old baseline."""
        self.reset(state, rows)


def _repeated(batch: SampleBatch, residual: Residual) -> Array:
    """Return which samples, shape (t, n), repeat the reading before, in series that hold their values.

    However often it is read, it is one reading. Zeros are events that do not come, each time anew.
    """
    repeated: Array = (residual.change == 0.0) & (residual.repeats > HOLDS) & (batch.sample != residual.zero)
    return repeated


def _earlier(state: State, two: Array, again: Array, steps: LearningSteps) -> tuple[Array, Array]:
    """Return how far the other reading before each sample was, shape (2, t, n), and before the newest that is learned.

    What repeats the reading before, `again`, shape (t, n), is the same one.
    """
    earlier = steps.past(state["last"], two, axis=1)
    prior = state["prior"]
    if not again.any():
        return earlier, earlier[:, steps.last] if steps.count else prior
    earlier = earlier.copy()
    repeated: list[bool] = np.any(again, axis=1).tolist()
    for index, (repeats, learns) in enumerate(zip(repeated, steps.flags.tolist(), strict=True)):
        if repeats:
            np.copyto(earlier[:, index], prior, where=again[index])
        if learns:
            prior = earlier[:, index]
    return earlier, prior


def _common_size(state: State, marks: DailyMarks, hour: int) -> Array:
    """Return how far is normal now because it recurs, at least 1; shape (n,)."""
    size: Array = np.ones(state["marks"].shape[1], np.float32)
    if any_of(often := marks.often()):
        hours = [(hour - 1) % HOURS, hour, (hour + 1) % HOURS]
        reached = BEYOND * np.maximum.reduce(state["sizes"][hours].astype(np.float32))
        size = np.where(often, np.maximum(reached, size), size)
    return size


def _end_hour(state: State) -> None:
    """Keep how far the samples of the hour that has ended were."""
    reached = state["reached"]
    if any_of(reached):
        sizes = state["sizes"][int(state["hour"].max()) % HOURS]
        sizes[...] = np.maximum(sizes, np.minimum(reached, SIZE_MAX).astype(np.float16))
        reached[...] = 0.0


def _end_day(state: State) -> None:
    """Keep how far the day that has ended was, if it is among the farthest."""
    # While limits are not exact, sizes are not either.
    today = np.where(days_of(state) > READY, state["top"], np.float16(0.0))
    days = np.concatenate([state["tops"] * TOPS_FADE, today[None]])
    state["tops"][...] = np.sort(days, axis=0)[1:]
    state["top"][...] = 0.0


def _beside_tops(state: State, severity: Array, usable: Array, steps: LearningSteps) -> Array:
    """Return severities of coarse samples, shape (2, t, n), beside the farthest days of the series; and note them."""
    if steps.count:
        farthest = np.fmax.reduce(steps.of(np.where(usable, severity, 0.0), axis=1), axis=(0, 1))
        np.fmax(state["top"], np.minimum(farthest, SIZE_MAX).astype(np.float16), out=state["top"])
    limited: Array = severity / clip(TOPS_BEYOND * state["tops"][0], 1.0, TOPS_MOST)
    return limited


def _deviations(residual: Residual, contrast: Array, ratio_contrast: Array, index: int | None = None) -> Array:
    """Return how far values and their logarithms are at all instants, or at one; shape (2, ..., n)."""
    which = slice(None) if index is None else index
    value = _deviation(residual.value[which], contrast, residual.spread)
    return np.array((value, _deviation(residual.ratio[which], ratio_contrast, residual.ratio_spread)))


def _deviation(value: Array, contrast: Array, spread: Array) -> Array:
    """Return the smaller of both in three standard deviations of the noise, where they have one sign; else 0."""
    size = np.minimum(np.abs(value), np.abs(contrast)) / (_SPREADS * spread)
    size = np.fmax(size, ZERO)  # 0 / 0: a constant.
    signed: Array = np.where(value * contrast > 0.0, np.copysign(size, value), ZERO)
    return signed


def _far(both: Array, positive: Array, limit: Array, counts: Array, whatever: Array | None = None) -> Array:
    """Return how far samples are beyond the limits of their series: both of value and logarithm, where this counts.

    A value `whatever` times as far counts without its logarithm.
    """
    value, ratio = np.abs(both)
    of_value = value / limit[0]
    of_ratio = np.where(positive & ~np.isnan(ratio), ratio / limit[1], _INFINITE)
    if whatever is not None:
        of_ratio = np.maximum(of_ratio, of_value / whatever)
    far = np.where(counts, np.minimum(of_value, of_ratio), ZERO)
    return far.astype(np.float32, copy=False)


def _whatever(residual: Residual) -> Array:
    """Return how many times as far two values in a row count without their logarithms, shape (n,)."""
    smooth = (residual.correlation >= SMOOTH) & (residual.correlation < UNITY)  # 1: unknown.
    return np.where(smooth, WHATEVER, _INFINITE)


def _sides(value: Array, far: Array, common: Array) -> Array:
    """Return how far samples are above and below, shape (2, ..., n), less what is normal at this hour."""
    judged = far / common
    return np.array((np.where(value > ZERO, judged, ZERO), np.where(value < ZERO, judged, ZERO)))
