"""The ``canary:`` section of a query, as far as the engine reads it."""

from __future__ import annotations

from pydantic import Field

from exporter.engine.settings import Deviation, Direction
from exporter.settings import Section

__all__ = ["ComparisonSettings"]


class ComparisonSettings(Section):
    """When two sides of one query differ."""

    quantile: float | None = Field(
        None,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Compare this quantile of the series of each side, such as 0.5 for the median. Default: the mean.",
    )
    direction: Direction | None = Field(
        None, description="Which differences of the candidate count. Default: that of the query."
    )
    min_deviation: Deviation | None = Field(
        None, description="Smaller differences are none, in units of the value. Default: that of the query."
    )
    min_relative_deviation: Deviation = Field(
        0.05, description="Differences that are smaller than this share of the baseline are none."
    )
    alpha: float = Field(
        0.001,
        ge=1e-9,
        le=0.2,
        allow_inf_nan=False,
        description="The probability that a comparison without a difference is ever called different, however often "
        "it is looked at.",
    )
