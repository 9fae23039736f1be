"""The ``alert:`` section of a query, and ``alerting:``, which holds for all of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.alerting.budget import Budgeted
from exporter.alerting.explanation.formatting import Unit
from exporter.alerting.explanation.registry import VARIABLES
from exporter.alerting.explanation.template import check, check_names
from exporter.settings import Duration, Items, LabelName, Section, SourceLabel

__all__ = ["AlertSettings", "AlertingSettings", "ContextSettings", "DependencySettings", "StormSettings"]

_RESERVED = (
    ("alertname", "use the field alertname"),
    ("query", "it is the name of the query"),
    ("storm", "it tells storms from alerts of one series"),
    ("incident", "it follows from groups and dependencies"),
    ("incident_role", "it follows from groups and dependencies"),
    ("notify_as", "it follows from digest_below"),
)


def _not_reserved(labels: dict[str, str]) -> dict[str, str]:
    for name, instead in _RESERVED:
        if name in labels:
            raise ValueError(f"{name} is set by the exporter: {instead}")
    return labels


class StormSettings(Section):
    """When series that turn anomalous together are one alert."""

    enabled: bool = Field(True, description="Whether they are; if not, every series has its own alert.")
    members: int = Field(5, ge=2, description="How many series have to turn together.")
    window: Duration = Field(
        300.0,
        gt=0,
        description="How far apart they may turn. Who turns later joins for as long as somebody joined within it.",
    )
    by: Items[SourceLabel] = Field(
        (),
        description="Labels by which storms are told apart, such as `[namespace]`: one storm for each combination, "
        "which has these labels. Empty: one storm for the whole query.",
    )


Template = Annotated[str, AfterValidator(check)]
LabelledExpr = Annotated[str, AfterValidator(lambda expr: check_names(expr, ()))]
ContextText = Annotated[str, AfterValidator(lambda text: check_names(text, ("value",)))]


def _own_name(name: str) -> str:
    if name in VARIABLES:
        raise ValueError(f"every alert may have an annotation {name}; take another name")
    return name


class ContextSettings(Section):
    """Something that is asked of Prometheus once, when an alert fires, and said in an annotation."""

    name: Annotated[LabelName, AfterValidator(_own_name)] = Field(
        description="Name of the annotation; `{{ context.NAME }}` in templates."
    )
    expr: LabelledExpr | None = Field(
        None,
        description='PromQL, such as `slo:error_budget:ratio{service="{{ labels.service }}"}`; a label of the alert '
        "stands inside a string.",
    )
    exemplars: LabelledExpr | None = Field(
        None,
        description="PromQL of a metric with exemplars, instead of `expr`: the exemplar with the largest value since "
        "the anomaly began is taken. Its labels, such as `trace_id`, are there for `text`.",
    )
    window: Duration = Field(
        300.0, gt=0, le=86400.0, description="For `exemplars`: how long before the anomaly they may be."
    )
    unit: Unit | None = Field(None, description="What the value is.")
    text: ContextText | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="The text, such as `{{ value }} of the budget is left` or "
        "`https://tempo.example/trace/{{ labels.trace_id }}`. Labels are those of the answer, and those of the alert "
        "that it does not have. Default: the value, with the labels of its series.",
    )

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.expr is None) == (self.exemplars is None):
            raise ValueError("give exactly one of expr and exemplars")
        return self


class AlertSettings(Section):
    """When a query alerts, and what the alert carries. Leave it out and the query only has scores."""

    enabled: bool = Field(True, description="False switches the alert off; scores go on, and what fires ends.")
    alertname: str = Field("AnomalyDetected", min_length=1, description="Label `alertname`.")
    for_: Duration = Field(0.0, alias="for", description="How long a series must be anomalous before its alert fires.")
    keep_firing_for: Duration = Field(0.0, description="How long the alert fires on after the series is normal again.")
    no_data: Literal["hold", "resolve", "alert"] = Field(
        "hold",
        description="What a firing alert does when its series is missing from a good answer: wait 3 cycles and "
        "resolve, resolve at once, or fire on.",
    )
    budget: Budgeted | None = Field(
        None,
        description="About how many alerts it may raise, such as `2/week`, `1/day` or `5/month`: the threshold is "
        "calibrated on history so that it comes to that. docs/budget.md.",
    )
    labels: Annotated[dict[LabelName, str], AfterValidator(_not_reserved)] = Field(
        {}, description="Labels added to the alert; they win over the series', and an empty one removes the series'."
    )
    annotations: dict[LabelName, Template] = Field(
        {},
        description="Annotations added to the alert, such as `runbook_url`; they win over the built-in ones, and an "
        "empty one removes it. `{{ observed }}`, `{{ labels.NAME }}` and so on are filled in: docs/annotations.md.",
    )
    context: Items[ContextSettings] = Field(
        (),
        max_length=10,
        description="What Prometheus is asked once, when the alert fires: error budget, traffic, a trace. "
        "docs/annotations.md.",
    )
    digest_below: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="Share of real alerts, by the verdicts of people, below which alerts like those have the label "
        '`notify_as="digest"`, for a route that notifies now and then. Five verdicts are needed. Default: never.',
    )
    storm: StormSettings | None = Field(
        None, description="Fields of `alerting.storm` that differ for this query; the others stay."
    )


_SERVICE_GRAPH = {
    "from_query": "sum by (client, server) (rate(traces_service_graph_request_total[10m])) > 0",
    "caller": {"service": "client"},
    "callee": {"service": "server"},
}
_PRESETS: dict[str, dict[str, Any]] = {
    "tempo": _SERVICE_GRAPH,
    "opentelemetry": _SERVICE_GRAPH,
    "istio": {
        "from_query": "sum by (source_canonical_service, destination_canonical_service) "
        '(rate(istio_requests_total{reporter="destination"}[10m])) > 0',
        "caller": {"service": "source_canonical_service"},
        "callee": {"service": "destination_canonical_service"},
    },
}


class DependencySettings(Section):
    """Who depends on whom: an anomaly of the callee may explain one of the caller.

    One dependency, or all that the answer of a query holds.
    """

    caller: dict[SourceLabel, str] = Field(
        min_length=1,
        description="Labels of the alerts of what calls, such as `{service: checkout}`. With `from_query`: for each of "
        "them the label of the answer that has its value, such as `{service: client}`.",
    )
    callee: dict[SourceLabel, str] = Field(
        min_length=1, description="Labels of the alerts of what is called. With `from_query` as for `caller`."
    )
    equal: Items[SourceLabel] = Field(
        (), description="Labels that both alerts must have with the same value, such as `[cluster]`."
    )
    from_query: str | None = Field(
        None,
        description="PromQL with a series for each caller and callee, asked again every `refresh`. Series whose value "
        "is not above 0 are no calls.",
    )
    source: str | None = Field(None, description="Which of `sources` `from_query` asks. Default: the first.")
    preset: Literal["tempo", "opentelemetry", "istio"] | None = Field(
        None,
        description="Sets `from_query`, `caller` and `callee` for the service graph of Tempo, of the service graph "
        "connector of OpenTelemetry, or of Istio. Fields that are given win; alerts have the label `service`.",
    )
    refresh: Duration = Field(300.0, ge=10.0, description="How often `from_query` is asked.")

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, data: Any) -> Any:
        preset = data.get("preset") if isinstance(data, dict) else None
        return {**_PRESETS[preset], **data} if isinstance(preset, str) and preset in _PRESETS else data

    @model_validator(mode="after")
    def _refreshed(self) -> Self:
        if self.from_query is None and "refresh" in self.model_fields_set:
            raise ValueError("refresh goes with from_query")
        return self


class AlertingSettings(Section):
    """Constants of the alert protocol. The defaults are those of Prometheus where it has one."""

    resend_delay: Duration = Field(60.0, gt=0, description="How often a firing alert is sent again.")
    resolved_retention: Duration = Field(
        900.0,
        gt=0,
        description="How long the end of an alert is kept for an Alertmanager that has not accepted it, or that was "
        "started since then.",
    )
    source_hold: Duration = Field(900.0, description="How long firing alerts are kept alive while their query fails.")
    outage_tolerance: Duration = Field(
        3600.0, description="Alerts of an earlier run that are older than this are dropped on start."
    )
    max_alerts: int = Field(10_000, ge=1, description="Alerts at one time; more are suppressed and counted.")
    storm: StormSettings = Field(
        StormSettings(), description="When series that turn anomalous together are one alert; a query may differ."
    )
    drain_timeout: Duration = Field(5.0, description="How long a shutdown waits for the Alertmanagers.")
