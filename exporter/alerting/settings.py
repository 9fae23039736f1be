"""The ``alert:`` section of a query, and ``alerting:``, which holds for all of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from exporter.settings import Duration, LabelName, Section

__all__ = ["AlertSettings", "AlertingSettings"]


def _not_reserved(labels: dict[str, str]) -> dict[str, str]:
    for name, instead in (("alertname", "use the field alertname"), ("query", "it is the name of the query")):
        if name in labels:
            raise ValueError(f"{name} is set by the exporter: {instead}")
    return labels


class AlertSettings(Section):
    """When a query alerts, and what the alert carries. Leave it out and the query only has scores."""

    alertname: str = Field("AnomalyDetected", min_length=1, description="Label `alertname`.")
    for_: Duration = Field(0.0, alias="for", description="How long a series must be anomalous before its alert fires.")
    keep_firing_for: Duration = Field(0.0, description="How long the alert fires on after the series is normal again.")
    no_data: Literal["hold", "resolve", "alert"] = Field(
        "hold",
        description="What a firing alert does when its series is missing from a good answer: wait 3 cycles and "
        "resolve, resolve at once, or fire on.",
    )
    labels: Annotated[dict[LabelName, str], AfterValidator(_not_reserved)] = Field(
        {}, description="Labels added to the alert; they win over the series', and an empty one removes the series'."
    )
    annotations: dict[LabelName, str] = Field(
        {}, description="Annotations added to the alert; they win over the built-in ones."
    )


class AlertingSettings(Section):
    """Constants of the alert protocol. The defaults are those of Prometheus where it has one."""

    resend_delay: Duration = Field(60.0, gt=0, description="How often a firing alert is sent again.")
    resolved_retention: Duration = Field(900.0, gt=0, description="How long a resolved alert is sent again.")
    source_hold: Duration = Field(900.0, description="How long firing alerts are kept alive while their query fails.")
    outage_tolerance: Duration = Field(
        3600.0, description="Alerts of an earlier run that are older than this are dropped on start."
    )
    max_alerts: int = Field(10_000, ge=1, description="Alerts at one time; more are suppressed and counted.")
    drain_timeout: Duration = Field(5.0, description="How long a shutdown waits for the Alertmanagers.")
