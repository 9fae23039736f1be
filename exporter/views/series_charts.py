"""Charts of single series, as pictures and as data."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import Unit, scale_of
from exporter.charts import rendering, tasks
from exporter.charts.chart import PREFIXES
from exporter.charts.worker_process import WorkerProcess
from exporter.config.plan import QueryPlan
from exporter.correlation.changes import Change
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.store import VerdictLog
from exporter.views.charts import chart_data
from exporter.views.history import ChartSubject, SeriesHistory
from exporter.web.pages.graph import default_range
from exporter.web.pages.models import Chart, ChartPart, ChartStyle, DisplayError, Labels, TimeRange

__all__ = ["EventWindow", "SeriesCharts"]

_CHANGES = 20
"""Changes and events that a chart has room for."""

EventWindow = tuple[float, float, str]
"""From and to, Unix seconds, and name with action."""


class SeriesCharts:
    """Makes charts; the judging and the drawing of a chart happen in two processes.

    Parameters
    ----------
    connect : callable
        Makes a client of Prometheus from its settings.
    verdicts : VerdictLog
        What was decided at the time.
    changes, events : callable
        From the labels of a series and a range of time to the changes that may concern it, the newest first, and to the
        known events that do: from, to, and name with action.
    """

    def __init__(
        self,
        connect: Callable[[PrometheusSettings], PrometheusApi],
        verdicts: VerdictLog,
        changes: Callable[[Mapping[str, str], float, float], Sequence[Change]],
        events: Callable[[Mapping[str, str], float, float], Sequence[EventWindow]],
    ) -> None:
        # Two processes, so that engine and matplotlib are imported at the same time.
        self._computing, self._drawing = WorkerProcess(), WorkerProcess()
        self._history = SeriesHistory(connect, self._computing.run, verdicts.read)
        self._changes = changes
        self._events = events

    def close(self) -> None:
        """Abort requests to Prometheus, and end the worker processes."""
        self._history.close()
        self._computing.close()
        self._drawing.close()

    def preload(self) -> None:
        """Start the worker processes in the background, which the first chart would have to wait for."""
        for process, function in ((self._computing, tasks.preload), (self._drawing, rendering.preload)):
            if not process.running:
                threading.Thread(target=_quietly, args=(process, function), name="chart-preload", daemon=True).start()

    def chart(
        self,
        source: PrometheusSettings,
        plan: QueryPlan,
        labels: Labels,
        series_count: int,
        within: TimeRange | None,
        part: ChartPart,
        style: ChartStyle,
        now: float,
    ) -> bytes:
        """Return a chart as a file: a picture, or the data of one as JSON.

        Parameters
        ----------
        series_count : int
            Series of the query.

        Raises
        ------
        DisplayError
        """
        chart = self.data(source, plan, labels, series_count, within, part, now=now, anew=not style.quick)
        if style.form == "json":
            return _as_json(chart, plan.interval)
        return self._drawing.run(rendering.render, chart, style)

    def data(
        self,
        source: PrometheusSettings,
        plan: QueryPlan,
        labels: Labels,
        series_count: int,
        within: TimeRange | None,
        part: ChartPart,
        *,
        now: float,
        anew: bool = True,
    ) -> Chart:
        """Return the data of a chart; parameters as of `chart`. Without `anew` nothing is judged anew."""
        within = within or default_range(now)
        if within.start >= now:
            raise DisplayError("this range lies in the future", 400)
        # Prometheus would draw its newest sample for five minutes to come.
        within = TimeRange(within.start, min(within.end, now))
        subject = ChartSubject(source, plan, labels, max(1, series_count))
        chart = chart_data(self._history, subject, within, part, self._computing.run, now, anew=anew)
        if part is not ChartPart.BAND:
            return chart
        own = {**dict(labels), "query": plan.name}
        changes = self._changes(own, within.start, within.end)[:_CHANGES]
        events = self._events(own, within.start, within.end)[:_CHANGES]
        return replace(chart, changes=[(change.at, change.text) for change in changes], events=events)


def _quietly(process: WorkerProcess, function: Callable[[], None]) -> None:
    with contextlib.suppress(DisplayError):  # The request for a chart reports it.
        process.run(function)


def _as_json(chart: Chart, interval: float) -> bytes:
    """Write a chart for the script of a page; what is absent is null."""
    values = [line[np.isfinite(line)] for name, line in chart.lines.items() if name not in ("score", "votes")]
    largest = float(np.abs(np.concatenate(values)).max(initial=0.0))
    return msgspec.json.encode(
        {
            "times": np.round(chart.times, 3).tolist(),
            "lines": {name: _numbers(line) for name, line in chart.lines.items()},
            "severities": {name: _numbers(np.round(line, 2)) for name, line in chart.severities.items()},
            "anew": [] if chart.anew is None or not chart.anew.any() else chart.anew.tolist(),
            "quorum": chart.quorum,
            "scale": _scale(largest, chart.unit),
            "step": float(np.median(np.diff(chart.times))) if len(chart.times) > 1 else interval,
            "interval": interval,
            "partial": chart.partial,
            "gaps": chart.gaps,
            "zone": chart.zone,
            "source": chart.source,
            "changes": chart.changes,
            "events": chart.events,
        }
    )


def _scale(largest: float, unit: Unit | None) -> tuple[float, str]:
    """Return by what values are divided, and what is written after them."""
    if unit is not None:
        return scale_of(largest, unit)
    return next(((size, letter) for least, size, letter in PREFIXES if largest >= least), (1.0, ""))


def _numbers(line: npt.NDArray[np.float64]) -> list[float | None]:
    # Six digits: as many as a person reads, and a third of the bytes.
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in line.tolist()]
