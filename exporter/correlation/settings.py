"""The sections ``causes:`` and ``drill_down:``: how an alert says who and what is behind it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from exporter.settings import Items, LabelName, Section

__all__ = ["CauseSettings", "DrillDownSettings"]


class CauseSettings(Section):
    """What measures the damage behind some alerts, component by component.

    The damage is in the unit of the alert: seconds that requests took longer behind an alert of latency, requests that
    failed behind one of errors.
    """

    alerts: Items[str] = Field(min_length=1, description="Queries and groups whose alerts name their likely causes.")
    component: Items[LabelName] = Field(
        min_length=1,
        description="Labels that identify a component, such as `[service]`: of the series of `damage`, of both sides "
        "of `dependencies`, and of the alerts.",
    )
    damage: str = Field(
        description="Query whose excess over what is expected is the damage: seconds spent, or requests failed, a "
        "second. Series of one component are added up."
    )
    times: str | None = Field(
        None,
        description="Query with the requests a second. Give it where `damage` is an average of each request, such as a "
        "latency or a share: the damage is the product, and series of one component are averaged.",
    )
    worse: Literal["above", "below"] = Field(
        "above", description="On which side of what is expected there is damage: `below` for an availability."
    )
    work: str | None = Field(
        None,
        description="Query whose expected value says how much a component does. Where no dependency is known, it "
        "decides between components that have the same damage. Default: `damage`.",
    )


class DrillDownSettings(Section):
    """By which labels the aggregate of a query is split when its alert fires. A list of labels is enough."""

    labels: Items[LabelName] = Field(
        min_length=1, max_length=8, description="Labels such as `[version, region, instance]`."
    )
    expr: str | None = Field(
        None,
        description="PromQL of the aggregate, where that of the query cannot be split: a sum, a count, an average or a "
        "ratio of sums, such as the share of slow requests behind a quantile.",
    )
