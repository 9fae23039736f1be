"""The dashboard *Anomalies of my service*: one service, or whatever a label names, from whether to why."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders import stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, TextBoxVariable

from grafana_dashboards.anomalies import bands, suppressed, worst_series
from grafana_dashboards.panels import (
    BAD,
    GOOD,
    WARN,
    annotation,
    custom_variable,
    empty_dashboard,
    once,
    over_time,
    query,
    query_variable,
    stat_panel,
)

__all__ = ["dashboard"]

_LABELS = "service,app,deployment,team,job,namespace,instance,cluster"
MINE = '$label="$value"'
SCORE = once(f"anomaly_score{{{MINE}}}")
MAY_ALERT = once(f"anomaly_score{{{MINE}}} unless ignoring (reason) anomaly_suppressed")
"""Without series that do not alert whatever their score."""


def dashboard() -> Dashboard:
    """Return the dashboard *Anomalies of my service*."""
    built = empty_dashboard(
        "Anomalies of my service",
        "anomaly-exporter-service",
        "Everything that anomaly-exporter watches of one service: choose a label and a value.",
    )
    built.with_variable(custom_variable("label", "Label", _LABELS))
    value = query_variable("value", "Value", "label_values(anomaly_score, $label)", all_of_them=False)
    built.with_variable(value.multi(False))
    worst = f"query_result(topk(6, {once(f'max_over_time(anomaly_score{{{MINE}}}[$__range])')}))"
    built.with_variable(query_variable("series", "Series", worst, all_of_them=False).regex(r"/\{(.*)\}/"))
    built.with_variable(TextBoxVariable("exporter").label("Exporter").default_value("http://localhost:9877"))
    anomalous = f'label_join({MAY_ALERT} >= 0.5, "alertname", "", "query")'
    built.annotation(annotation("Anomalous", anomalous, BAD))
    for panel in [*(each.span(6) for each in _now()), worst_series(MINE, SCORE), bands(), *_history()]:
        built.with_panel(panel)
    return built


def _now() -> Iterator[stat.Panel]:
    yield stat_panel(
        "Anomalous series",
        f"sum({MAY_ALERT} >= bool 0.5)",
        steps=((None, GOOD), (1.0, BAD)),
        text="Of those that may alert: without series that warm up, are silenced, or have a known event or a load.",
    )
    worst = stat_panel("Worst score", f"max({MAY_ALERT})", unit="none", steps=((None, GOOD), (0.4, WARN), (0.5, BAD)))
    yield worst.decimals(2)
    yield stat_panel("Series scored", f"count({SCORE})")
    none = "Series that do not alert whatever their score; the reasons are below."
    yield stat_panel("Suppressed", f"count({once(f'anomaly_suppressed{{{MINE}}}')}) or vector(0)", text=none)


def _history() -> Iterator[timeseries.Panel]:
    yield over_time(
        "Worst score by query", query(f"max by (query) ({MAY_ALERT})", "{{query}}"), unit="none",
        text="0.5 and above is anomalous.",
    ).min(0.0).max(1.0)  # fmt: skip
    yield over_time(
        "Anomalous series by query",
        query(f"sum by (query) ({MAY_ALERT} >= bool 0.5)", "{{query}}"),
    )
    yield suppressed(MINE)
