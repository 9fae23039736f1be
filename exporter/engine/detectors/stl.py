"""Residual of a seasonal-trend decomposition of the last four weeks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from exporter.engine.detectors.base import (
    BoolArray,
    Column,
    DetectorResult,
    FloatArray,
    ReasonContext,
    Rows,
    SampleBatch,
    State,
    StatefulDetector,
    interval_result,
)
from exporter.engine.seconds import HOUR
from exporter.engine.stl_map import Season, decomposition

__all__ = ["Stl"]

DAY, WEEK = 24, 168
"""Hours."""
WINDOW = 4 * WEEK
"""Hours that are remembered and decomposed: three repetitions of the week, at 2.7 KB a series."""
YOUNG_WINDOW = WEEK
"""Hours that are decomposed, by the day alone, until there is a whole week."""

BY_WEEK = (Season(DAY, window=15, degree=0, trend=73, trend_degree=0), Season(WEEK, 15, 0, 201, 0))
"""Locally constant: what is wanted is the next hour, and after a step a line would point beyond the new level."""
BY_DAY = (Season(DAY, window=7, degree=0),)
"""Here the trend is a short line: before a whole week was seen it has to follow into the weekend."""

ENOUGH_WEEK, ENOUGH_DAY = WEEK, 2 * DAY
"""Hours since the first sample from which there is an expectation, by the day and the week or by the day alone."""
TRUSTED = 2 * WEEK
"""Hours since the first sample from which samples are pulled in: before, what looks like an outlier may be normal."""
SAMPLED = 0.75
"""Part of these hours that must have had a sample: what stands in for the others is a copy and no evidence."""
YOUNGEST = 3 * DAY
"""Hours since the first sample before which it cannot say: the third day tells how far off the first two were."""
SCALE_START = 12
"""Hours with a residual before the scale of the residuals is good enough to say something: its standard error is a
fifth."""
SCALE_FULL = WEEK
"""Hours that the scale remembers."""
OUTLIER = 3.0
"""Scales: how far out a sample is pulled in before it is learned, and an hour before it moves the scale. A normal
sample is farther out once in 370."""
SCALE_ESCAPE = 0.1
"""A scale can grow at this rate at least, or it would stay at zero after a long constant."""
NORMAL = 1.2533
"""Standard deviation over mean absolute deviation of a normal distribution: the square root of half pi."""
ROUNDING = 2.0**-22
"""Of an expected value: hours are kept in float32, so two steps of the last digit mean nothing."""
TILE = 64
"""Series that are multiplied at a time: their products stay in the processor's cache."""


