"""The sections that say what is behind an alert: causes, label values, changes, and times of incidents."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from exporter.alerting.explanation.template import check_names
from exporter.calendar import Matcher, parse_matcher
from exporter.calendar.entries import Match
from exporter.settings import Duration, Items, LabelName, Section

__all__ = ["AfterChangeSettings", "CauseSettings", "ChangeSettings", "DrillDownSettings", "IncidentSettings"]


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


ChangeText = Annotated[str, AfterValidator(lambda text: check_names(text, ("name", "value")))]


class ChangeSettings(Section):
    """A query whose increase marks a change, such as a deploy."""

    name: str = Field(min_length=1, max_length=128, description="Unique.")
    expr: str = Field(
        description="PromQL. A series changes where its value rises, such as a generation or a start time, and "
        "where it is new while others are there, such as the version of a build."
    )
    source: str | None = Field(None, description="Which of `sources` is asked. Default: the first.")
    text: ChangeText = Field(
        "{{ name }}",
        min_length=1,
        max_length=500,
        description="What changed, such as `deploy {{ labels.version }} of {{ labels.service }}`; `{{ value }}` is the "
        "new value.",
    )
    equal: Items[LabelName] = Field(
        (),
        description="Labels that an alert must have with the same value as the series. Default: no label that both "
        "have may differ.",
    )
    match: Match | None = Field(None, description="Matchers of the alerts that it may concern. Default: all.")
    within: Duration = Field(3600.0, gt=0, le=86400.0, description="How long before an alert a change is named.")
    refresh: Duration = Field(
        60.0, ge=10.0, le=3600.0, description="How often it is asked, and how exact instants are."
    )

    @cached_property
    def matchers(self) -> tuple[Matcher, ...]:
        """The parsed `match`."""
        return tuple(map(parse_matcher, self.match or ()))


class AfterChangeSettings(Section):
    """Another band for a while after a change that concerns a series of a query."""

    band: float = Field(
        gt=0.1,
        le=100,
        allow_inf_nan=False,
        description="How many times as wide the band is: 2 forgives more, 0.7 less. Samples are learned as ever.",
    )
    duration: Duration = Field(1800.0, gt=0, le=86400.0, description="How long.")


class IncidentSettings(Section):
    """A query that has series while something is wrong, such as chosen alerts: meanwhile nothing is learned."""

    name: str = Field(min_length=1, max_length=128, description="Unique.")
    expr: str = Field(
        description='PromQL, such as `ALERTS{alertstate="firing", alertname=~"SLO.*"}`. It counts where a series has a '
        "value other than 0."
    )
    source: str | None = Field(None, description="Which of `sources` is asked. Default: the first.")
    equal: Items[LabelName] = Field(
        (), description="Labels that a series must have with the same value not to be learned. Default: all are not."
    )
    match: Match | None = Field(None, description="Matchers of the series that it concerns. Default: all.")
    refresh: Duration = Field(60.0, ge=10.0, le=3600.0, description="How often it is asked.")
