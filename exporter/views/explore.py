"""Any expression, judged on trial: band, scores, and when it would have alerted, before it is configured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import ValidationError

from exporter import __version__
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.engine.series import Labels, labels_of
from exporter.errors import PrometheusError
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.views.series_charts import SeriesCharts
from exporter.web.pages.explore_models import ExploreForm, ExplorePage, Trial
from exporter.web.pages.models import Chart, ChartPart, ChartStyle, DisplayError, TimeRange

__all__ = ["Explorer"]

_NAME = "explored"
_MOST_SERIES, _SHOWN = 200, 50
"""Series that an expression may have, and that are offered."""
_TIMEOUT = 10.0
_DAY = 86400.0


class Explorer:
    """Judges expressions that are not configured; all of it happens in the processes of the charts.

    Parameters
    ----------
    connect : callable
        Makes a client of Prometheus from its settings.
    config : callable
        The configuration in force, for the server and for what a form leaves out.
    """

    def __init__(
        self,
        charts: SeriesCharts,
        connect: Callable[[PrometheusSettings], PrometheusApi],
        config: Callable[[], Config],
        clock: Callable[[], float],
    ) -> None:
        self._charts = charts
        self._connect = connect
        self._config = config
        self._clock = clock

    def page(self, form: ExploreForm) -> ExplorePage:
        """Return the page: with an expression, its series and the trial of one of them. Raises `DisplayError`."""
        at, config = self._clock(), self._config()
        page = ExplorePage(at, config.global_.timezone, __version__, form)
        if not form.expr:
            return page
        plan = self._plan(form)
        try:
            series = self._series(plan, at)
        except DisplayError as error:
            return ExplorePage(at, page.zone, __version__, form, trouble=str(error))
        labels = _chosen(series, form.series)
        within = TimeRange(at - form.days * _DAY, at)
        try:
            chart = self._charts.data(self._source(), plan, labels, len(series), within, ChartPart.BAND, now=at)
        except DisplayError as error:
            return ExplorePage(at, page.zone, __version__, form, trouble=str(error))
        shown = [(_key(each), each) for each in series[:_SHOWN]]
        return ExplorePage(at, page.zone, __version__, form, shown, labels, within, _trial(chart, plan))

    def chart(self, form: ExploreForm, style: ChartStyle) -> bytes:
        """Return the chart of the trial as a file. Raises `DisplayError`."""
        at, plan = self._clock(), self._plan(form)
        series = self._series(plan, at)
        within = TimeRange(at - form.days * _DAY, at)
        labels = _chosen(series, form.series)
        return self._charts.chart(
            self._source(), plan, labels, len(series), within, ChartPart.BAND, style, at
        )  # fmt: skip

    def _source(self) -> PrometheusSettings:
        return next(iter(self._config().servers.values()))

    def _plan(self, form: ExploreForm) -> QueryPlan:
        """Return the plan of a form; problems are worded as by `check config`."""
        config = self._config()
        fields: dict[str, Any] = {"name": _NAME, "expr": form.expr, "direction": form.direction}
        fields |= {
            name: getattr(form, name)
            for name in ("min_deviation", "min_relative_deviation")
            if getattr(form, name) is not None
        }
        detection: dict[str, Any] = {}
        if form.detectors:
            detection["detectors"] = list(form.detectors)
        if form.quorum is not None:
            detection["quorum"] = form.quorum
        fields |= {"detection": detection} if detection else {}
        fields["alert"] = {"for": form.for_} | ({"budget": form.budget} if form.budget else {})
        try:
            trial = Config.model_validate({"queries": [fields]})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"][2:])
            raise DisplayError(f"{where}: {first['msg'].removeprefix('Value error, ')}", 400) from None
        return trial.model_copy(
            update={
                "global_": config.global_,
                "baseline": config.baseline,
                "prometheus": self._source(),
                **({} if form.detectors or form.quorum is not None else {"detection": config.detection}),
            }
        ).plans()[0]

    def _series(self, plan: QueryPlan, at: float) -> list[Labels]:
        api = self._connect(self._source())
        try:
            frame = api.instant(plan.expr, at - self._source().query_offset, timeout=_TIMEOUT)
        except PrometheusError as fault:
            raise DisplayError(f"Prometheus: {fault.message}", 400) from fault
        finally:
            api.close()
        if not len(frame.keys):
            raise DisplayError("the expression has no series now")
        if len(frame.keys) > _MOST_SERIES:
            raise DisplayError(f"it has {len(frame.keys)} series; at most {_MOST_SERIES} can be tried here", 400)
        return sorted(labels_of(key) for key in frame.keys)


def _chosen(series: list[Labels], key: str) -> Labels:
    return next((labels for labels in series if _key(labels) == key), series[0])


def _key(labels: Labels) -> str:
    return ",".join(f"{name}={value}" for name, value in labels)


def _trial(chart: Chart, plan: QueryPlan) -> Trial:
    """Count when it would have alerted: runs of anomalous samples that last for `for`."""
    times, score = chart.times, chart.lines["score"]
    bad = score >= 0.5
    edges = np.flatnonzero(np.diff(np.concatenate(([0], bad.astype(np.int8), [0]))))
    waits = 0.0 if plan.alert is None else plan.alert.for_
    runs = [(begin, end - 1) for begin, end in edges.reshape(-1, 2).tolist()]
    alerts = [(float(times[a]), float(times[b])) for a, b in runs if times[b] - times[a] >= waits]
    judged = int(np.count_nonzero(~np.isnan(score)))
    step = float(np.median(np.diff(times))) if len(times) > 1 else plan.interval
    inside = score < 0.5
    return Trial(judged, int(np.count_nonzero(bad)), int(np.count_nonzero(inside)), alerts, step)
