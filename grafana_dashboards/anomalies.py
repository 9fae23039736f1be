"""The dashboard *Anomalies*: scores, expected and observed values, votes."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.builders.common import GraphThresholdsStyleConfig
from grafana_foundation_sdk.builders.dashboard import Dashboard, TextBoxVariable, ThresholdsConfig
from grafana_foundation_sdk.models.common import GraphDrawStyle, GraphTresholdsStyleMode
from grafana_foundation_sdk.models.dashboard import DataTransformerConfig, Threshold, ThresholdsMode

from grafana_dashboards.panels import (
    ACCENT,
    BAD,
    GOOD,
    LATE,
    MUTED,
    WARN,
    age,
    annotation,
    custom_variable,
    empty_dashboard,
    firing,
    instant,
    link,
    looks,
    once,
    over_time,
    query,
    query_variable,
    stat_panel,
    table_of,
)

__all__ = ["LINKED", "bands", "dashboard", "suppressed", "worst_series"]

QUERY = 'query=~"$query"'
CHOSEN = 'query=~"$query",$label=~"$value"'
RAW_SCORE = f"anomaly_score{{{CHOSEN}}}"
SCORE = once(RAW_SCORE)
MAY_ALERT = once(f"{RAW_SCORE} unless ignoring (reason) anomaly_suppressed")
"""Without series that warm up, are silenced or have a known event."""
GROUP_SCORE = 'anomaly_group_score{$label=~"$value"}'
WORST = f"topk(10, {once(f'max_over_time({RAW_SCORE}[$__range] @ end())')})"
WORST_GROUPS = f"topk(10, {once(f'max_over_time({GROUP_SCORE}[$__range] @ end())')})"
SERIES = "{${series:raw}}"
"""Exactly one series: the value of the variable is its matchers."""

FORECAST = '{${series:raw},horizon="1h"}'
TIME_LEFT = f'forecast_time_to_limit_seconds{{{CHOSEN},quantile="0.5"}}'
CHANCE = f"forecast_limit_probability{{{CHOSEN}}}"

_LABELS = "service,job,namespace,app,deployment,instance,cluster,team"
"""Label names that are offered for choosing and grouping."""
LINKED = (
    *("job", "instance", "namespace", "pod", "container", "service", "deployment", "statefulset", "app", "team"),
    *("cluster", "region", "zone", "node", "host", "device", "mountpoint", "cpu", "mode", "method", "path", "handler"),
    *("route", "status", "code", "version", "topic", "queue", "database", "le", "quantile"),
)
"""Labels of a row that a click passes on. What a row lacks stays as it is written, and the exporter drops it."""
_WINDOW = "&from=${__from}&to=${__to}"


def _page(fields: str, query: str) -> str:
    """Return the page of the series of a row or line, whose labels Grafana has under `fields`."""
    labels = "".join(f"&{quote(name)}=${{{fields}.{name}}}" for name in LINKED)
    return f"${{exporter:raw}}/graph?query={query}{labels}{_WINDOW}"


ROW_PAGE = _page("__data.fields", "${__data.fields.query}")
LINE_PAGE = _page("__field.labels", "${__field.labels.query}")


def dashboard() -> Dashboard:
    """Return the dashboard *Anomalies*."""
    built = empty_dashboard(
        "Anomalies",
        "anomaly-exporter-anomalies",
        "Expected versus observed, for every series that anomaly-exporter scores. 0.5 and above is anomalous.",
    )
    built.with_variable(query_variable("query", "Query", "label_values(anomaly_score, query)"))
    # For one service, or one of whatever label. A filter of Grafana would also be put into queries about the exporter,
    # which have no such label, and empty them.
    built.with_variable(custom_variable("label", "Label", _LABELS))
    value = query_variable("value", "Value", 'label_values(anomaly_score{query=~"$query"}, $label)').all_value(".*")
    built.with_variable(value)
    built.with_variable(custom_variable("by", "Group by", _LABELS))
    # A result is written as `{a="b",...} 0.9 1700000000000`: what is between the braces are matchers. Worst first.
    worst = f"query_result(topk(20, {once(f'max_over_time({RAW_SCORE}[$__range])')}))"
    built.with_variable(query_variable("series", "Series", worst, all_of_them=False).regex(r"/\{(.*)\}/"))
    built.with_variable(TextBoxVariable("exporter").label("Exporter").default_value("http://localhost:9877"))
    sent = f"({firing(QUERY)}) > 0"
    built.annotation(annotation("Alerts of the exporter", f'label_join({sent}, "alertname", "", "query")', BAD))
    built.annotation(annotation("Alerts of rules", 'ALERTS{alertname=~"Anomaly.+",alertstate="firing"}', WARN))
    panels = [*_now(), worst_series(CHOSEN, SCORE), bands(), *_ahead(), *_history(), suppressed(CHOSEN)]
    for panel in [*panels, _groups_of_labels()]:
        built.with_panel(panel)
    return built


def _now() -> Iterator[stat.Panel]:
    none = ((None, GOOD), (1.0, BAD))
    yield stat_panel("Anomalous series", f"sum({MAY_ALERT} >= bool 0.5)", steps=none)
    worst = stat_panel("Worst score", f"max({MAY_ALERT})", unit="none", steps=((None, GOOD), (0.4, WARN), (0.5, BAD)))
    yield worst.decimals(2)
    yield stat_panel(
        "Anomalous share",
        f"avg({MAY_ALERT} >= bool 0.5)",
        unit="percentunit",
        steps=((None, GOOD), (0.1, WARN), (0.3, BAD)),
    )
    yield stat_panel(
        "Open alerts",
        f"sum({firing(QUERY)})",
        steps=none,
        text="Alerts that the exporter has sent itself and that still fire.",
    )
    unknown = "A series without a score is not counted: nothing can be said about it."
    yield stat_panel("Series scored", f"count({SCORE})", text=unknown)
    text = "In intervals of the query that has waited longest, with the exporter that is ahead."
    oldest = f"max(min by (query) ({age(QUERY)}))"
    yield stat_panel("Age of the scores", oldest, unit="none", steps=LATE, text=text).decimals(1)


def worst_series(matchers: str, score: str) -> table.Panel:
    """Return a table of the series with the highest scores, with a link from each to its page."""
    worst = f"topk(20, {score})"
    metrics = {
        "observed": "observed_value",
        "expected": "expected_value",
        "lower": "expected_value_lower",
        "upper": "expected_value_upper",
        "votes": "anomaly_votes",
    }
    columns = {"score": worst}
    columns |= {name: f"{once(f'{metric}{{{matchers}}}')} and {worst}" for name, metric in metrics.items()}
    panel = table_of(
        "Worst series now",
        # Without the name of the metric, which differs, Grafana makes one row of what has the same labels.
        *(instant(expr, name) for name, expr in columns.items()),
        text="An edge is missing where nothing is anomalous in its direction. A click opens the page of a series.",
    )
    _merge(panel, columns)
    panel.override_by_regexp(".*", looks(links=[link("Explain it", ROW_PAGE)]))
    by_score = {"fields": {}, "sort": [{"field": "score", "desc": True}]}
    return panel.with_transformation(DataTransformerConfig(id_val="sortBy", options=by_score)).decimals(3)


def _groups_of_labels() -> table.Panel:
    columns = {
        "series": f"count by ($by) ({SCORE})",
        "anomalous": f"sum by ($by) ({SCORE} >= bool 0.5)",
        "share": f"avg by ($by) ({SCORE} >= bool 0.5)",
        "worst score": f"max by ($by) ({SCORE})",
        "mean score": f"avg by ($by) ({SCORE})",
    }
    panel = table_of("By $by", *(instant(expr, name) for name, expr in columns.items()))
    _merge(panel, columns)
    by_share = {"fields": {}, "sort": [{"field": "share", "desc": True}]}
    return panel.with_transformation(DataTransformerConfig(id_val="sortBy", options=by_share)).decimals(2)


def _merge(panel: table.Panel, columns: dict[str, str]) -> None:
    """Make one row of what has the same labels, with a column for each query."""
    tidy = {
        "excludeByName": {"Time": True},
        "indexByName": {},
        "renameByName": {f"Value #{name}": name for name in columns},
    }
    panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=tidy))


def suppressed(matchers: str) -> timeseries.Panel:
    """Return how many series do not alert whatever their score, by reason."""
    return over_time(
        "Suppressed series by reason",
        query(f"count by (reason) ({once(f'anomaly_suppressed{{{matchers}}}')})", "{{reason}}"),
        width=24,
        height=6,
        text="They have a score and do not alert: a PromQL rule leaves them out by `unless ignoring (reason)`.",
    )


def bands() -> timeseries.Panel:
    """Return observed and expected values of each chosen series, with the band."""
    observed, expected, score = (
        once(f"{name}{SERIES}") for name in ("observed_value", "expected_value", "anomaly_score")
    )
    # Grafana fills between two lines. Where an edge is absent, the band is drawn from the expected value.
    panel = over_time(
        "$series",
        query(f"{once(f'expected_value_upper{SERIES}')} or {expected}", "upper"),
        query(f"{once(f'expected_value_lower{SERIES}')} or {expected}", "lower"),
        query(expected, "expected"),
        query(observed, "observed"),
        query(f"{observed} and ({score} >= 0.5)", "anomalous"),
        query(once(f"forecast_value{FORECAST} offset 1h"), "forecast an hour before"),
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
    panel.override_by_name("forecast an hour before", looks(color=gray, custom__lineStyle={"fill": "dot"}))
    return panel.repeat("series").repeat_direction("v")


def _history() -> Iterator[timeseries.Panel]:
    text = "The ten series with the highest score in the time shown."
    worst = _scores("Worst scores", f"{SCORE} and {WORST}", text)
    yield worst.override_by_regexp(".*", looks(links=[link("Explain it", LINE_PAGE)]))
    yield over_time(
        "Votes",
        query(f"{once(f'anomaly_votes{{{CHOSEN}}}')} and {WORST}"),
        text="How many votes call a sample of these series anomalous; `detection.quorum` of them are needed.",
    )
    text = "One anomalous series is seldom a reason to get up; a third of a query is."
    share = query(f"avg by (query) ({MAY_ALERT} >= bool 0.5)", "{{query}}")
    yield over_time("Anomalous share by query", share, unit="percentunit", text=text).min(0.0).max(1.0)
    text = "Joint scores: metrics that do not have their usual relation, even if each alone is normal."
    yield _scores("Groups", f"{once(GROUP_SCORE)} and {WORST_GROUPS}", text)
    yield from _canaries()


def _canaries() -> Iterator[timeseries.Panel]:
    matchers = '{query=~"$query"}'
    worst = f"topk(10, {once(f'anomaly_canary_score{matchers}')})"
    yield _scores(
        "Canaries", worst, "How sure it is that a candidate, such as the newest version, differs from its baseline."
    )
    sides = (once(f"anomaly_canary_{side}_value{matchers}") for side in ("candidate", "baseline"))
    share = query(f"({' / '.join(sides)} - 1) and {worst}")
    text = "By how much the candidates of these canaries are above their baselines, or below."
    yield over_time("Candidates against their baselines", share, unit="percentunit", text=text)


def _ahead() -> Iterator[timeseries.Panel]:
    soonest = f"bottomk(10, {once(TIME_LEFT)} < Inf)"
    text = "How long, as likely as not, until the limit of the query is reached: the ten series that are there first."
    yield over_time("Time to the limit", query(soonest), unit="s", text=text).min(0.0)
    text = "That the limit of the query is reached within the time that alerts."
    chance = query(f"topk(10, {once(CHANCE)} > 0.1)")
    yield over_time("Probability of reaching the limit", chance, unit="percentunit", text=text).min(0.0).max(1.0)


def _scores(title: str, expr: str, text: str) -> timeseries.Panel:
    line = [Threshold(value=None, color="transparent"), Threshold(value=0.5, color=BAD)]
    panel = over_time(title, query(expr), unit="none", text=text).min(0.0).max(1.0).decimals(2)
    panel.thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(line))
    return panel.thresholds_style(GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED))
