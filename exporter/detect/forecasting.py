"""Forecasts of recorded samples, from the newest of each series on, as CSV or JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.detect.recorded_series import RecordedSeries, format_labels
from exporter.engine.forecast.forecast import LEVELS
from exporter.engine.forecast.forecasts import Forecasts
from exporter.engine.forecast.settings import ForecastSettings
from exporter.engine.settings import EngineSettings
from exporter.hidden_text import escape_hidden_json
from exporter.json_numbers import number_or_infinity
from exporter.settings import format_duration

__all__ = ["SeriesForecast", "forecast_series", "forecasts_to_csv", "forecasts_to_json"]

FloatArray = npt.NDArray[np.float64]

_COLUMNS = ("timestamp", "forecast_value", "forecast_value_lower", "forecast_value_upper")
_QUANTILES = (0.1, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class SeriesForecast:
    """The forecast of a series after its newest sample. Arrays of shape (h,), source units; NaN = none.

    Attributes
    ----------
    times : ndarray, Unix seconds
    value, lower, upper : ndarray
        The band holds four values of five.
    to_limit : ndarray of shape (5,), seconds, optional
        Until the limit is reached, at the probabilities `LEVELS`; inf = not within 30 days.
    probability : float, optional
        That it is reached within the time that alerts.
    """

    series: RecordedSeries
    times: FloatArray
    value: FloatArray
    lower: FloatArray
    upper: FloatArray
    to_limit: FloatArray | None = None
    probability: float | None = None


def forecast_series(
    series: Sequence[RecordedSeries], settings: EngineSettings, step: float, ahead: float
) -> list[SeriesForecast]:
    """Forecast every series for `ahead` seconds in steps of `step` seconds, each from its newest sample on."""
    forecast = settings.forecast or ForecastSettings()
    return [_forecast(each, replace(settings, forecast=forecast), step, ahead) for each in series]


def _forecast(series: RecordedSeries, settings: EngineSettings, step: float, ahead: float) -> SeriesForecast:
    assert settings.forecast is not None  # noqa: S101 - given above.
    made = Forecasts(settings.forecast, settings.zone, step, settings.valid_range)
    made.grow(1)
    present = np.isfinite(series.values)
    newest = float(series.times[present][-1]) if present.any() else float(series.times[-1])
    seconds = step * np.arange(1.0, math.floor(ahead / step) + 1.0)
    with np.errstate(all="ignore"):
        made.note(series.times[present], series.values[present][:, None])
        result = made.make(1)
        lower, value, upper = made.curve(0, seconds)
    return SeriesForecast(
        series,
        newest + seconds,
        value,
        lower,
        upper,
        None if result.times is None else result.times[:, 0],
        None if result.probability is None else float(result.probability[0]),
    )


def forecasts_to_csv(forecasts: Sequence[SeriesForecast]) -> bytes:
    """Write a row for each instant, series by series; an empty field is absent.

    With several series, the first column is ``series``, written as PromQL does.
    """
    several = len(forecasts) > 1
    lines = [",".join(("series", *_COLUMNS) if several else _COLUMNS)]
    for each in forecasts:
        name = format_labels(each.series.labels).replace('"', '""')
        begin = f'"{name}",' if several else ""
        rows = zip(each.times.tolist(), each.value.tolist(), each.lower.tolist(), each.upper.tolist(), strict=True)
        lines += [f"{begin}{at:.15g},{_field(value)},{_field(low)},{_field(high)}" for at, value, low, high in rows]
    return "\n".join([*lines, ""]).encode()


def forecasts_to_json(forecasts: Sequence[SeriesForecast], settings: EngineSettings) -> bytes:
    """Write the forecasts, and when the limit is reached; of several series as a list, `results`."""
    answers = [_answer(each, settings) for each in forecasts]
    answer = answers[0] if len(answers) == 1 else {"results": answers}
    return escape_hidden_json(msgspec.json.format(msgspec.json.encode(answer), indent=2)) + b"\n"


def _answer(forecast: SeriesForecast, settings: EngineSettings) -> dict[str, Any]:
    columns = (forecast.times, forecast.value, forecast.lower, forecast.upper)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    answer: dict[str, Any] = {
        "series": dict(sorted(forecast.series.labels.items())),
        "forecast": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
    }
    limit = None if settings.forecast is None else settings.forecast.limit
    if limit is not None and forecast.to_limit is not None:
        answer["limit"] = {"above" if limit.above is not None else "below": limit.value}
        answer["time_to_limit_seconds"] = {
            f"{level:g}": number_or_infinity(float(forecast.to_limit[LEVELS.tolist().index(level)]))
            for level in _QUANTILES
        }
        answer["limit_probability"] = {
            "within": format_duration(limit.within),
            "probability": number_or_infinity(math.nan if forecast.probability is None else forecast.probability),
        }
    return answer


def _field(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.9g}"
