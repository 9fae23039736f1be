"""The ``canary:`` section of a query."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from exporter.alerting.settings import AlertSettings
from exporter.calendar.entries import MatcherText
from exporter.calendar.matchers import Matcher, parse_matcher
from exporter.engine.canary.settings import ComparisonSettings
from exporter.settings import Items, SourceLabel

__all__ = ["CanaryAlertSettings", "CanarySettings"]


class CanaryAlertSettings(AlertSettings):
    """When a difference alerts, and what the alert carries."""

    alertname: str = Field("CanaryDiffers", min_length=1, description="Label `alertname`.")

    @model_validator(mode="after")
    def _without_budget(self) -> Self:
        if self.budget is not None:
            raise ValueError("a comparison has no budget; its false alarms are what alpha says")
        return self


def _alert_not_empty(alert: Any) -> Any:
    if alert is None:
        raise ValueError("empty; write alert: {} to alert with the defaults, or leave it out for metrics only")
    return alert


class CanarySettings(ComparisonSettings):
    """Two sides of the query that are compared, such as two versions or two zones."""

    label: SourceLabel | None = Field(
        None,
        description="Compare the newest value of this label, such as `version`, with the one that came before it.",
    )
    baseline: Items[MatcherText] = Field(
        (), description="In place of `label`: matchers of the series that are compared with."
    )
    candidate: Items[MatcherText] = Field((), description="Matchers of the series that are compared with them.")
    by: Items[SourceLabel] = Field(
        (),
        description="Labels such as `[service]`: one comparison for each combination of their values. Series without "
        "all of them are in none. Empty: one comparison.",
    )
    alert: Annotated[CanaryAlertSettings | None, BeforeValidator(_alert_not_empty)] = Field(
        None, description="When it alerts. Leave it out and there are metrics only."
    )

    @model_validator(mode="after")
    def _sides(self) -> Self:
        if (self.label is None) == (not self.baseline and not self.candidate):
            raise ValueError("give either label, or baseline and candidate")
        if self.label is None and not (self.baseline and self.candidate):
            raise ValueError("baseline and candidate are both needed")
        if self.label is None and set(self.baseline) == set(self.candidate):
            raise ValueError("baseline and candidate select the same series")
        if self.label is not None and self.label in self.by:
            raise ValueError(f"{self.label} cannot be in by: its values are compared with each other")
        return self

    @cached_property
    def matchers(self) -> tuple[tuple[Matcher, ...], tuple[Matcher, ...]]:
        """The parsed `baseline` and `candidate`."""
        baseline, candidate = (tuple(map(parse_matcher, side)) for side in (self.baseline, self.candidate))
        return baseline, candidate

    @property
    def rule(self) -> AlertSettings | None:
        """The `alert` section, if it is not switched off."""
        return self.alert if self.alert is not None and self.alert.enabled else None
