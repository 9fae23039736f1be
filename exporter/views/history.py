"""The history of single series: samples from Prometheus, and the verdicts on them.

What the daemon decided is kept for a while, and is scraped by Prometheus. Only what is older than both is judged anew,
by a second engine that replays the history, each sample judged by what came before it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.charts.tasks import TRAINING_STEP, ReplayTask, replay
from exporter.config.engine_settings import engine_settings
from exporter.config.plan import QueryPlan
from exporter.engine.engine import EngineSettings
from exporter.engine.series import key_of, labels_of
from exporter.errors import PrometheusError, Reason
from exporter.exposition.labels import page_labels, row_prefix
from exporter.prometheus import HistoryChunk, PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.promql.narrow import narrow
from exporter.store import KeptVerdicts
from exporter.views.kept_verdicts import GridVerdicts, on_grid
from exporter.web.pages.models import DisplayError, Labels

__all__ = ["ChartSubject", "ReplayedRange", "ScoredSamples", "SeriesHistory", "SeriesSamples"]

FloatArray = npt.NDArray[np.float64]

_TIMEOUT = 20.0
"""Timeout of one range query, in seconds."""
_MOST_SAMPLES = 2_000_000
"""Samples that are read for a line, where the expression cannot be narrowed to its series."""
_FEWEST_POINTS = 24
_TRAINING = 21 * 86400.0
"""Seconds of history before a replayed range: every hour of the week three times."""
_TRAINING_GRID = 6 * 3600.0
"""Seconds; an engine trained up to a multiple of it serves every range that begins after it."""
_UNDER_WAY = 2
"""Instants at the end of a chart that may have no verdict so far."""
_REPLAYS = 64
"""Ranges whose verdicts are kept: the next reading of a chart, and a zoom, need a part of the one before."""
_METRICS = {
    "anomaly_score": "score",
    "expected_value": "expected",
    "expected_value_lower": "lower",
    "expected_value_upper": "upper",
    "anomaly_votes": "votes",
    "observed_value": "observed",
}


@dataclass(frozen=True, slots=True)
class ChartSubject:
    """The series of a chart.

    Attributes
    ----------
    series_count : int
        Series of its query.
    """

    source: PrometheusSettings
    plan: QueryPlan
    labels: Labels
    series_count: int


@dataclass(frozen=True, slots=True)
class SeriesSamples:
    """Samples of a series on a grid, arrays of shape (t,); NaN where there is none."""

    times: FloatArray
    values: FloatArray


@dataclass(frozen=True, slots=True)
class ReplayedRange:
    """Samples that were judged anew, and the verdicts on them."""

    settings: EngineSettings
    samples: SeriesSamples
    lines: dict[str, FloatArray]

    def part(self, settings: EngineSettings, samples: SeriesSamples) -> dict[str, FloatArray] | None:
        """Return the verdicts on samples that are among these, by these settings; None where some are not."""
        times = self.samples.times
        begin = int(np.searchsorted(times, samples.times[0] - 1e-3))
        within = slice(begin, begin + len(samples.times))
        if (
            settings != self.settings
            or len(times[within]) != len(samples.times)
            or not np.allclose(times[within], samples.times, rtol=0.0, atol=1e-3)
            or not np.array_equal(self.samples.values[within], samples.values, equal_nan=True)
        ):
            return None
        return {name: line[within] for name, line in self.lines.items()}


@dataclass(frozen=True, slots=True)
class ScoredSamples:
    """Samples and the verdict on each; arrays of shape (t,), source units, NaN = absent.

    Attributes
    ----------
    lines
        `observed`, `expected`, `lower`, `upper`, `score` and `votes`.
    anew
        Where the verdict is that of a second engine, as there is none of the time.
    scraped : bool
        Whether some are of the time, as Prometheus scraped them.
    severities
        Of each detector, by its kind, where they are kept.
    partial : bool
        Whether some would have to be judged anew, and are not.
    """

    times: FloatArray
    lines: dict[str, FloatArray]
    anew: npt.NDArray[np.bool_]
    scraped: bool = False
    severities: Mapping[str, FloatArray] = field(default_factory=dict)
    partial: bool = False


class SeriesHistory:
    """Reads the history of single series; safe for several threads.

    Parameters
    ----------
    connect : callable
        Makes a client from settings; evaluations have another one, so that a page never makes them wait.
    run : callable
        Calls `replay`, in this or another process.
    kept : callable
        From query, labels, start and end to what is kept of the verdicts of the time, or None.
    """

    def __init__(
        self,
        connect: Callable[[PrometheusSettings], PrometheusApi],
        run: Callable[[Callable[[ReplayTask], dict[str, FloatArray]], ReplayTask], dict[str, FloatArray]],
        kept: Callable[[str, tuple[tuple[str, str], ...], float, float], KeptVerdicts | None] = lambda *_: None,
    ) -> None:
        self._connect = connect
        self._run = run
        self._kept = kept
        self._lock = threading.Lock()
        self._api: tuple[PrometheusSettings, PrometheusApi] | None = None
        self._replays: OrderedDict[tuple[object, ...], ReplayedRange] = OrderedDict()

    def close(self) -> None:
        """Abort the requests, and close the connections."""
        with self._lock:
            if self._api is not None:
                self._api[1].close()
                self._api = None

    def samples(self, subject: ChartSubject, start: float, end: float, step: float) -> SeriesSamples:
        """Read samples of one series on the grid `start`, `start + step`, ... up to `end`.

        Raises
        ------
        DisplayError
            Prometheus does not answer, or it would be too much.
        """
        matchers, whole = dict(subject.labels), subject.plan.expr
        expr, count = narrow(whole, matchers), subject.series_count
        points = int((end - start) / step) + 1
        if expr == whole and points * count > _MOST_SAMPLES:
            step = (end - start) / max(1, _MOST_SAMPLES // count)
            if (end - start) / step < _FEWEST_POINTS:
                message = f"the expression cannot be narrowed to one series, and all {count:,} are too many to read"
                raise DisplayError(message, 503)
        blocks = self._read(subject.source, expr, start, end, step, series_count=count if expr == whole else 1)
        return _series_in(blocks, tuple(sorted(matchers.items())))

    def scored(
        self, subject: ChartSubject, start: float, end: float, step: float, *, anew: bool = True
    ) -> ScoredSamples:
        """Return samples of one series with the verdicts on them; parameters as of `samples`.

        Without `anew`, samples that were not judged at the time have no verdict.
        """
        grid: FloatArray = end - step * np.arange(int((end - start) / step + 0.5), -1, -1, dtype=np.float64)
        own = on_grid(
            self._kept(subject.plan.name, tuple(sorted(subject.labels)), float(grid[0]) - step, end), grid, step
        )
        replayed = np.zeros(len(grid), np.bool_)
        scraped = False
        covered = np.flatnonzero(own.present)
        if len(covered) and len(grid) - 1 - covered[-1] <= _UNDER_WAY:
            # The newest slot is being evaluated.
            size = int(covered[-1]) + 1
            own = GridVerdicts(*(_cut(part, size) for part in (own.times, own.lines, own.severities, own.present)))
            grid, replayed = grid[:size], replayed[:size]
        if not own.present.all():
            try:
                samples = self.samples(subject, start, end, step)
            except DisplayError:
                if not len(covered):
                    raise
                # What was decided is shown while Prometheus is away.
                return ScoredSamples(own.times, own.lines, replayed, severities=own.severities)
            observed = _at(samples, grid, step)
            own.lines["observed"][:] = np.where(own.present, own.lines["observed"], observed)
            first = int(covered[0]) if len(covered) else len(grid)
            if first:
                scraped, first = self._fill_scraped(subject, own, grid, first)
            verdicts = None
            if first:
                verdicts = self._replayed(subject, SeriesSamples(grid[:first], observed[:first]), anew=anew)
            if first and verdicts is None:
                return ScoredSamples(own.times, own.lines, replayed, scraped, own.severities, partial=True)
            if verdicts is not None:
                for name, line in verdicts.items():
                    own.lines[name][:first] = line
                replayed[:first] = True
        return ScoredSamples(own.times, own.lines, replayed, scraped, own.severities)

    def _fill_scraped(self, subject: ChartSubject, own: GridVerdicts, grid: FloatArray, first: int) -> tuple[bool, int]:
        """Take what Prometheus has scraped before the first verdict that is kept; returns whether, and the first."""
        observed = own.lines["observed"][:first].copy()
        lines = self._scraped(subject, SeriesSamples(grid[:first], observed))
        if lines is None:
            return False, first
        at = ~np.isnan(lines["expected"])
        if not at.any():
            return False, first
        for name, line in lines.items():
            own.lines[name][:first] = np.where(at & ~np.isnan(line), line, own.lines[name][:first])
        return True, int(np.flatnonzero(at)[0])

    def _scraped(self, subject: ChartSubject, samples: SeriesSamples) -> dict[str, FloatArray] | None:
        """Return the verdicts of the time as Prometheus has scraped them; None where it does not answer."""
        # Where the series has no job, that of the exporter is there if it is scraped without `honor_labels`.
        pairs = [pair for pair in page_labels(subject.labels, "query", subject.plan.name) if pair[1]]
        metric = dict(subject.labels).get("__name__")
        own = row_prefix(pairs).decode() + ("" if metric is None else f',metric=~"|{metric}"')
        expr = f'{{__name__=~"{"|".join(_METRICS)}",{own}}}'
        times = samples.times
        start, end, step = float(times[0]), float(times[-1]), _step(samples, subject)
        # The score of a slot is on the page from the end of its evaluation on, and in Prometheus with the next scrape.
        try:
            blocks = self._read(
                subject.source, expr, start, end, step, series_count=len(_METRICS), offset=0.0, own=True
            )
        except DisplayError:
            return None
        lines = {name: np.full(len(times), np.nan) for name in _METRICS.values()}
        for block in blocks:
            places = np.rint((block.times - start) / step).astype(np.intp)
            inside = (places >= 0) & (places < len(times))
            for column, key in enumerate(block.keys):
                name = _METRICS.get(dict(labels_of(key)).get("__name__", "expected_value"))
                if name is None:
                    # Not what was asked for: a proxy, or a server with rules of its own.
                    continue
                line, values = lines[name], block.values[:, column]
                # Two exporters with the same verdict, or an exporter that was scraped twice.
                line[places[inside]] = np.where(np.isnan(line[places[inside]]), values[inside], line[places[inside]])
        return lines

    def _replayed(self, subject: ChartSubject, samples: SeriesSamples, *, anew: bool) -> dict[str, FloatArray] | None:
        """Score the samples by a second engine, each by what came before it; not `anew`: only where that was done."""
        times, step = samples.times, _step(samples, subject)
        # A budget is that of all series of the query: one alone says nothing about its threshold.
        settings = replace(engine_settings(subject.plan), budget=None)
        key = (subject.source.url, subject.plan.name, tuple(sorted(subject.labels)), step)
        with self._lock:
            before = self._replays.get(key)
        if before is not None and (part := before.part(settings, samples)) is not None:
            return part
        if not anew:
            return None
        until = float(times[0]) - step
        trained_until = until // _TRAINING_GRID * _TRAINING_GRID
        first = self.samples(subject, trained_until - _TRAINING, trained_until, TRAINING_STEP)
        then = SeriesSamples(np.zeros(0), np.zeros(0))
        if until - trained_until >= TRAINING_STEP:
            then = self.samples(subject, trained_until + TRAINING_STEP, until, TRAINING_STEP)
        lines = self._run(
            replay,
            ReplayTask(
                settings=settings,
                source=subject.source.url,
                series=key_of(tuple(sorted(subject.labels))),
                trained_until=trained_until,
                first=(first.times, first.values),
                then=(then.times, then.values),
                times=times,
                values=samples.values,
                step=step,
            ),
        )
        with self._lock:
            self._replays[key] = ReplayedRange(settings, samples, lines)
            self._replays.move_to_end(key)
            while len(self._replays) > _REPLAYS:
                self._replays.popitem(last=False)
        return lines

    def _read(
        self,
        source: PrometheusSettings,
        expr: str,
        start: float,
        end: float,
        step: float,
        *,
        series_count: int,
        offset: float | None = None,
        own: bool = False,
    ) -> list[HistoryChunk]:
        offset = source.query_offset if offset is None else offset
        try:
            blocks = self._client(source).history(
                expr,
                start - offset,
                end - offset,
                step,
                timeout=_TIMEOUT,
                series=max(1, series_count),
                with_own=own,
            )
            return [replace(block, times=np.round(block.times + offset, 3)) for block in blocks]
        except PrometheusError as fault:
            status = 504 if fault.reason is Reason.TIMEOUT else 502
            raise DisplayError(
                f"Prometheus did not give the history: {fault.reason}: {fault.message}", status
            ) from fault

    def _client(self, source: PrometheusSettings) -> PrometheusApi:
        with self._lock:
            if self._api is not None and self._api[0] != source:
                self._api[1].close()
                self._api = None
            if self._api is None:
                self._api = source, self._connect(source)
            return self._api[1]


def _step(samples: SeriesSamples, subject: ChartSubject) -> float:
    times = samples.times
    return float(times[1] - times[0]) if len(times) > 1 else subject.plan.interval


def _cut(part: Any, size: int) -> Any:
    """Return the first numbers of an array, or of each array of a mapping."""
    return {name: line[:size] for name, line in part.items()} if isinstance(part, dict) else part[:size]


def _at(samples: SeriesSamples, grid: FloatArray, step: float) -> FloatArray:
    """Return the samples at the instants of a grid; NaN where there is none."""
    values = np.full(len(grid), np.nan)
    if len(samples.times):
        places = np.rint((samples.times - grid[0]) / step).astype(np.intp)
        inside = (places >= 0) & (places < len(grid))
        values[places[inside]] = samples.values[inside]
    return values


def _series_in(blocks: list[HistoryChunk], labels: Labels) -> SeriesSamples:
    """Return the series with these labels in an answer; or the only series that includes them."""
    labels_by_block = [[labels_of(key) for key in block.keys] for block in blocks]
    including = {own for part in labels_by_block for own in part if set(labels) <= set(own)}
    selected = labels if labels in including or len(including) != 1 else including.pop()
    columns = [
        block.values[:, part.index(selected)] if selected in part else np.full(len(block.times), np.nan)
        for block, part in zip(blocks, labels_by_block, strict=True)
    ]
    if not columns:
        return SeriesSamples(np.zeros(0), np.zeros(0))
    return SeriesSamples(np.concatenate([block.times for block in blocks]), np.concatenate(columns))
