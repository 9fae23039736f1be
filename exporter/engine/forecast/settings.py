"""The ``forecast:`` section of a query."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from exporter.settings import Duration, Items, Section

__all__ = ["LONGEST", "ForecastSettings", "LimitSettings"]

LONGEST = 7 * 86400.0
"""Seconds: the farthest horizon."""


class LimitSettings(Section):
    """A value that a series should not reach, and when it is near enough to alert."""

    above: float | None = Field(None, allow_inf_nan=False, description="The limit, where values grow towards it.")
    below: float | None = Field(None, allow_inf_nan=False, description="The limit, where values fall towards it.")
    within: Duration = Field(
        4 * 86400.0,
        ge=3600.0,
        le=30 * 86400.0,
        description="How long before the limit is reached it alerts, where the query has an `alert`.",
    )
    probability: float = Field(
        0.8, gt=0, lt=1, description="Alerts where the limit is reached in that time with this probability, at least."
    )

    @model_validator(mode="before")
    @classmethod
    def _single_side(cls, given: Any) -> Any:
        if isinstance(given, dict) and (given.get("above") is None) == (given.get("below") is None):
            raise ValueError("write one of above and below, such as {above: 0.95}")
        return given

    @property
    def value(self) -> float:
        """The limit itself."""
        return self.above if self.above is not None else self.below or 0.0


class ForecastSettings(Section):
    """How far ahead values are forecast, and the limit that they should not reach."""

    horizons: Items[Annotated[Duration, Field(ge=300.0, le=LONGEST)]] = Field(
        (3600.0, 86400.0), min_length=1, max_length=10, description="How far ahead: from 5m to 7d."
    )
    limit: LimitSettings | None = Field(None, description="Forecast when this value is reached.")
