"""Zeros in a row where events are expected, and single counts far above: the probability of so many by chance."""

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
    ReasonContext,
    Residual,
    Rows,
    SampleBatch,
    State,
    StatefulDetector,
    severity_result,
)
from exporter.engine.ordered import add_to, all_of, any_of, logarithm
from exporter.engine.recurrence import MARKS, DailyMarks
from exporter.engine.seconds import DAY

__all__ = ["Counts"]

HOURS = 24
RATE = 1.0 / 21.0
"""Weight of a day in the share of zeros at an hour."""
MOST = 7.0
"""Evidence of one zero at most, natural logarithm: no share is trusted to be smaller than one in a thousand."""
ENOUGH = 3
"""Days before the share of zeros at an hour is trusted."""
BEYOND = 1.5
"""A run needs this many times the evidence of the longest one before."""
ALERTED = 0.8
"""Part of the limit that an anomalous run counts as, so that the next one is anomalous, too."""
SAMPLES = 336.0
"""Hours that the dispersion is a mean of."""
CLIP = single(9.0)
"""Squares of residuals count at most as this many typical ones."""
FEW = single(60.0)
"""Expected events from which on a count is judged as any other value."""
MUCH, MUCH_BEYOND = single(11.5), single(1.25)
"""Evidence of a single count that decides, natural logarithm; and how many times the largest before it must be."""
MUCH_MORE = single(0.05)
"""What each expected event adds to that: the more there are, the less their noise is that of counts."""
OF_HOUR = single(1.5)
"""An hour that is so many times as dispersed as the series, or the reverse, is judged by its own noise."""
COARSE = 900.0
"""Seconds between samples beyond which single counts are not judged: some days do not say what noise they have."""
LONG = 96
"""Hours that they must have been so."""
SEVERITY_MAX = 1.0
"""Evidence grows with time, so beyond the limit it says how long the zeros last, not how bad they are. It must not hide
what other detectors see meanwhile."""
FADE = 0.98
"""Part of the evidence of the longest run that is left after a day: half after five weeks."""


