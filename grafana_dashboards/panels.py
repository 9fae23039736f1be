"""What the dashboards are put together from."""

from __future__ import annotations

import json
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions, VizTooltipOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, SortOrder, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = [
    "ACCENT", "BAD", "GOOD", "LATE", "MUTED", "SOURCE", "WARN", "age", "annotation", "as_json", "custom_variable",
    "empty_dashboard", "firing", "instant", "link", "looks", "once", "over_time", "query", "query_variable",
    "stat_panel", "table_of",
]  # fmt: skip

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GOOD, WARN, BAD, ACCENT, MUTED = "green", "orange", "red", "blue", "gray"

LATE = ((None, GOOD), (2.5, WARN), (10.0, BAD))
"""Ages in intervals, with the colour that begins there."""

_TAG = "anomaly-exporter"
_INCIDENTS = '<a href="${exporter}/anomalies?query={{query}}" target="_blank">What happened</a>'
"""Of an annotation: the page with the incidents of its query."""


def query(expr: str, legend: str = "__auto") -> prometheus.Dataquery:
    """Ask for a range."""
    return prometheus.Dataquery().expr(expr).range().legend_format(legend).datasource(SOURCE)


def instant(expr: str, name: str) -> prometheus.Dataquery:
    """Return a query for the newest values; `name` is its reference."""
    return prometheus.Dataquery().expr(expr).instant().ref_id(name).datasource(SOURCE)


def over_time(
    title: str,
    *queries: prometheus.Dataquery,
    unit: str = "short",
    width: int = 12,
    height: int = 8,
    text: str = "",
) -> timeseries.Panel:
    """Return a panel with lines."""
    panel = timeseries.Panel().title(title).description(text).datasource(SOURCE).unit(unit).span(width).height(height)
    for i, target in enumerate(queries):
        panel.with_target(target.ref_id(chr(ord("A") + i)))
    legend = VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    tooltip = VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    return panel.legend(legend).tooltip(tooltip).fill_opacity(0).line_width(1)


def stat_panel(
    title: str,
    expr: str,
    *,
    unit: str = "short",
    steps: tuple[tuple[float | None, str], ...] = ((None, ACCENT),),
    text: str = "",
) -> stat.Panel:
    """Return a panel with one number; `steps` are values with the colour that begins there."""
    thresholds = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
    thresholds.steps([Threshold(value=value, color=color) for value, color in steps])
    panel = stat.Panel().title(title).description(text).datasource(SOURCE).unit(unit).span(4).height(4)
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    return panel.thresholds(thresholds).with_target(instant(expr, "A"))


def table_of(title: str, *queries: prometheus.Dataquery, text: str = "") -> table.Panel:
    """Return a table; the columns with the values are called ``Value #NAME`` after the queries."""
    panel = table.Panel().title(title).description(text).datasource(SOURCE).span(24).height(9)
    return panel.targets([target.format(PromQueryFormat.TABLE) for target in queries])


def link(title: str, url: str) -> dict[str, object]:
    """Return a data link: the target of a click on a value."""
    return {"title": title, "url": url, "targetBlank": True}


def looks(**properties: object) -> list[DynamicConfigValue]:
    """Return properties of a field; ``custom__lineWidth`` stands for ``custom.lineWidth``."""
    return [DynamicConfigValue(id_val=name.replace("__", "."), value=value) for name, value in properties.items()]


def query_variable(name: str, label: str, expr: str, *, all_of_them: bool = True) -> dashboard.QueryVariable:
    """Return a variable whose values come from Prometheus, several at a time."""
    variable = dashboard.QueryVariable(name).label(label).query(expr).datasource(SOURCE)
    return variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(all_of_them)


def custom_variable(name: str, label: str, values: str) -> dashboard.CustomVariable:
    """Return a variable with fixed values, separated by commas; the first is chosen."""
    first = values.partition(",")[0]
    chosen = VariableOption(selected=True, text=first, value=first)
    return dashboard.CustomVariable(name).label(label).values(values).current(chosen)


def once(expr: str) -> str:
    """Return scores counted once where two exporters do the same work."""
    return f"max without (replica) ({expr})"


def firing(matchers: str) -> str:
    """Return how many alerts fire, by query: of a pair the larger number, of shards their sum."""
    alerts = f'anomaly_exporter_alerts{{state="firing",{matchers}}}'
    shards = f"max(anomaly_exporter_shards{{{matchers if 'instance' in matchers else ''}}}) > 1"
    return f"(sum by (query) ({alerts}) and on () ({shards})) or max by (query) ({alerts})"


def age(matchers: str) -> str:
    """Return the age of the scores, by exporter and query, in intervals of the query."""
    last, interval = (
        f"anomaly_exporter_{name}{{{matchers}}}"
        for name in ("last_success_timestamp_seconds", "query_interval_seconds")
    )
    return f"(time() - {last}) / on (job, instance, query) {interval}"


def annotation(name: str, expr: str, color: str) -> dashboard.AnnotationQuery:
    """Return marks on every panel, wherever `expr` has a sample; Grafana names them by the label ``alertname``."""
    return dashboard.AnnotationQuery().name(name).datasource(SOURCE).expr(expr).enable(True).icon_color(color)


def empty_dashboard(title: str, uid: str, text: str) -> dashboard.Dashboard:
    """Return an empty dashboard with the variable of the data source and a link to the other one."""
    built = dashboard.Dashboard(title).uid(uid).description(text).tags([_TAG]).editable().refresh("1m")
    built.tooltip(DashboardCursorSync.CROSSHAIR).timezone("browser").time("now-6h", "now")
    link = dashboard.DashboardLink("anomaly-exporter").type(DashboardLinkType.DASHBOARDS).tags([_TAG])
    built.link(link.keep_time(True))
    return built.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))


def as_json(built: dashboard.Dashboard) -> str:
    """Return the JSON without unset values: Grafana's schema allows no null in most places."""
    whole = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    # Grafana no longer has it.
    whole.pop("style", None)
    for number, panel in enumerate(whole["panels"], 1):
        panel["id"] = number
    for each in whole["annotations"].get("list", []):
        # The builder has no fields for them: Grafana takes the text as HTML, with the labels of the sample put in.
        if any(variable["name"] == "exporter" for variable in whole["templating"]["list"]):
            each |= {"titleFormat": "{{alertname}}", "tagKeys": "query", "textFormat": _INCIDENTS}
    for variable in whole["templating"]["list"]:
        # The builder writes them for every kind, but Grafana has them for few.
        for name in ("id", "auto", "auto_count", "auto_min"):
            variable.pop(name, None)
    return json.dumps(_without_null(whole), indent=2, sort_keys=True) + "\n"


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        # The first threshold begins at minus infinity, which Grafana does write as null.
        return {
            key: _without_null(item)
            for key, item in value.items()
            if item is not None or (key == "value" and "color" in value)
        }
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return value
