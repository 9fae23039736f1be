"""The dashboard *Anomalies*: scores, expected and observed values, votes."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.common import GraphThresholdsStyleConfig
from grafana_foundation_sdk.builders.dashboard import AdHocVariable, Dashboard, TextBoxVariable, ThresholdsConfig
from grafana_foundation_sdk.models.common import GraphDrawStyle, GraphTresholdsStyleMode
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, Threshold, ThresholdsMode

from grafana_dashboards.panels import (
    ACCENT,
    BAD,
    GOOD,
    MUTED,
    SOURCE,
    WARN,
    annotation,
    empty_dashboard,
    instant,
    link,
    looks,
    over_time,
    query,
    query_variable,
    stat_panel,
    table_of,
)

__all__ = ["dashboard"]

SCORE = 'anomaly_score{query=~"$query"}'
WORST = f"topk(10, max_over_time({SCORE}[$__range] @ end()))"
WORST_GROUPS = "topk(10, max_over_time(anomaly_group_score[$__range] @ end()))"
PAGE = "${exporter:raw}/graph?query=%s&from=${__from}&to=${__to}"
"""The page of the worst series of a query."""
SERIES = "{${series:raw}}"
"""Exactly one series: the value of the variable is its matchers."""


def dashboard() -> Dashboard:
    """Return the dashboard *Anomalies*."""
    built = empty_dashboard(
        "Anomalies",
        "anomaly-exporter-anomalies",
        "Expected versus observed, for every series that anomaly-exporter scores. 0.5 and above is anomalous.",
    )
    built.with_variable(query_variable("query", "Query", "label_values(anomaly_score, query)"))
    # A result is written as `{a="b",...} 0.9 1700000000000`: what is between the braces are matchers. Worst first.
    worst = f"query_result(topk(20, max_over_time({SCORE}[$__range])))"
    built.with_variable(query_variable("series", "Series", worst, all_of_them=False).regex(r"/\{(.*)\}/"))
    built.with_variable(TextBoxVariable("exporter").label("Exporter").default_value("http://localhost:9877"))
    built.with_variable(AdHocVariable("filters").label("Labels").datasource(SOURCE))
    sent = 'sum by (query) (anomaly_exporter_alerts{state="firing",query=~"$query"}) > 0'
    built.annotation(annotation("Alerts of the exporter", f'label_join({sent}, "alertname", "", "query")', BAD))
    built.annotation(annotation("Alerts of rules", 'ALERTS{alertname=~"Anomaly.+",alertstate="firing"}', WARN))
    for panel in [*_now(), _table(), _bands(), *_history()]:
        built.with_panel(panel)
    return built


def _now() -> Iterator[stat.Panel]:
    none = ((None, GOOD), (1.0, BAD))
    yield stat_panel("Anomalous series", f"sum({SCORE} >= bool 0.5)", steps=none)
    yield stat_panel("Worst score", f"max({SCORE})", unit="percentunit", steps=((None, GOOD), (0.4, WARN), (0.5, BAD)))
    yield stat_panel(
        "Anomalous share",
        f"avg({SCORE} >= bool 0.5)",
        unit="percentunit",
        steps=((None, GOOD), (0.1, WARN), (0.3, BAD)),
    )
    yield stat_panel(
        "Open alerts",
        'sum(anomaly_exporter_alerts{state="firing",query=~"$query"})',
        steps=none,
        text="Alerts that the exporter has sent itself and that still fire.",
    )
    unknown = "A series without a score is not counted: nothing can be said about it."
    yield stat_panel("Series scored", f"count({SCORE})", text=unknown)
    yield stat_panel(
        "Age of the scores",
        'time() - min(anomaly_exporter_last_success_timestamp_seconds{query=~"$query"})',
        unit="s",
        steps=((None, GOOD), (180.0, WARN), (600.0, BAD)),
        text="Of the query that has waited longest.",
    )


def _table() -> table.Panel:
    worst = f"topk(20, {SCORE})"
    columns = {
        "score": worst,
        "observed": f'observed_value{{query=~"$query"}} and {worst}',
        "expected": f'expected_value{{query=~"$query"}} and {worst}',
        "lower": f'expected_value_lower{{query=~"$query"}} and {worst}',
        "upper": f'expected_value_upper{{query=~"$query"}} and {worst}',
        "votes": f'anomaly_votes{{query=~"$query"}} and {worst}',
    }
    panel = table_of(
        "Worst series now",
        # Without the name of the metric, which differs, Grafana makes one row of what has the same labels.
        *(instant(f"max without () ({expr})", name) for name, expr in columns.items()),
        text="An edge that is missing is one in whose direction nothing is anomalous.",
    )
    tidy = {
        "excludeByName": {"Time": True},
        "indexByName": {},
        "renameByName": {f"Value #{name}": name for name in columns},
    }
    panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=tidy))
    panel.override_by_name("query", looks(links=[link("Explain it", PAGE % "${__value.text}")]))
    by_score = {"fields": {}, "sort": [{"field": "score", "desc": True}]}
    return panel.with_transformation(DataTransformerConfig(id_val="sortBy", options=by_score)).decimals(3)


def _bands() -> timeseries.Panel:
    # Grafana fills between two lines. Where an edge is absent, the band is drawn from the expected value.
    panel = over_time(
        "$series",
        query(f"expected_value_upper{SERIES} or expected_value{SERIES}", "upper"),
        query(f"expected_value_lower{SERIES} or expected_value{SERIES}", "lower"),
        query(f"expected_value{SERIES}", "expected"),
        query(f"observed_value{SERIES}", "observed"),
        query(f"observed_value{SERIES} and (anomaly_score{SERIES} >= 0.5)", "anomalous"),
        width=24,
        height=10,
        text="The band is the set of values that are not anomalous. Choose series above; they are sorted, worst first.",
    )
    blue, gray, red = ({"mode": "fixed", "fixedColor": color} for color in (ACCENT, MUTED, BAD))
    dashes = {"fill": "dash", "dash": [6, 4]}
    points = {"custom__drawStyle": GraphDrawStyle.POINTS.value, "custom__pointSize": 7}
    fill = {"custom__fillBelowTo": "lower", "custom__fillOpacity": 18}
    panel.override_by_name("upper", looks(color=blue, custom__lineWidth=0, **fill))
    panel.override_by_name("lower", looks(color=blue, custom__lineWidth=0))
    panel.override_by_name("expected", looks(color=blue, custom__lineStyle=dashes))
    panel.override_by_name("observed", looks(color=gray, custom__lineWidth=2))
    panel.override_by_name("anomalous", looks(color=red, **points))
    return panel.repeat("series").repeat_direction("v")


def _history() -> Iterator[timeseries.Panel]:
    text = "The ten series with the highest score in the time shown."
    yield _scores("Worst scores", f"{SCORE} and {WORST}", "__auto", text)
    yield over_time(
        "Votes",
        query(f'anomaly_votes{{query=~"$query"}} and {WORST}'),
        text="How many votes call a sample of these series anomalous; `detection.quorum` of them are needed.",
    )
    text = "One strange series is seldom a reason to get up; a third of a query is."
    share = query(f"avg by (query) ({SCORE} >= bool 0.5)", "{{query}}")
    yield over_time("Anomalous share by query", share, unit="percentunit", text=text).min(0.0).max(1.0)
    text = "Joint scores: metrics that do not go together as they usually do, even if each alone is usual."
    yield _scores("Groups", f"anomaly_group_score and {WORST_GROUPS}", "__auto", text)


def _scores(title: str, expr: str, legend: str, text: str) -> timeseries.Panel:
    line = [Threshold(value=None, color="transparent"), Threshold(value=0.5, color=BAD)]
    panel = over_time(title, query(expr, legend), unit="percentunit", text=text).min(0.0).max(1.0)
    panel.thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(line))
    if "anomaly_score" in expr:
        panel.override_by_regexp(".*", looks(links=[link("Explain it", PAGE % "${__field.labels.query}")]))
    return panel.thresholds_style(GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
