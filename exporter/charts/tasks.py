"""What is computed for a chart, in a process of its own: judging the past again, and decomposing it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors import stl_map
from exporter.engine.engine import Engine, EngineSettings

__all__ = ["DAY", "LEARNED_STEP", "WEEK", "Again", "Opinion", "decompose", "judge_again", "prepare"]

FloatArray = npt.NDArray[np.float64]

LEARNED_STEP = 1800.0
"""Seconds between the samples that are learned before a range is judged."""
DAY, WEEK = 24, 168
_SEASONS = (stl_map.Season(DAY, 7), stl_map.Season(WEEK, 7))
_KEPT = 16
"""So many engines are kept as they were at a fixed instant: another chart of a series is quicker."""

_engines: dict[tuple[object, ...], tuple[EngineSettings, Engine]] = {}
"""Of this process, which does nothing else: one caller at a time."""


@dataclass(frozen=True, slots=True)
class Again:
    """Samples of one series that are to be judged, and what came before them. Arrays of shape (t,), NaN = no sample.

    Attributes
    ----------
    settings : EngineSettings
    series : bytes
        Its label set as a JSON object.
    fixed : float, Unix seconds
        The end of the first part that is learned: the same for many ranges.
    first, then : pair of ndarray
        Times and values up to `fixed`, and from there to the range.
    times, values : ndarray
        The range.
    step : float, seconds
    """

    settings: EngineSettings
    source: str
    series: bytes
    fixed: float
    first: tuple[FloatArray, FloatArray]
    then: tuple[FloatArray, FloatArray]
    times: FloatArray
    values: FloatArray
    step: float


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is said of every sample of a range, shape (t,); NaN = absent."""

    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    score: FloatArray
    votes: FloatArray


def judge_again(task: Again) -> Opinion:
    """Let an engine of its own learn what came before and judge the samples, each by what came before it."""
    settings = replace(task.settings, max_series=1, cadence=LEARNED_STEP)
    key = (task.source, task.series, task.fixed)
    known = _engines.get(key)
    if known is None or known[0] != settings:
        engine = Engine(settings)
        engine.align([task.series], np.full(1, np.nan), float(task.first[0][0]))
        engine.run(task.first[0], task.first[1][:, None], LEARNED_STEP)
        known = _engines[key] = settings, engine
        while len(_engines) > _KEPT:
            del _engines[next(iter(_engines))]
    # Nothing is ever learned by the one that is kept.
    engine = copy.deepcopy(known[1])
    if len(task.then[0]):
        engine.run(task.then[0], task.then[1][:, None], LEARNED_STEP)
    said = engine.run(task.times, task.values[:, None], task.step)
    columns = (said.expected, said.lower, said.upper, said.score, said.votes)
    return Opinion(*(column[:, 0].copy() for column in columns))


def decompose(window: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return trend, daily season, weekly season and residual of hourly means without gaps; all of one shape."""
    trend, (daily, weekly), residual = stl_map.decompose(window, _SEASONS)
    return trend, daily, weekly, residual


def prepare() -> None:
    """Do what the first chart would have to wait for: whoever calls this has imported the engine."""
