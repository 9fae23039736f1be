"""The band of each series at every hour of the week, and how rules with it would differ from the exporter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.config.engine_settings import engine_settings
from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.engine.replay import Replay, lasting
from exporter.engine.seconds import DAY, HOUR, WEEK

__all__ = ["HOURS", "Comparison", "Profile", "profile_of"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

HOURS = 168
_WIDTHS = (3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0)
"""Standard deviations of an hour that half the band may be."""
_COMPARED = 0.3
"""Part of the history, the newest, that is not in the profile that is compared."""
_MIN_DAYS = 3.0
"""Of history before anything is said of an hour."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What rules and exporter would have done in a time that neither had seen.

    Attributes
    ----------
    days : float
    exporter, rules, both : int
        Alerts of the exporter, of the rules, and those of the exporter during which the rules alert as well.
    """

    days: float
    exporter: int
    rules: int
    both: int


@dataclass(frozen=True, slots=True)
class Profile:
    """The band of the series of one query.

    Attributes
    ----------
    labels : sequence of dict
        Of each series.
    lower, upper : ndarray of float64, shape (n, 168)
        By hour of the week in UTC, from Thursday 00:00 (as Unix time counts weeks); source units, NaN = not known,
        infinite = no such edge.
    at : float, Unix seconds
        The newest sample that is in it.
    width : float
        Half the width of the band, in standard deviations of the hour.
    comparison : Comparison or None
        None where there is too little history to compare.
    """

    plan: QueryPlan
    labels: Sequence[dict[str, str]]
    lower: FloatArray
    upper: FloatArray
    at: float
    width: float
    comparison: Comparison | None


def profile_of(
    plan: QueryPlan, labels: Sequence[dict[str, str]], values: npt.NDArray[np.float32], *, end: float, step: float
) -> Profile | None:
    """Learn a history, and return the bands that follow from it; None where there is less than three days.

    The band is as narrow as it can be without more alerts than the exporter itself would have had in the newest part
    of the history, by a profile of the part before.

    Parameters
    ----------
    labels : sequence of dict, length n
    values : ndarray of float32, shape (t, n)
        Source units; NaN = no sample.
    end, step : float, seconds
        Instant of the last row, and how far rows are apart.
    """
    present = np.flatnonzero(~np.isnan(values).all(axis=1))
    if not len(present) or (len(values) - present[0]) * step < _MIN_DAYS * DAY:
        return None
    samples = values[present[0] :].astype(np.float64)
    history = Replay(engine_settings(plan), samples, end=end, step=step)
    half = int(len(samples) * (1.0 - _COMPARED))
    half = half if half * step >= _MIN_DAYS * DAY else len(samples)
    for _ in history.run(0, half):
        pass
    earlier = _hours(history.engine, float(history.times[half - 1]))
    alertable = [(verdicts.score >= 0.5) & verdicts.ready for verdicts in history.run(half)]
    width, comparison = _WIDTHS[0], None
    if half < len(samples):
        needed = math.ceil((0.0 if plan.alert is None else plan.alert.for_) / step) + 1
        mine = lasting(np.concatenate(alertable), needed)
        width, comparison = _compared(plan, earlier, history.times[half:], samples[half:], mine, needed)
    lower, upper = _band(plan, *_hours(history.engine, end), width)
    return Profile(plan, labels, lower, upper, end, width, comparison)


def _hours(engine: Engine, at: float) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of the 168 hours after an instant, shape (n, 168)."""
    rows = np.arange(engine.table.size)
    mean, std = np.full((2, len(rows), HOURS), np.nan)
    for hour in range(HOURS):
        middle = (math.floor(at / HOUR) + hour + 0.5) * HOUR
        summary = engine.bucket_summary(rows, middle)
        mean[:, _hour_of(middle)], std[:, _hour_of(middle)] = summary.mean, summary.std
    return mean, std


def _hour_of(at: float) -> int:
    return int(at % WEEK // HOUR)


def _band(plan: QueryPlan, mean: FloatArray, std: FloatArray, width: float) -> tuple[FloatArray, FloatArray]:
    """Return both edges, shape (n, 168), by the settings of the query."""
    least = np.fmax(plan.min_deviation, plan.min_relative_deviation * np.abs(mean))
    half = np.fmax(width * std, least)
    # A value that never changed has a band without a width, in which it lies in spite of rounding.
    half = np.fmax(half, 1e-6 * np.abs(mean))
    lower = np.full_like(mean, -np.inf) if plan.direction == "above" else mean - half
    upper = np.full_like(mean, np.inf) if plan.direction == "below" else mean + half
    return np.where(np.isnan(mean), np.nan, lower), np.where(np.isnan(mean), np.nan, upper)


def _compared(
    plan: QueryPlan,
    hours: tuple[FloatArray, FloatArray],
    times: FloatArray,
    samples: FloatArray,
    mine: BoolArray,
    needed: int,
) -> tuple[float, Comparison]:
    """Return the narrowest band that alerts no more often than the exporter, and what it would have done.

    `mine` is where the exporter alerts, shape (t, n), and `needed` how many samples in a row make an alert.
    """
    index = (times % WEEK // HOUR).astype(np.intp)
    for width in _WIDTHS:
        lower, upper = _band(plan, *hours, width)
        rules = lasting((samples < lower[:, index].T) | (samples > upper[:, index].T), needed)
        counts = _begun(mine), _begun(rules), _met(mine, rules)
        if counts[1] <= counts[0] or width == _WIDTHS[-1]:
            break
    return width, Comparison(len(times) * (times[-1] - times[0]) / max(len(times) - 1, 1) / DAY, *counts)


def _begun(alerting: BoolArray) -> int:
    """Return how many runs there are in all columns."""
    return int(np.count_nonzero(alerting[1:] & ~alerting[:-1]) + np.count_nonzero(alerting[:1]))


def _met(mine: BoolArray, theirs: BoolArray) -> int:
    """Return during how many runs of the one there is one of the other in the same column."""
    number = np.cumsum(mine & ~np.concatenate([np.zeros_like(mine[:1]), mine[:-1]]), axis=0)
    column = np.broadcast_to(np.arange(mine.shape[1]), mine.shape)
    here = mine & theirs
    return len(np.unique(np.stack([number[here], column[here]]), axis=1).T)
