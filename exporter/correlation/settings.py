"""The section ``causes:``: how the likely causes of an alert are ranked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from exporter.settings import Items, LabelName, Section

__all__ = ["CauseSettings"]


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
