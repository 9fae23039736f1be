"""Changes from sample to sample: larger than typical at this hour, or none at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exporter.engine.columns import Array, Column
from exporter.engine.constants import NAN, UNITY, ZERO, single
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
from exporter.engine.ordered import add_to, add_up, all_of, any_of, count_of, logarithm, median
from exporter.engine.recurrence import MARKS, DailyMarks
from exporter.engine.scatter import NEIGHBOURS, SCATTER, SQUARE, Scatter
from exporter.engine.seconds import DAY, HOUR

__all__ = ["Texture"]

HOURS = 24
RATE = single(1.0 / 24.0)
"""Weight of a sample in the running mean: that of the last three dozen."""
MOST, JUMP = single(4.0), single(6.0)
"""A change counts at most as so many typical ones, and a larger one not at all: it is a jump, and no texture."""
MOVED = single(2.5)
"""Typical changes that a distance from the median counts as at most where the change is less."""
AS_CHANGE = np.array([np.nan, 1.0, 1.155, 1.175, 1.241, 1.246, 1.283], np.float32)
"""How many times the distance from the median of so many samples a change of the same normal noise is."""
CLIP = single(3.0)
"""The mean change of an hour counts at most as so many typical ones when it is learned."""
MEMORY = 28.0
"""Days that the typical change of an hour is a mean of."""
RULES = (Limit(least=2.2, quarter=0.0, tenth=2.7, share=0.0, days=0.6, beyond=1.4),)
SEVERITY_MAX = 1.0
"""A running mean grows with time, so beyond the limit it says how long a change lasts, not how bad it is."""
FINE, COARSE = 150.0, 900.0
"""Seconds between samples below and beyond which there is no result: means of a few minutes say what single samples do,
and three dozen samples farther apart are a part of the week."""
LEAST = 12
"""Equal samples in a row that are needed."""
EVIDENCE = 25.0
"""How improbable the run must be, natural logarithm."""
EVIDENCE_MOST = 4.0
"""Evidence of one sample, at most."""
BEYOND = 1.5
"""A run needs this many times the evidence and the length of the longest one before."""
FADE = 0.98
"""Part of the longest run that is left after a day."""
ALERTED = single(1.2)
"""An anomalous run counts as this many times the longest one before."""
READY = 7
"""Days before frozen values are detected."""
REPEATS = 2016.0
"""Samples that the share of those that repeat the one before is a mean of: a week of five minutes. Up to then it is
the plain mean, so the evidence that never moving is no chance stays small."""
LENGTH_MAX = 30000


class Texture(StatefulDetector):
    """Changes from one sample to the next: their running mean square, in typical changes of this hour of the day.

    Where samples are not correlated, distances from the median of the last ones instead, which say more.
    Detects noise of twice the deviation within hours, whatever the level does meanwhile. Detects frozen values as well:
    each sample that repeats the one before is evidence, the less the more often the series does so. Zeros are left to
    `counts`.

    Blind to noise that becomes smaller. Cannot say in the first week, and not of samples that are minutes or an hour
    apart.

    Parameters
    ----------
    limit : float > 0
        Severity is 1.0 at so many times the limit of the series.
    """

    interval: ClassVar[bool] = False
    single: ClassVar[bool] = False
    warm_up: ClassVar[float] = 8 * DAY

    kind: Literal["texture"] = Field(
        "texture", description="Larger changes from sample to sample than typical at this hour, or a frozen value."
    )
    limit: float = Field(1.0, gt=0, le=100, allow_inf_nan=False, description="Factor of the limit of the series.")

    layout: ClassVar[Mapping[str, Column]] = (
        limit_columns(RULES)
        | MARKS
        | SCATTER
        | {
            "power": Column((), np.float32, 1.0),  # Running mean square of the changes, in typical ones.
            "usual": Column((HOURS,), np.float32, np.nan),  # Mean size of the changes at each hour of the day.
            "sum": Column((2,), np.float32),  # Of the changes of the hour that goes on, and their number.
            "hour": Column((), np.int32, np.iinfo(np.int32).min),
            "still": Column((), np.float32),  # Evidence of the samples that repeat each other.
            "length": Column((), np.int16),  # And their number.
            "longest": Column((2,), np.float32),  # The largest of both of the runs that have ended.
            "repeats": Column((), np.float32, 0.5),  # Share of samples that repeat the one before.
            "samples": Column((), np.int16),  # In that share.
            "nights": Column((), np.int16),
        }
    )

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series, which lie in one hour."""
        residual = batch.residual
        if residual is None or not FINE <= residual.step <= COARSE:
            return severity_result(batch, *np.full((2, *batch.sample.shape), np.nan))
        state, usable, steps = batch.state, batch.usable, batch.steps
        number = int(batch.times[0] // 3600.0)
        if number != int(state["hour"].max()):
            self._end_hour(state)
            state["hour"][...] = number
        white = residual.independent
        typical = _typical_about(state["usual"], number % HOURS, white)
        typical = np.maximum(typical, batch.resolution.astype(np.float32))
        change = residual.change
        size = _innovations(batch, residual, white)
        # A level that moves is one large change, and some samples that are far off those before.
        most = np.maximum(np.abs(change), MOVED * typical)
        size = np.where(size > most, most, size)
        comparable = usable & ~np.isnan(change)
        counted = usable & ~np.isnan(size)
        of_typical = size / typical
        square = np.minimum(of_typical, MOST) ** 2 * SQUARE
        square = np.where(counted & ~(size > JUMP * typical), square, NAN)
        power, powers = state["power"], np.empty_like(square)
        counts = ~np.isnan(square)
        every = bool(all_of(counts))
        for row, ok, now, learns in zip(square, counts, powers, steps.flags.tolist(), strict=True):
            step = RATE * (row - power)
            np.add(power, step if every else np.where(ok, step, ZERO), out=now)
            if learns:
                power = now
        if steps.count:
            state["power"][...] = power
            SignalLimits(state, RULES).note(batch.times, powers[None], usable, None, steps)
            add_to(state["sum"][0], steps.of(np.where(counted, size, ZERO)))
            add_to(state["sum"][1], steps.of(counted).astype(np.float32))
        limit = state["limit"][0] * np.float32(self.limit)
        severity = powers / limit
        if any_of(white):
            scatter = Scatter(state).severity(of_typical, counted & white, steps)
            # Before it has a limit of its own, uncorrelated noise is judged as other noise is.
            judged = white & ~np.isnan(scatter) & ~np.isnan(limit)
            severity = np.where(judged, scatter / np.float32(self.limit), severity)
        severity = np.where(usable, np.minimum(severity, np.float32(SEVERITY_MAX)), ZERO * limit)
        marks = DailyMarks(state, int(batch.times[0] // 3600.0))
        often = marks.often()
        marks.note(((severity >= 1.0) & usable).any(axis=0))
        severity = np.where(often, ZERO * severity, severity)
        zero = batch.sample == residual.zero
        same, other = comparable & (change == 0.0) & ~zero, comparable & ((change != 0.0) | zero)
        still = self._frozen(state, same, other, steps)
        still = np.where(np.isnan(limit), NAN, np.minimum(still, np.float32(SEVERITY_MAX)))
        severity = np.fmax(severity, still).astype(np.float64)
        return severity_result(batch, *np.array((severity, severity)))

    def _frozen(self, state: State, same: Array, other: Array, steps: LearningSteps) -> Array:
        """Return the severity of samples that repeat each other, shape (t, n)."""
        severity = np.zeros(same.shape, np.float32)
        if not any_of(same) and not any_of(state["length"]):
            if steps.count:
                _count_moves(state, steps.of(other))
            return severity
        now = self._run_severity(state)
        for index, (repeats, moves, learns) in enumerate(zip(same, other, steps.flags.tolist(), strict=True)):
            if not learns:
                # The samples between two that are learned add no evidence.
                severity[index] = np.where(repeats, now, np.float32(0.0))
                continue
            anomalous = now >= 1.0
            ended = moves & (state["length"] > 0)
            if any_of(ended):
                for most, now in zip(state["longest"], (state["still"], state["length"]), strict=True):
                    lasted = np.where(anomalous, ALERTED * most, now.astype(np.float32))
                    np.copyto(most, np.maximum(most, lasted), where=ended)
            length = np.where(moves, 0, np.minimum(state["length"] + repeats, LENGTH_MAX))
            state["length"][...] = length
            # By the share up to now: that a series does not move which never did is no evidence.
            each = np.minimum(-logarithm(np.maximum(state["repeats"], np.float32(1e-4))), np.float32(EVIDENCE_MOST))
            state["still"][...] = length * each
            now = self._run_severity(state)
            severity[index] = np.where(repeats, now, ZERO)
            _count_repeats(state, repeats, (repeats & (severity[index] < 1.0)) | moves)
        return severity

    @staticmethod
    def _run_severity(state: State) -> Array:
        """Return the severity of the run under way, shape (n,)."""
        evidence, length = state["longest"]
        of_evidence = state["still"] / np.maximum(np.float32(EVIDENCE), np.float32(BEYOND) * evidence)
        of_length = state["length"] / np.maximum(np.float32(LEAST), np.float32(BEYOND) * length)
        severity: Array = np.where(state["nights"] >= READY, np.minimum(of_evidence, of_length), ZERO)
        return severity

    def _end_hour(self, state: State) -> None:
        """Learn the typical change of the hour that has ended."""
        total, count = state["sum"]
        hour = int(state["hour"].max()) % HOURS
        now, mean = state["usual"][hour], total / np.maximum(count, UNITY)
        clipped = np.where(now > 0.0, np.minimum(mean, CLIP * now), mean)
        rate = UNITY / np.clip(state["nights"] + 1, 1, MEMORY).astype(np.float32)
        new = np.where(np.isnan(now), mean, now + rate * (clipped - now))
        state["usual"][hour] = np.where(count > 0.0, new, now)
        if hour == HOURS - 1:
            state["longest"] *= np.float32(FADE)
            state["nights"][...] = np.minimum(state["nights"] + (count > 0.0), 1000)
        state["sum"][...] = 0.0

    def reason(self, context: ReasonContext) -> str:  # noqa: ARG002
        """Say that the changes are not as usual."""
        return "changes from sample to sample are larger than at this hour before, or it stands still"

    def learn(self, state: State, block: int) -> None:  # noqa: ARG002
        """Learn the block that has ended."""
        new = SignalLimits(state, RULES).end_block()
        Scatter(state).end_block()
        if len(new):
            DailyMarks.next_day(state, new)

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:  # noqa: ARG002
        """End the anomaly that goes on, and learn the typical changes anew: another level has another noise."""
        state["still"][rows], state["length"][rows], state["power"][rows] = 0.0, 0, 1.0
        state["usual"][:, rows], state["sum"][:, rows] = np.nan, 0.0
        Scatter(state).reset(rows)


def _innovations(batch: SampleBatch, residual: Residual, white: Array) -> Array:
    """Return how far samples are off those before, shape (t, n), and note the samples; NaN: not comparable.

    Of noise that is not correlated that is the distance from the median of the last samples of the hour, as large as a
    change is; of other noise it is the change.
    """
    size, steps, near = np.abs(residual.change), batch.steps, batch.state["noise_near"]
    past = near
    if steps.count:
        past = np.concatenate([near, steps.of(batch.sample).astype(np.float32)])
        if not all_of(batch.usable):
            for offset, ok in enumerate(steps.of(batch.usable), NEIGHBOURS):
                past[offset] = np.where(ok, past[offset], past[offset - 1])
        near[...] = past[-NEIGHBOURS:]
    if not any_of(white):
        return size
    order = np.arange(NEIGHBOURS)[:, None]
    width = (batch.times % HOUR // residual.step).astype(np.intp)
    last = past[NEIGHBOURS + np.array(steps.before) - 1 - order]
    last = np.where((order < width)[..., None], last, NAN)
    # Of a level that has moved, half of them are old until it is the new one.
    level = median(last.reshape(NEIGHBOURS, -1)).reshape(size.shape)
    distance = np.abs(batch.sample.astype(np.float32) - level) * AS_CHANGE[count_of(~np.isnan(last))]
    return np.where(white, distance, size)


def _count_repeats(state: State, repeats: Array, counts: Array) -> None:
    """Learn the share of samples that repeat the one before, of those that count; shapes (n,)."""
    samples = state["samples"]
    rate = UNITY / np.minimum(samples + np.float32(2.0), np.float32(REPEATS))
    state["repeats"] += np.where(counts, rate * (repeats - state["repeats"]), ZERO)
    samples[...] = np.minimum(samples + counts, LENGTH_MAX)


def _count_moves(state: State, counts: Array) -> None:
    """Learn the share of samples that repeat the one before where none does; shape (t, n)."""
    samples, share = state["samples"], state["repeats"]
    before = np.minimum(samples + np.add.accumulate(counts, axis=0, dtype=np.int16) - counts, LENGTH_MAX)
    rates = UNITY / np.minimum(before.astype(np.int16) + np.float32(2.0), np.float32(REPEATS))
    for rate in np.where(counts, rates, ZERO):
        share -= rate * share
    samples[...] = np.minimum(samples + counts.sum(axis=0, dtype=np.int16), LENGTH_MAX)


def _typical_about(changes: Array, hour: int, white: Array) -> Array:
    """Return the mean of an hour and its neighbours, of those that are not NaN; (HOURS, n) to (n,).

    Of uncorrelated noise the hour itself counts twice: its mean is exact.
    """
    hours = changes[[(hour - 1) % HOURS, hour, hour, (hour + 1) % HOURS]]
    valid = ~np.isnan(hours)
    valid[2] &= white
    # Nothing divided by nothing is NaN.
    typical: Array = add_up(np.where(valid, hours, ZERO)) / count_of(valid).astype(np.float32)
    return typical