class Counts(StatefulDetector):
    """Zeros in a row where there should be events, and far more events than there should be.

    The probability of a zero is that of a count with the mean and variance of this hour (Poisson where they are equal),
    and at least the share of zeros that this hour of the day has had. The negative logarithms of these probabilities
    add up while zeros follow each other. So traffic with ten events in a typical sample is anomalous at its second
    zero, and a night with one event an hour is not. The anomaly lasts until something comes, and its zeros are not
    learned.

    The other way a single sample decides. Where samples are whole numbers that are not correlated, up to some dozens
    of events are judged as a Poisson variable with the dispersion that the series has had. A count is anomalous beyond
    the evidence of one in a hundred thousand, which grows with the number that is expected, and beyond 1.25 times that
    of the largest before.

    Blind to outages in which values are not zero, and to a rate that falls to a part.

    Parameters
    ----------
    evidence : float > 0, natural logarithm
        Severity is 1.0 where the run is so improbable: ``exp(-evidence)``.
    """

    interval: ClassVar[bool] = False
    single: ClassVar[bool] = False
    zero_based: ClassVar[bool] = True
    outage: ClassVar[bool] = True
    warm_up: ClassVar[float] = 8 * DAY

    kind: Literal["counts"] = Field("counts", description="Zeros in a row, or more events than chance explains.")
    evidence: float = Field(
        14.0, gt=0, le=1000, allow_inf_nan=False, description="How improbable the run must be: exp(-evidence)."
    )

    layout: ClassVar[Mapping[str, Column]] = MARKS | {
        "hour": Column((), np.int32, np.iinfo(np.int32).min),  # Number of the hour that goes on, local time.
        "seen": Column((2,), np.int16),  # Its samples, and the zeros among them.
        "share": Column((HOURS,), np.float16, np.nan),  # Of zeros at each hour of the day.
        "days": Column((), np.int16),
        "run": Column((), np.float32),  # Evidence of the zeros in a row so far.
        "longest": Column((), np.float32),  # And of the longest run that has ended.
        "length": Column((), np.float32),  # For how many seconds it goes on.
        "accepted": Column((), np.bool_),  # Zero counts as normal until something comes.
        "dispersion": Column((2,), np.float32),  # Variance over mean; and its sum over the samples of the hour.
        "white": Column((), np.uint8),  # Hours for which samples have been whole numbers, independent of each other,
        "parts": Column((), np.bool_),  # and whether a sample of the hour that goes on is none.
        "farthest": Column((2,), np.float32),  # Evidence of the largest count; and of that of the hour.
    }

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series, which lie in one hour."""
        residual = batch.residual
        if residual is None:
            return severity_result(batch, *np.full((2, *batch.sample.shape), np.nan))
        state, steps = batch.state, batch.steps
        number = int(batch.times[0] // 3600.0)
        if number != int(state["hour"].max()):
            self._end_hour(state)
            state["hour"][...] = number
            white = residual.independent & ~state["parts"]
            state["parts"][...] = False
            state["white"][...] = np.where(white, np.minimum(state["white"], np.uint8(LONG)) + np.uint8(1), np.uint8(0))
        zero = batch.usable & (batch.sample == residual.zero)
        other = batch.usable & ~zero
        silent = np.where(state["days"] >= ENOUGH, ZERO, NAN)
        severity = np.zeros((2, *zero.shape))
        severity[:] = silent
        run = state["run"]
        if any_of(zero) or any_of(run) or any_of(state["length"]) or any_of(state["accepted"]):
            share = state["share"][number % HOURS].astype(np.float32)
            seldom = np.minimum(-logarithm(share), np.float32(MOST))
            ratio = (batch.stats.mean - residual.zero) / residual.spread
            each = np.fmin(np.where(ratio > 0.0, ratio * ratio, 0.0).astype(np.float32), seldom)
            each = np.where(np.isnan(each), ZERO, each)
            limit = self._limit(state)
            before, length, flags = run, state["length"], steps.flags.tolist()
            marks = DailyMarks(state, int(batch.times[0] // 3600.0))
            often = marks.often()
            for index, (is_zero, is_other, learns) in enumerate(zip(zero, other, flags, strict=True)):
                now = np.where(is_other, ZERO, before + np.where(is_zero, each, ZERO))
                added = np.where(is_zero, np.float32(residual.step), ZERO)
                seconds = np.where(is_other, ZERO, length + added)
                young = seconds < DAY
                # An empty night is normal from the fourth on; what goes on for longer than a day is no night.
                relative = np.where(state["accepted"] | (often & young), ZERO, now / limit)
                severity[1, index] = np.where(is_zero, np.minimum(relative, SEVERITY_MAX), silent)
                marks.note(is_zero & young & (now >= limit))
                if learns:
                    weight = np.where(before >= limit, np.float32(ALERTED) * limit, before)
                    ended = np.where(is_other, weight, ZERO)
                    state["accepted"] &= ~is_other
                    if any_of(ended):
                        state["longest"][...] = np.maximum(state["longest"], ended)
                        limit = self._limit(state)
                    before, length = now, seconds
            run[...], state["length"][...] = before, length
        if residual.step <= COARSE:
            severity[0] = np.maximum(severity[0], self._too_many(batch, residual))
        if batch.whole is not None and not all_of(batch.whole):
            state["parts"] |= steps.of(batch.usable & ~batch.whole).any(axis=0)
        if steps.count:
            state["seen"][0] += steps.of(batch.usable).sum(axis=0, dtype=np.int16)
            state["seen"][1] += steps.of(zero & ~(severity[1] >= 1.0)).sum(axis=0, dtype=np.int16)
        return severity_result(batch, *(severity + silent))

    def _limit(self, state: State) -> Array:
        """Return the evidence that a run needs, shape (n,)."""
        limit: Array = np.maximum(np.float32(self.evidence), np.float32(BEYOND) * state["longest"])
        return limit

    def _too_many(self, batch: SampleBatch, residual: Residual) -> Array:
        """Return how improbable single counts are over their limit, shape (t, n), and note them.

        Events that are independent of each other, and come one or some at a time, have as many as a Poisson variable
        of the same mean and dispersion. Its probability is bounded by the exponential of minus the evidence.
        """
        state, steps = batch.state, batch.steps
        mean = (batch.stats.mean - residual.zero).astype(np.float32)
        square = residual.value * residual.value / mean
        dispersion, total = state["dispersion"]
        counted = batch.usable & (mean > 0.0) & ~np.isnan(square)
        if steps.count:
            most = np.where(dispersion > 0.0, CLIP * dispersion, np.inf)
            add_to(total, steps.of(np.where(counted, np.minimum(square, most), ZERO).astype(np.float32)))
        of_hour = residual.spread * residual.spread / mean
        alike = (of_hour < OF_HOUR * dispersion) & (of_hour * OF_HOUR > dispersion)
        size = np.where(alike, dispersion, of_hour)
        expected = mean / size
        judged = residual.positive & (expected > 0.0) & (state["white"] > 0) & (state["days"] >= ENOUGH)
        severity = np.zeros(square.shape, np.float32)
        if not any_of(judged):
            return severity
        count = expected + residual.value / size
        above = counted & judged & (count > expected)
        ratio = np.where(above, count / expected, UNITY)
        evidence = np.where(above, count * logarithm(ratio) - (count - expected), ZERO)
        largest, now = state["farthest"]
        least = MUCH + MUCH_MORE * np.minimum(expected, FEW)
        limit = np.maximum(least, MUCH_BEYOND * largest)
        marks = DailyMarks(state, int(batch.times[0] // 3600.0))
        often = marks.often()
        # Nightly jobs are marked before anything is anomalous, so that they never are.
        marks.note((evidence >= least).any(axis=0))
        few = (expected < FEW) & (state["white"] > LONG)
        severity = np.where(few & ~often, np.minimum(evidence / limit, np.float32(SEVERITY_MAX)), ZERO)
        if steps.count:
            noted = np.where(evidence >= limit, np.float32(ALERTED) * limit, evidence)
            np.maximum(now, np.maximum.reduce(steps.of(np.where(few, noted, ZERO))), out=now)
        return severity

    def _end_hour(self, state: State) -> None:
        """Learn the share of zeros in the hour that has ended, and the dispersion."""
        samples, zeros = state["seen"].astype(np.float32)
        dispersion, total = state["dispersion"]
        hours = np.clip(HOURS * state["days"] + 1, 1.0, SAMPLES).astype(np.float32)
        new = total / np.maximum(samples, np.float32(1.0))
        new = np.where(dispersion > 0.0, dispersion + (new - dispersion) / hours, new)
        dispersion[...] = np.where(samples > 0.0, new, dispersion)
        total[...] = 0.0
        largest, now = state["farthest"]
        np.maximum(largest, now, out=largest)
        now[...] = 0.0
        number = int(state["hour"].max())
        hour = number % HOURS
        share, here = state["share"][hour].astype(np.float32), samples > 0
        now = (zeros + np.float32(0.5)) / (samples + UNITY)
        new = np.where(np.isnan(share), now, share + np.float32(RATE) * (zeros / np.maximum(samples, 1.0) - share))
        state["share"][hour] = np.where(here, np.maximum(new, np.float32(1e-4)), share)
        state["seen"][...] = 0
        if hour == HOURS - 1:
            state["longest"] *= np.float32(FADE)
            largest *= np.float32(FADE)
            DailyMarks.next_day(state, slice(None))
            state["days"][...] = np.minimum(state["days"] + here, 1000)

    def reason(self, context: ReasonContext) -> str:
        """Say that there should have been events, or not as many."""
        return "zero for longer than chance explains" if context.below else "more events than chance explains"

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:  # noqa: ARG002
        """Take zeros as normal until something comes."""
        state["accepted"][rows] = state["run"][rows] > 0.0
        state["run"][rows] = 0.0

    def relearn(self, state: State, rows: Rows) -> None:
        """Keep the shares of zeros: they do not depend on the baseline."""
