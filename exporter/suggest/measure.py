"""What proposed queries would be like: series, season, noise, alerts a week, and cost, from their own history.

The series of all queries go through one engine together, because a few thousand instants of one series cost nearly as
much as those of a hundred. What is of a query (direction, smallest deviation) is applied to the verdicts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.config.engine_settings import engine_settings
from exporter.config.plan import QueryPlan
from exporter.engine.engine import Engine
from exporter.engine.poisson import poisson_interval
from exporter.engine.replay import Replay
from exporter.engine.season import SEASONS, UNKNOWN
from exporter.engine.seconds import DAY, WEEK
from exporter.engine.verdict import Verdicts
from exporter.errors import PrometheusError
from exporter.prometheus import PrometheusApi
from exporter.worker_pool import WorkerPool

__all__ = ["STEP", "History", "Measurement", "measure", "read"]

FloatArray = npt.NDArray[np.float64]

MOST_SERIES = 300
"""Series whose history is read: of a larger query only the newest sample is asked for."""
MOST_SAMPLES = 2_000_000
"""Samples of one query that are read; with more series the history is shorter."""
_PART = 200
"""Series that go through one engine: with more, an instant costs as much as several times fewer."""
STEP = 300.0
"""Seconds between samples of history: as the daemon learns."""
_TIMEOUT = 60.0
_GAP = 600.0
"""Seconds: where the server or a target was away until just now, a rate has no series for some minutes."""
_MIN_DAYS = 3.0
_MIN_WEEKS = 0.5
"""Weeks in which a replay could have alerted, below which a rate of alerts is not worth saying."""


@dataclass(frozen=True, slots=True)
class History:
    """What a server answered about a query.

    Attributes
    ----------
    plan : QueryPlan
    series : int
        Of the newest answer.
    seconds : float
        The time that the server took for one evaluation.
    values : ndarray of float32, shape (t, n)
        Samples every `STEP` seconds, the last one newest; without rows where no history was read.
    trouble : str
        Why there is no history; empty where there is.
    keys : sequence of bytes, length n
        The label sets as JSON objects.
    """

    plan: QueryPlan
    series: int
    seconds: float
    values: npt.NDArray[np.float32]
    trouble: str = ""
    keys: Sequence[bytes] = ()

    @classmethod
    def none(cls, plan: QueryPlan, trouble: str) -> History:
        """Return that there is no history, and why."""
        return cls(plan, 0, 0.0, np.zeros((0, 0), np.float32), trouble)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was seen of a query.

    Attributes
    ----------
    series : int
    seconds : float
        The time that the server took for one evaluation.
    days : float
        Of history that was replayed; 0 where none was.
    season : str
        The season of most series; ``unknown`` with less than two weeks.
    noise : float
        Median over the series of the standard deviation of what the season leaves; NaN where unknown.
    level : float
        Median of the absolute values; NaN where unknown.
    alerts, weeks : float
        Alerts that the replay had, and the weeks in which it could have had any.
    engine_seconds : float
        Processor time of the exporter for one evaluation.
    trouble : str
        Why there is less than that; empty where there is not.
    """

    series: int = 0
    seconds: float = 0.0
    days: float = 0.0
    season: str = SEASONS[UNKNOWN]
    noise: float = math.nan
    level: float = math.nan
    alerts: float = 0.0
    weeks: float = 0.0
    engine_seconds: float = 0.0
    trouble: str = ""

    def alerts_a_week(self) -> tuple[float, float, float] | None:
        """Return the expected alerts a week and their 90 % interval; None where nothing could be counted."""
        if self.weeks < _MIN_WEEKS:
            return None
        lower, upper = poisson_interval(self.alerts)
        return self.alerts / self.weeks, lower / self.weeks, upper / self.weeks


def read(api: PrometheusApi, plan: QueryPlan, end: float, *, now: float) -> History:
    """Evaluate a query, and read its history.

    Parameters
    ----------
    api : PrometheusApi
    plan : QueryPlan
    end : float, Unix seconds
        Of the history; a multiple of `STEP`.
    now : float, Unix seconds
        At which the series are counted: `end` may be before the first sample of a young server.

    Raises
    ------
    PrometheusError
        Where the server cannot be reached, or refuses the query.
    """
    begin = time.perf_counter()
    frame = api.instant(plan.expr, now, timeout=_TIMEOUT)
    seconds = time.perf_counter() - begin
    if not len(frame.keys):
        frame = api.instant(plan.expr, now - _GAP, timeout=_TIMEOUT)
    count = len(frame.keys)
    nothing = History(plan, count, seconds, np.zeros((0, 0), np.float32))
    if not count:
        return nothing
    if count > MOST_SERIES:
        return replace(nothing, trouble=f"{count} series are too many to replay here")
    window = min(plan.baseline.window, MOST_SAMPLES / count * STEP)
    instants = int(window / STEP) + 1
    values = np.full((instants, count), np.nan, np.float32)
    column = {key: index for index, key in enumerate(frame.keys)}
    start = end - (instants - 1) * STEP
    try:
        for chunk in api.history(plan.expr, start, end, STEP, timeout=_TIMEOUT, series=count):
            rows = np.rint((chunk.times - start) / STEP).astype(np.intp)
            # Series that are gone say nothing about what will be watched.
            kept = [(index, column[key]) for index, key in enumerate(chunk.keys) if key in column]
            if kept:
                theirs, mine = np.array(kept).T
                values[np.ix_(rows, mine)] = chunk.values[:, theirs]
    except PrometheusError as error:
        return replace(nothing, trouble=f"its history cannot be read: {error.message}")
    return replace(nothing, values=values, keys=frame.keys)


