"""The data of the charts of one series, read from its history."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.charts.tasks import DAY, WEEK, ForecastTask, decompose, forecast
from exporter.config.engine_settings import engine_settings
from exporter.views.history import ChartSubject, ScoredSamples, SeriesHistory, SeriesSamples
from exporter.web.pages.models import Chart, ChartPart, DisplayError, TimeRange

__all__ = ["chart_data"]

FloatArray = npt.NDArray[np.float64]

_POINTS = 720
"""Of a line: about the width of a chart."""
_HOUR = 3600.0
_FINE = 300.0
"""Seconds between the samples that hourly means are made of."""
_FULL, _LEAST = 4 * WEEK, 2 * WEEK + 1
"""Hours that a decomposition has, and has at least: MSTL has to see a week more than twice."""
_COVERED = 0.8
"""Share of these hours that must have samples."""
_DECIDED = "Band, score and votes are what was decided at the time"
_SCRAPED = ", in part as Prometheus scraped it from this exporter"
_ANEW = "judged anew from history, without silences and events: hatched, with hollow points"

Run = Callable[..., Any]
"""Calls a function of `exporter.charts.tasks` with its argument, in this or another process."""


def chart_data(
    history: SeriesHistory,
    subject: ChartSubject,
    within: TimeRange,
    part: ChartPart,
    run: Run,
    now: float = math.inf,
    *,
    anew: bool = True,
) -> Chart:
    """Read the data of a chart.

    Parameters
    ----------
    run : callable
        Calls `decompose` or `forecast`, in this or another process.
    now : float, Unix seconds
        A range that ends there is gone on with by forecasts, where the query has some.
    anew : bool
        Whether to judge anew what was not judged at the time, and to look ahead, which take a while.

    Raises
    ------
    DisplayError
        Prometheus does not answer, or there is too little to draw.
    """
    if part is ChartPart.DECOMPOSITION:
        return _decomposition(history, subject, within, run)
    if part is ChartPart.WEEKS:
        return _weeks(history, subject, within)
    chart = _band(history, subject, within, anew=anew)
    forecasts = subject.plan.forecast
    if forecasts is None or not now - within.end < subject.plan.interval + 1.0:
        return chart
    if not anew:
        return replace(chart, partial=True)
    ahead = min(max(forecasts.horizons), within.length)
    return _with_forecast(chart, history, subject, ahead, run)


def _band(history: SeriesHistory, subject: ChartSubject, within: TimeRange, *, anew: bool) -> Chart:
    start, end, step = _grid(subject, within)
    scored = history.scored(subject, start, end, step, anew=anew)
    _require_samples(np.concatenate([scored.lines["observed"], scored.lines["score"]]))
    chart = _chart(subject, ChartPart.BAND, scored.times, scored.lines, source=_source(scored, subject), step=step)
    # Of several slots between two instants the worst is shown, wherever it lies between them.
    gaps = (1.5 if step == subject.plan.interval else 2.5) * step
    return replace(
        chart,
        quorum=subject.plan.detection.quorum,
        anew=scored.anew,
        severities=scored.severities,
        gaps=gaps,
        partial=scored.partial,
    )


def _source(scored: ScoredSamples, subject: ChartSubject) -> str:
    """Say where the verdicts come from."""
    decided = _DECIDED + (_SCRAPED if scored.scraped else "")
    if scored.partial and not np.isfinite(scored.lines["score"]).any():
        return "Band, score and votes are being judged anew from history ..."
    if scored.partial:
        return f"{decided}; what is older is being judged anew ..."
    if not scored.anew.any():
        return f"{decided}."
    if scored.anew.all():
        return f"Band, score and votes are {_ANEW}."
    since = datetime.fromtimestamp(float(scored.times[~scored.anew][0]), ZoneInfo(subject.plan.zone))
    return f"{decided}; before {since:%Y-%m-%d %H:%M} they are {_ANEW}."


def _with_forecast(chart: Chart, history: SeriesHistory, subject: ChartSubject, ahead: float, run: Run) -> Chart:
    """Return the chart with forecasts after its end, of what history says; they are those of the daemon."""
    end, plan = float(chart.times[-1]), subject.plan
    step = max(_FINE, plan.cadence)
    samples = history.samples(subject, end - _FULL * _HOUR, end, step)
    steps = max(2, min(_POINTS // 4, math.floor(ahead / step)))
    seconds = np.linspace(ahead / steps, ahead, steps)
    lines = run(forecast, ForecastTask(engine_settings(plan), samples.times, samples.values, step, seconds))
    past = {name: np.concatenate([line, np.full(steps, np.nan)]) for name, line in chart.lines.items()}
    coming = {name: np.concatenate([np.full(len(chart.times), np.nan), line]) for name, line in lines.items()}
    limit = None if plan.forecast is None or plan.forecast.limit is None else plan.forecast.limit.value
    times = np.concatenate([chart.times, end + seconds])
    return replace(
        chart,
        times=times,
        lines={**past, **coming},
        limit=limit,
        gaps=max(chart.gaps, 1.5 * ahead / steps),
        anew=None if chart.anew is None else np.concatenate([chart.anew, np.zeros(steps, np.bool_)]),
        severities={name: np.concatenate([line, np.full(steps, np.nan)]) for name, line in chart.severities.items()},
    )


def _weeks(history: SeriesHistory, subject: ChartSubject, within: TimeRange) -> Chart:
    start, end, step = _grid(subject, within)
    zone = ZoneInfo(subject.plan.zone)
    lines: dict[str, FloatArray] = {}
    times = np.zeros(0)
    for weeks in (4, 3, 2, 1, 0):
        shift = start - _weeks_before(start, weeks, zone)
        samples = history.samples(subject, start - shift, end - shift, step)
        # A change of the clocks within the range moves what is after it by an hour; the hours before it stay right.
        name = f"−{weeks} w" if weeks else "now"  # noqa: RUF001 - a minus.
        times, lines[name] = samples.times + shift, samples.values
    _require_samples(np.concatenate(list(lines.values())))
    return _chart(subject, ChartPart.WEEKS, times, lines, step=step)


def _decomposition(history: SeriesHistory, subject: ChartSubject, within: TimeRange, run: Run) -> Chart:
    end = within.end // _HOUR * _HOUR
    samples = history.samples(subject, end - _FULL * _HOUR, end - _FINE, _FINE)
    hours = _hourly(samples, end)
    # All of the history that there is, up to four weeks.
    count = _FULL - int(np.argmax(~np.isnan(hours))) if np.isfinite(hours).any() else 0
    if count < _LEAST or np.count_nonzero(~np.isnan(hours[-count:])) < _COVERED * count:
        days = np.count_nonzero(~np.isnan(hours)) / DAY
        message = f"a decomposition needs two weeks of history; there are {days:.0f} days of the last four weeks"
        raise DisplayError(message, 404)
    hours = hours[-count:]
    indices, present = np.arange(count), ~np.isnan(hours)
    trend, daily, weekly, residual = run(decompose, np.interp(indices, indices[present], hours[present]))
    lines = {
        "observed, hourly mean": hours,
        "trend": trend,
        "daily": daily,
        "weekly": weekly,
        "residual": np.where(present, residual, np.nan),
    }
    gaps = count - np.count_nonzero(present)
    source = f"Hourly means of {count / DAY:.0f} days up to the end of the chart, split by robust MSTL."
    if gaps:
        source += f" {gaps} of {count} hours have no samples: the decomposition interpolates them."
    times = end - count * _HOUR + _HOUR * (indices.astype(np.float64) + 0.5)
    return _chart(subject, ChartPart.DECOMPOSITION, times, lines, source=source, step=_HOUR)


def _chart(
    subject: ChartSubject,
    part: ChartPart,
    times: FloatArray,
    lines: dict[str, FloatArray],
    *,
    source: str = "",
    step: float,
) -> Chart:
    named = dict(subject.labels)
    metric = named.pop("__name__", "")
    labels = " ".join([metric, *(f"{name}={value}" for name, value in named.items())]).strip()
    plan = subject.plan
    return Chart(part, plan.name, labels, plan.zone, times, lines, source=source, unit=plan.unit, gaps=1.5 * step)


def _grid(subject: ChartSubject, within: TimeRange) -> tuple[float, float, float]:
    """Return start, end and step of a line: slots of the query, at most as many as a chart is wide."""
    interval = subject.plan.interval
    every = max(1.0, np.ceil((within.end - within.start) / _POINTS / interval))
    step = float(every * interval)
    # The grid ends at the newest slot, the most interesting sample.
    end = within.end // subject.plan.interval * subject.plan.interval
    points = max(2, int((end - within.start) / step) + 1)
    return end - (points - 1) * step, end, step


def _weeks_before(at: float, weeks: int, zone: ZoneInfo) -> float:
    """Return the instant some weeks earlier by the wall clock of a zone.

    >>> _weeks_before(1774774800.0, 1, ZoneInfo("Europe/Berlin"))  # the clocks went on in between
    1774173600.0
    """
    return (datetime.fromtimestamp(at, zone) - timedelta(weeks=weeks)).timestamp()


def _hourly(samples: SeriesSamples, end: float) -> FloatArray:
    """Return the mean of each of the last hours before `end`, shape (672,)."""
    hour = np.floor((samples.times - end) / _HOUR).astype(np.intp) + _FULL
    valid = np.isfinite(samples.values) & (hour >= 0) & (hour < _FULL)
    count = np.bincount(hour[valid], minlength=_FULL)
    total = np.bincount(hour[valid], weights=samples.values[valid], minlength=_FULL)
    means: FloatArray = np.divide(total, count, out=np.full(_FULL, np.nan), where=count > 0)
    return means


def _require_samples(values: FloatArray) -> None:
    if not np.isfinite(values).any():
        raise DisplayError("Prometheus has no samples of this series in this range")
