"""Computations behind the charts, for a worker process: replay of history, and decomposition."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.forecast.forecasts import Forecasts
from exporter.engine.forecast.settings import ForecastSettings

__all__ = ["DAY", "TRAINING_STEP", "WEEK", "ForecastTask", "ReplayTask", "decompose", "forecast", "preload", "replay"]

FloatArray = npt.NDArray[np.float64]

TRAINING_STEP = 1800.0
"""Seconds between the samples that an engine learns before the range of a chart."""
DAY, WEEK = 24, 168
_CACHED = 16
"""Trained engines that are kept: another chart of the same series is quicker."""
_JUMP = 5
"""Hours between two loess fits of trend and low-pass, interpolated linearly in between, as R's stl does.

With 1 the decomposition of four weeks takes 2.1 s, with 5 it takes 0.5 s; the trend differs by 2 % of a step in level.
"""

_OUTLIER = 6 * 1.4826
"""Median absolute deviations from where an hour is an outlier: six standard deviations of normal noise."""

_engines: dict[tuple[object, ...], tuple[EngineSettings, Engine]] = {}
"""Of this process, which does nothing else: one caller at a time."""


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """Samples of one series to be scored, and its history. Arrays of shape (t,), NaN = no sample.

    Attributes
    ----------
    source : str
        URL of the Prometheus that the samples come from.
    series : bytes
        Its label set as a JSON object.
    trained_until : float, Unix seconds
        The end of the first part of the history: the same for many ranges, so the engine trained on it is kept.
    first, then : pair of ndarray
        Times and values up to `trained_until`, and from there to the range.
    times, values : ndarray
        The range.
    step : float, seconds
    """

    settings: EngineSettings
    source: str
    series: bytes
    trained_until: float
    first: tuple[FloatArray, FloatArray]
    then: tuple[FloatArray, FloatArray]
    times: FloatArray
    values: FloatArray
    step: float


def replay(task: ReplayTask) -> dict[str, FloatArray]:
    """Train an engine on the history and score the samples, each by what came before it.

    Returns
    -------
    dict of ndarray, shape (t,)
        `expected`, `lower`, `upper`, `score` and `votes` of every sample; NaN = absent.
    """
    settings = replace(task.settings, max_series=1, cadence=TRAINING_STEP, forecast=None)
    key = (task.source, task.series, task.trained_until)
    cached = _engines.get(key)
    if cached is None or cached[0] != settings:
        engine = Engine(settings)
        engine.align([task.series], np.full(1, np.nan), float(task.first[0][0]))
        engine.run(task.first[0], task.first[1][:, None], TRAINING_STEP)
        cached = _engines[key] = settings, engine
        while len(_engines) > _CACHED:
            del _engines[next(iter(_engines))]
    # The cached engine stays as it is.
    engine = copy.deepcopy(cached[1])
    if len(task.then[0]):
        engine.run(task.then[0], task.then[1][:, None], TRAINING_STEP)
    verdict = engine.run(task.times, task.values[:, None], task.step)
    names = ("expected", "lower", "upper", "score", "votes")
    return {name: getattr(verdict, name)[:, 0].copy() for name in names}


@dataclass(frozen=True, slots=True)
class ForecastTask:
    """Samples of one series, and how far ahead of the newest it is forecast.

    Attributes
    ----------
    times, values : ndarray, shape (t,)
    step : float, seconds
        Between samples.
    ahead : ndarray, shape (h,), seconds
        After the last of `times`.
    """

    settings: EngineSettings
    times: FloatArray
    values: FloatArray
    step: float
    ahead: FloatArray


def forecast(task: ForecastTask) -> dict[str, FloatArray]:
    """Return `forecast`, `forecast_lower` and `forecast_upper`, shape (h,), source units; NaN = none."""
    settings = task.settings
    made = Forecasts(settings.forecast or ForecastSettings(), settings.zone, task.step, settings.valid_range)
    made.grow(1)
    with np.errstate(all="ignore"):
        made.note(task.times, task.values[:, None])
        made.make(1)
        lower, middle, upper = made.curve(0, task.ahead)
    return {"forecast": middle, "forecast_lower": lower, "forecast_upper": upper}


def decompose(hours: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return trend, daily season, weekly season and residual by robust MSTL; they add up to the input.

    Robust: an outage or a spike stays in the residual instead of bending the seasons.

    Parameters
    ----------
    hours : ndarray of float64, shape (t,)
        Hourly means without gaps, more than two weeks: MSTL drops a season that it does not see more than twice.
        Four weeks take half a second.

    References
    ----------
    K. Bandara, R. J. Hyndman, C. Bergmeir (2021), MSTL: A seasonal-trend decomposition algorithm for time series with
    multiple seasonal patterns. arXiv:2107.13462.
    """
    from statsmodels.tsa.seasonal import MSTL  # Slow to import.

    # Locally constant seasons: a line through four weeks follows their noise.
    stl = {"robust": True, "seasonal_deg": 0, "trend_jump": _JUMP, "low_pass_jump": _JUMP}
    parts = MSTL(_winsorized(hours), periods=(DAY, WEEK), stl_kwargs=stl).fit()
    daily, weekly = parts.seasonal.T
    return parts.trend, daily, weekly, hours - parts.trend - daily - weekly


def _winsorized(hours: FloatArray) -> FloatArray:
    """Pull in outliers to six scaled deviations from the median of their hour of the week.

    Four weeks have four values of each hour of the week. One far outlier among them would take the robustness weight of
    all four, and STL then keeps the values as they are: the outlier would be the weekly season.
    """
    from scipy.ndimage import median_filter

    level = median_filter(hours, WEEK + 1)
    hour_of_week = np.arange(len(hours)) % WEEK
    profile = np.array([np.median((hours - level)[hour::WEEK]) for hour in range(WEEK)])
    expected = level + profile[hour_of_week]
    limit = _OUTLIER * np.median(np.abs(hours - expected))
    winsorized: FloatArray = expected + np.clip(hours - expected, -limit, limit)
    return winsorized


def preload() -> None:
    """Do nothing: the call alone starts the process and imports the engine."""