def measure(histories: Sequence[History], end: float, pool: WorkerPool | None = None) -> list[Measurement]:
    """Replay histories that end at `end`, Unix seconds, and return what was seen of each query.

    Parts of them go through engines in other processes, where there is a `pool`; how they are parted depends on the
    histories alone.
    """
    parts: list[list[History]] = []
    series = _PART
    for history in histories:
        if series >= _PART:
            parts.append([])
            series = 0
        parts[-1].append(history)
        series += history.values.shape[1]
    pool = (pool or WorkerPool()).for_work(small=len(parts) < 2)
    results = pool.map(_measured, [(part, end) for part in parts])
    return [measurement for part in results for measurement in part]


def _measured(task: tuple[Sequence[History], float]) -> list[Measurement]:
    """Return what was seen of some queries, whose series go through one engine: the task of a worker."""
    histories, end = task
    trackers, columns, first = [], [], 0
    for history in histories:
        trackers.append(_Tracker(history, slice(first, first + history.values.shape[1])))
        first += history.values.shape[1]
        columns.append(history.values)
    instants = max((len(values) for values in columns), default=0)
    whole = np.full((instants, first), np.nan)
    for tracker, values in zip(trackers, columns, strict=True):
        whole[instants - len(values) :, tracker.columns] = values
    present = np.flatnonzero(~np.isnan(whole).all(axis=1))
    if len(present):
        _replay(whole[present[0] :], end, trackers)
    return [tracker.measurement() for tracker in trackers]


def _replay(values: FloatArray, end: float, trackers: Sequence[_Tracker]) -> None:
    settings = engine_settings(trackers[0].history.plan)
    # The widest settings: each query narrows the verdicts down to its own.
    settings = replace(
        settings, direction="both", min_deviation=0.0, min_relative_deviation=0.0, valid_range=(-np.inf, np.inf)
    )
    history = Replay(settings, values, end=end, step=STEP)
    used, started = 0.0, time.process_time()
    for verdicts in history.run():
        used += time.process_time() - started
        for tracker in trackers:
            tracker.update(verdicts)
        started = time.process_time()
    for tracker in trackers:
        tracker.finish(history.engine, used / len(values) / values.shape[1])


class _Tracker:
    """What was seen of one query so far; its series are some columns of the replay."""

    def __init__(self, history: History, columns: slice) -> None:
        self.history = history
        self.columns = columns
        rule = history.plan.alert
        self._needed = math.ceil((0.0 if rule is None else rule.for_) / STEP) + 1
        self._run = np.zeros(history.values.shape[1], np.intp)
        self._residuals: list[FloatArray] = []
        self._levels: list[FloatArray] = []
        self._alerts = self._weeks = self._engine_seconds = 0.0
        self._season = SEASONS[UNKNOWN]

    def update(self, verdicts: Verdicts) -> None:
        """Count what would have alerted among some verdicts."""
        plan, mine = self.history.plan, (slice(None), self.columns)
        observed, expected = verdicts.observed[mine], verdicts.expected[mine]
        deviation = observed - expected
        least = np.fmax(plan.min_deviation, plan.min_relative_deviation * np.abs(expected))
        sides = {"above": deviation >= least, "below": -deviation >= least, "both": np.abs(deviation) >= least}
        anomalous = (verdicts.score[mine] >= 0.5) & sides[plan.direction]
        for odd, ready in zip(anomalous, verdicts.ready[mine], strict=True):
            self._run = np.where(odd, self._run + 1, 0)
            # Series that turn together are one alert, as in a storm.
            self._alerts += bool(((self._run == self._needed) & ready).any())
            self._weeks += bool(ready.any()) * STEP / WEEK
        self._residuals.append(np.abs(deviation).ravel())
        self._levels.append(np.abs(observed).ravel())

    def finish(self, engine: Engine, each: float) -> None:
        """Note what is known at the end; `each` is the processor time of an evaluation of one series."""
        self._engine_seconds = each * self.history.series
        seasons = engine.seasons[self.columns]
        if len(seasons):
            self._season = SEASONS[int(np.bincount(seasons, minlength=len(SEASONS)).argmax())]

    def measurement(self) -> Measurement:
        """Return what was seen."""
        history = self.history
        first = Measurement(history.series, history.seconds, trouble=history.trouble)
        present = np.flatnonzero(~np.isnan(history.values).all(axis=1))
        if not len(present):
            return first
        days = (len(history.values) - 1 - int(present[0])) * STEP / DAY
        return replace(
            first,
            days=days,
            season=self._season,
            noise=1.4826 * _median(self._residuals) if days >= _MIN_DAYS else math.nan,
            level=_median(self._levels),
            alerts=self._alerts,
            weeks=self._weeks,
            engine_seconds=self._engine_seconds,
            trouble="" if self._weeks >= _MIN_WEEKS else "alerts a week are known after eleven days of history",
        )


def _median(parts: list[FloatArray]) -> float:
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else math.nan