class Stl(StatefulDetector):
    """Residual of a seasonal-trend decomposition (STL by day and week), in standard deviations of the residual.

    The hourly means of the last four weeks are split into a trend, a daily season and a weekly season. What is
    expected is the newest trend plus both seasons of this hour; within the hour the interval takes in the way
    from the hour before to the hour after, so that a ramp is not a row of steps. Whatever was expected, the
    hours then tell how far off it was: that is the scale. Without Cleveland's robustness weights the
    decomposition is a linear map, the same for all series; samples further out than three scales are pulled in
    before the map instead. Hours follow the local clock: when it is set back, one hour is twice as long, and when
    it is set forward one is missing. Hours without a sample repeat the same hour of a week (or a day) earlier.

    Says nothing for three days, and knows of days only for the first week: the first weekend surprises it. From then
    on what there is stands for the four weeks; after two weeks outliers are pulled in.
    Fails on shapes within an hour, on noise that is much wider at some hours than at others (there is one scale
    a series), and on seasons that are neither a day nor a week. A level that moved is followed in three to ten days,
    the later the steadier the series was; a constant that begins to vary is anomalous for as long. A steady drift is
    followed three days and a half behind.

    Parameters
    ----------
    threshold : float > 0, standard deviations
        Of the residual, estimated from mean absolute deviations of a week. Severity is 1.0 here.

    References
    ----------
    .. [1] R. B. Cleveland, W. S. Cleveland, J. E. McRae, I. Terpenning (1990), STL: A seasonal-trend
       decomposition procedure based on loess. Journal of Official Statistics 6(1).
    .. [2] K. Bandara, R. J. Hyndman, C. Bergmeir (2021), MSTL: A seasonal-trend decomposition algorithm for
       time series with multiple seasonal patterns. arXiv:2107.13462.

    Examples
    --------
    >>> import numpy as np
    >>> from exporter.engine.baseline import BucketStats
    >>> from exporter.engine.detectors.base import DetectorState
    >>> ones = np.ones(1)
    >>> stats = BucketStats(mean=ones, std=ones, q1=ones, q3=ones, weight=ones)
    >>> state = DetectorState(Stl(threshold=3.0))
    >>> state.grow(1)
    >>> for hour in range(4 * 24 + 1):
    ...     value = (10.0 if hour % 24 < 12 else 20.0) + 0.5 * np.sin(hour)
    ...     sample = np.array([[value if hour < 4 * 24 else 20.0]])
    ...     batch = SampleBatch(np.array([3600.0 * hour]), 0, hour, sample, sample > 0, stats, 1e-9 * ones)
    ...     result = state.score(batch, slice(0, 1))
    >>> result.expected.round(), result.above > 1.0  # A value of the evening, at midnight.
    (array([10.]), array([[ True]]))
    """

    warm_up: ClassVar[float] = YOUNGEST * HOUR

    kind: Literal["stl"] = Field("stl", description="Residual of a seasonal-trend decomposition, by day and week.")
    threshold: float = Field(3.0, gt=0, le=100, allow_inf_nan=False, description="Standard deviations of the residual.")

    # An hour is learned when the first sample of a later one comes, before that is judged. That does not depend on how
    # many instants are scored together, because a batch lies in one hour, and what is noted during an hour is not used
    # in it. 2.75 kB a series.
    layout: ClassVar[Mapping[str, Column]] = {
        "hours": Column((WINDOW,), np.float32),  # Hourly means, at the hour modulo WINDOW.
        "age": Column((), np.int16),  # Hours since the first one, up to WINDOW.
        "sampled": Column((), np.int16),  # Those of them that had a sample.
        "ahead": Column((3,), np.float64, np.nan),  # Expected of the hour before, of this one, the one after.
        "scale": Column((), np.float32),  # Standard deviation of the residual, robust.
        "rough": Column((), np.float32),  # The same, not robust.
        "judged": Column((), np.int16),  # Hours that the scale is made of, up to SCALE_FULL.
        "hour": Column((), np.int32, -1),  # The hour that is added up: local time, hours since 1970.
        "count": Column((), np.int32),  # Its samples,
        "total": Column((), np.float64),  # their sum,
        "away": Column((), np.float64),  # and the sum of their absolute residuals.
    }

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series by the hours that have ended, and add them to theirs."""
        state = batch.state
        # The hour of the first instant is that of all; clocks that are set back do not turn the hours back.
        hour = max(int(batch.times[0] // HOUR), int(state["hour"].max(initial=-1)))
        due = ((state["age"] > 0) | (state["count"] > 0)) & (state["hour"] < hour)
        if due.any():
            _learn(state, hour, due)
        state["hour"][...] = hour

        before, now, after = state["ahead"]
        low, high = np.minimum(now, 0.5 * (now + np.fmin(before, after))), 0.5 * (now + np.fmax(before, after))
        high = np.maximum(now, high)
        scale = state["scale"].astype(np.float64)
        reach = self.threshold * scale + ROUNDING * np.abs(now)
        can_say = (state["age"] >= YOUNGEST) & (state["judged"] >= SCALE_START)
        expected = np.where(can_say, now, np.nan)
        result = interval_result(batch, expected, low - reach, high + reach)
        if batch.steps.none:
            return result

        limit = np.where(state["age"] >= TRUSTED, OUTLIER * scale, np.inf)
        lowest, highest = low - limit, high + limit
        noted = (batch.steps.of(values) for values in (batch.times, batch.sample, batch.usable))
        for at, sample, usable in zip(*noted, strict=True):
            half = at % HOUR / HOUR - 0.5
            between = now + abs(half) * ((before if half < 0 else after) - now)
            # A step on the hour is no worse than a ramp: the nearer of the two gives the residual.
            away = np.minimum(np.abs(sample - between), np.abs(sample - now))
            state["count"] += usable
            state["total"] += np.where(usable, np.fmin(np.fmax(sample, lowest), highest), 0.0)
            state["away"] += np.where(usable & np.isfinite(away), away, 0.0)
        return result

    def accept(self, state: State, rows: Rows, by: FloatArray) -> None:
        """Move the hours to the new level."""
        for name in ("hours", "ahead"):
            state[name][:, rows] += by
        for name in ("count", "total", "away"):
            state[name][rows] = 0

    def reason(self, context: ReasonContext) -> str:
        """Say on which side of the expectation the sample is."""
        return f"{context.side} what its trend and its daily and weekly rhythm give"


def _learn(state: State, hour: int, due: BoolArray) -> None:
    """Learn what was noted before `hour` of the series that are `due`, and look ahead."""
    _learn_scale(state, due)
    by_day, by_week = _by_day(state), _by_week(state)
    last, sampled = int(state["hour"][due].max()), state["count"] > 0
    mean = state["total"] / np.maximum(state["count"], 1)
    _put(state, last, due, np.where(sampled, mean, _stand_in(state, last)))
    for missing in range(max(last + 1, hour - WINDOW), hour):
        _put(state, missing, due, _stand_in(state, missing))
    state["sampled"] += (due & sampled & (state["sampled"] < WINDOW)).astype(np.int16)
    for name in ("count", "total", "away"):
        state[name][due] = 0

    # The maps need a full window, so what is there is repeated backward.
    new_day, new_week = _by_day(state) & ~by_day, _by_week(state) & ~by_week
    _repeat(state, hour, new_day, ENOUGH_DAY, YOUNG_WINDOW)
    _repeat(state, hour, new_week, ENOUGH_WEEK, WINDOW)
    # Until now the weekends counted as residuals; a small count lets new hours outweigh them soon.
    state["judged"][new_week] = np.minimum(state["judged"][new_week], SCALE_START)

    by_day, by_week = due & _by_day(state) & ~_by_week(state), due & _by_week(state)
    for rows, count, seasons in ((by_day, YOUNG_WINDOW, BY_DAY), (by_week, WINDOW, BY_WEEK)):
        if rows.any():
            parts = decomposition(count, seasons)
            weights = np.array([parts.ahead(step) for step in (0, 1, 2)])
            np.copyto(state["ahead"], _weighted(weights, state["hours"], hour - count), where=rows)


def _learn_scale(state: State, due: BoolArray) -> None:
    rows = due & (state["count"] > 0) & np.isfinite(state["ahead"][1])
    judged = state["judged"].astype(np.float64)
    scale, rough = state["scale"].astype(np.float64), state["rough"].astype(np.float64)
    newest = NORMAL * state["away"] / np.maximum(state["count"], 1)
    share = 1.0 / np.minimum(judged + 1.0, SCALE_FULL)
    rough += share * (newest - rough)
    limit = np.where(judged < SCALE_START, np.inf, OUTLIER * np.maximum(scale, SCALE_ESCAPE * rough))
    scale += share * (np.minimum(newest, limit) - scale)
    np.copyto(state["rough"], rough, where=rows, casting="same_kind")
    np.copyto(state["scale"], scale, where=rows, casting="same_kind")
    state["judged"] += (rows & (judged < SCALE_FULL)).astype(np.int16)


def _by_day(state: State) -> BoolArray:
    enough: BoolArray = (state["age"] >= ENOUGH_DAY) & (state["sampled"] >= SAMPLED * ENOUGH_DAY)
    return enough


def _by_week(state: State) -> BoolArray:
    enough: BoolArray = (state["age"] >= ENOUGH_WEEK) & (state["sampled"] >= SAMPLED * ENOUGH_WEEK)
    return enough


def _put(state: State, hour: int, due: BoolArray, value: FloatArray) -> None:
    np.copyto(state["hours"][hour % WINDOW], value, where=due, casting="same_kind")
    state["age"] += (due & (state["age"] < WINDOW)).astype(np.int16)


def _stand_in(state: State, hour: int) -> FloatArray:
    """Return what stands in for an hour without a sample, shape (n,)."""
    week, day, last = (state["hours"][(hour - behind) % WINDOW] for behind in (WEEK, DAY, 1))
    value: FloatArray = np.where(state["age"] >= WEEK, week, np.where(state["age"] >= DAY, day, last))
    return value


def _repeat(state: State, hour: int, rows: BoolArray, period: int, window: int) -> None:
    """Fill the hours of the window before the first one with those one period later."""
    if rows.any():
        for behind in range(period + 1, window + 1):
            source, target = state["hours"][(hour - behind + period) % WINDOW], state["hours"][(hour - behind) % WINDOW]
            np.copyto(target, source, where=rows & (state["age"] < behind))


def _weighted(weights: FloatArray, hours: npt.NDArray[np.float32], start: int) -> FloatArray:
    """Add up the hours from `start` on with some weights.

    A matrix product whose order of summation is fixed. BLAS and einsum have another one for each shape and place
    in it, and a series alone must give the same bits as among many.

    Parameters
    ----------
    weights : ndarray of float64, shape (k, count)
    hours : ndarray of float32, shape (WINDOW, n)
        At the hour modulo WINDOW.

    Returns
    -------
    ndarray of float64, shape (k, n)
    """
    count = weights.shape[1]
    slots = np.arange(start, start + count) % WINDOW
    sums = np.empty((len(weights), hours.shape[1]))
    room = np.empty((len(weights), count, min(TILE, hours.shape[1])))
    for first in range(0, hours.shape[1], TILE):
        tile = hours[slots, first : first + TILE].astype(np.float64)
        terms = room[:, :, : tile.shape[1]]
        np.multiply(weights[:, :, None], tile, out=terms)
        left = count
        while left % 2 == 0:
            left //= 2
            terms[:, :left] += terms[:, left : 2 * left]
        for index in range(1, left):
            terms[:, 0] += terms[:, index]
        sums[:, first : first + TILE] = terms[:, 0]
    return sums
