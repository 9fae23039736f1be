"""Slow leaks and drifts: a cumulative sum of hourly deviations, each of which is fine by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from exporter.engine.constants import UNITY, single
from exporter.engine.detectors.base import (
    Array,
    Column,
    DetectorResult,
    FloatArray,
    ReasonContext,
    Rows,
    SampleBatch,
    State,
    StatefulDetector,
    severity_result,
)
from exporter.engine.ordered import add_to, add_up, clip
from exporter.engine.seconds import HOUR

__all__ = ["Collective"]

SETTLED = 72
"""Hours that are compared with their own hour of the week before sums begin: they give the typical deviation, and three
days have every hour of the day three times."""
CLIP = 3.0
"""Deviations of one hour count at most this many times the typical one: a single jump is for other detectors."""
RATE = 1.0 / 72.0
"""Part of a new hour in the typical size of a deviation, and in the offset that accepts a new level within days."""
NORMAL = 1.25
"""Standard deviation in mean absolute deviations, for a normal distribution: the square root of half pi."""
MARGIN = 1.5
"""A series that wanders by habit must wander this many times as far as ever before, or noise would
alert whenever it beats its own record a little."""
FADE = 0.9995
"""Part of the longest excursion that is left after an hour: half after two months."""
SEVERITY_MAX = 1.0
"""A sum grows with time, so beyond the threshold it says how long a drift goes on, not how bad it is. It must not
hide what other detectors see meanwhile."""
NOW = 1.6
"""Standard deviations of the noise that the mean of the last hours must be away: a sum of the past alone says nothing
about now."""
NOW_WHITE, WHITE = single(1.1), single(0.3)
"""The same where neighbouring samples are correlated less than this: there the mean of so many is exact."""
COARSE = 900.0
"""Seconds between samples beyond which it is not: they are too few."""
NOW_HOURS = 6
NOW_LAST = 1.5
"""The mean of the last hours counts at most as this many times the last hour."""
NOW_MARGIN = 2.5
"""The mean must also be this many times what nine tenths of such means of the series reach."""
FORGOTTEN = single(0.5 ** (1.0 / 24.0))
"""Part of the hours that were like their neighbour that is left after an hour: half after a day."""
CLEAR = single(2.5)
"""Standard errors of its mean that such an hour is away from its own mean, and from that of the other neighbour."""
BOTH = single(0.8)
"""Hours of late that were like the one before from which on none is taken for the one after, and the reverse."""
NOW_SHARE, NOW_RATE = 0.9, 0.02
"""The quantile follows by steps of this part of itself."""
_AWAY_MAX = 6.0
_SUM_MAX = 3.0
"""Sums end at so many limits, so that the end of a leak is seen within hours."""
_NEVER = np.iinfo(np.int32).min


class Collective(StatefulDetector):
    """Sum of the deviations of hourly means from what is usual at that hour, upward and downward.

    Catches what is never far from usual and always on the same side: a leak over a day or longer. The usual mean
    is that of the baseline. Deviations are measured in their own usual size, so noise that is correlated over
    hours is not mistaken for a drift; less an allowance they are summed (a CUSUM [1]_), and a lasting
    new level is accepted within days. The mean of the last six hours must be away as well.

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
    slow: ClassVar[bool] = True
    warm_up: ClassVar[float] = 17 * 24 * HOUR

    kind: Literal["collective"] = Field("collective", description="Slow leaks: deviations that add up over hours.")
    limit: float = Field(10.0, gt=0, le=1000, allow_inf_nan=False, description="Sum of hourly deviations.")
    allowance: float = Field(1.0, ge=0, le=10, allow_inf_nan=False, description="What of each is not counted.")

    layout: ClassVar[Mapping[str, Column]] = {
        "open": Column((), np.int32, _NEVER),  # Number of the hour that is going on, local time.
        "usual": Column((), np.float32, np.nan),  # Mean of the baseline when that hour began; baseline units.
        "before": Column((), np.float32, np.nan),  # And when the one before began.
        "sum": Column((), np.float64),  # Of its samples.
        "count": Column((), np.int32),
        "hours": Column((), np.int32),  # That have ended, and were compared.
        "size": Column((), np.float32),  # Typical size of a deviation; baseline units.
        "offset": Column((), np.float32),  # Deviation that is accepted as the new level; baseline units.
        "above": Column((), np.float32),  # The two sums, in typical deviations.
        "below": Column((), np.float32),
        "way": Column((), np.float32),  # The largest sum of the excursion that is going on.
        "longest": Column((), np.float32),  # And of those that have ended.
        "spread": Column((), np.float32, np.nan),  # Noise of the hour when it began; baseline units.
        "apart": Column((NOW_HOURS,), np.float32),  # Deviations of the last hours, in standard deviations of the noise.
        "clock": Column((2,), np.float32),  # Hours of late that were like the one before, and like the one after.
        "reach": Column((), np.float32, 0.75),  # What nine tenths of the means of so many hours reach.
    }

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series, which lie in one hour, by the hours that have ended."""
        state = batch.state
        hour = int(batch.times[0] // HOUR)
        expected = batch.stats.mean
        if batch.stats.fine is not None:
            # Against a coarser bucket every weekend would be a drift.
            expected = np.where(batch.stats.fine, expected, np.nan)
        if batch.stats.wanders is not None:
            # Each of its hours is as far from the mean as the one before: their sum is the deviation of one.
            expected = np.where(batch.stats.wanders, np.nan, expected)
        white = np.zeros(len(state["open"]), np.bool_)
        if batch.residual is not None:
            white = (batch.residual.correlation < WHITE) & (batch.residual.step <= COARSE)
        last = int(state["open"].max())
        if hour != last:
            self._end_hour(state, expected if hour == last + 1 else state["usual"], white)
            state["open"][...] = hour
        # The baseline learns within the hour: the hour is compared with the mean from before it.
        began = state["count"] == 0
        state["usual"][...] = np.where(began, expected, state["usual"])
        state["spread"][...] = np.where(began, batch.stats.std, state["spread"])
        if batch.steps.count:
            usable = batch.steps.of(batch.usable)
            add_to(state["sum"], np.where(usable, batch.steps.of(batch.level), 0.0))
            state["count"] += usable.sum(axis=0)
        limit = np.maximum(self.limit, MARGIN * state["longest"])
        severity = np.minimum(np.array((state["above"], state["below"])) / limit, SEVERITY_MAX)
        mean, last = add_up(state["apart"]) / NOW_HOURS, state["apart"][-1]
        # The drift is over when an hour was normal, though the mean of six is not yet.
        mean = np.where(mean * last > 0.0, np.copysign(np.minimum(np.abs(mean), NOW_LAST * np.abs(last)), mean), 0.0)
        now = mean / np.maximum(np.where(white, NOW_WHITE, NOW), NOW_MARGIN * state["reach"])
        severity = np.minimum(severity, np.maximum(np.array((now, -now)), 0.0))
        above, below = np.where(state["hours"] >= SETTLED, severity, np.nan)
        return severity_result(batch, above, below)

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:  # noqa: ARG002
        """Begin the sums anew: they were about the old level."""
        for name in ("sum", "count", "offset", "above", "below", "way", "apart", "clock"):
            state[name][..., rows] = 0

    def relearn(self, state: State, rows: Rows) -> None:
        """Begin anew: the typical deviation was one from the old baseline, too."""
        self.reset(state, rows)

    @staticmethod
    def _nearest(state: State, mean: Array, after: Array, white: Array) -> Array:
        """Return the mean nearest to that of the hour: its own, or by the clock that before or `after`; shape (n,).

        A changed clock makes all hours like the ones after them, or all like those before. A leak does both in a day.
        Only where samples are not correlated, `white`, is it clear which hours are like others.
        """
        usual, clock = state["usual"], state["clock"]
        away = mean - usual
        steps = np.array((state["before"] - usual, after - usual))
        steps = np.where(np.isnan(steps), 0.0, steps)
        left = np.abs(away - clip(away, np.minimum(steps, 0.0), np.maximum(steps, 0.0)))
        clear = CLEAR * state["spread"] / np.sqrt(np.maximum(state["count"], 1))
        clock *= FORGOTTEN
        clock += white & (np.abs(away) > clear) & (left < clear) & (left[::-1] > clear)
        steps = np.where(clock[::-1] >= BOTH, 0.0, steps)
        nearest: Array = usual + clip(away, np.minimum(np.minimum(*steps), 0.0), np.maximum(np.maximum(*steps), 0.0))
        return nearest

    def reason(self, context: ReasonContext) -> str:
        """Say on which side the hours were."""
        return f"hours a little {context.side} the usual have added up: a drift"

    def _end_hour(self, state: State, after: Array, white: Array) -> None:
        """Add the deviation of the hour that has ended to the sums; nothing changes where it had no sample.

        The deviation is that from the nearest usual mean of this hour, the one before and the one `after`: what comes
        an hour early or late, as after a change of the clock, is no drift. What comes late in the afternoon and early
        in the morning is one.
        """
        limit = self.limit
        mean = state["sum"] / np.maximum(state["count"], 1)
        nearest = self._nearest(state, mean, after, white)
        away = (mean - state["usual"]) / state["spread"]
        state["before"][...] = state["usual"]
        away = np.where((state["count"] > 0) & ~np.isnan(away), clip(away, -_AWAY_MAX, _AWAY_MAX), state["apart"][-1])
        state["apart"][:-1] = state["apart"][1:]
        state["apart"][-1] = away
        deviation = mean - nearest - state["offset"]
        compared = (state["count"] > 0) & np.isfinite(deviation)
        deviation = np.where(compared, deviation, 0.0)
        size, hours = state["size"], state["hours"]
        # What is taken for the hour beside has hardly a deviation left: the size is not less than that of the noise.
        exact = state["spread"] / np.sqrt(np.maximum(state["count"], 1))
        typical = np.fmax(NORMAL * size.astype(np.float64), np.where(state["count"] > 1, exact, 0.0))
        reach = CLIP * typical / NORMAL
        counted = np.where(typical > 0.0, clip(deviation / np.where(typical > 0.0, typical, 1.0), -CLIP, CLIP), 0.0)
        begun = compared & (hours >= SETTLED)
        for name, toward in (("above", counted), ("below", -counted)):
            total = clip(state[name] + toward - self.allowance, 0.0, _SUM_MAX * limit)
            state[name][...] = np.where(begun, total, state[name])
        farther = np.maximum(state["above"], state["below"])
        ended = farther <= 0.0
        way = np.maximum(state["way"], farther)
        state["longest"][...] = np.where(ended, np.maximum(state["longest"], way), state["longest"]) * FADE
        state["way"][...] = np.where(ended, 0.0, way)

        # The first day is learned as it is. After that deviations are clipped: else one spike would move the offset,
        # and the hours after it would seem to drift the other way. While a drift is suspected the size stays, or
        # the drift would count as typical.
        clipped = np.where(hours > 24, clip(deviation, -reach, reach), deviation)
        suspected = farther >= 0.5 * np.maximum(limit, MARGIN * state["longest"])
        rate = np.maximum(RATE, 1.0 / (hours + 1.0))
        steady = compared & ~suspected
        size_now = np.abs(add_up(state["apart"])) / NOW_HOURS
        step = np.float32(NOW_RATE) * (np.float32(NOW_SHARE) - (size_now <= state["reach"]))
        state["reach"] *= np.where(compared, UNITY + step, UNITY)
        state["offset"] += np.where(compared, RATE * clipped, 0.0)
        size += np.where(steady, rate * (np.abs(clipped) - size), 0.0)
        hours += compared
        state["sum"][...], state["count"][...] = 0.0, 0
