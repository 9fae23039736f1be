"""The ``baseline:`` and ``detection:`` sections, and what a query says about its own values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import Field, SerializeAsAny, WrapValidator

from exporter.engine.buckets import Holidays
from exporter.engine.calibration import Budget
from exporter.engine.detectors import (
    AnyDetector,
    Collective,
    Counts,
    Detector,
    Far,
    Iqr,
    Novelty,
    Peers,
    Texture,
    Window,
    ZScore,
)
from exporter.engine.external import validate_detector
from exporter.engine.forecast.settings import ForecastSettings
from exporter.engine.peers.settings import PeerSettings
from exporter.settings import Duration, Items, Section

__all__ = ["BaselineSettings", "DetectionSettings", "Deviation", "Direction", "DriftSettings", "EngineSettings"]

Direction = Literal["above", "below", "both"]
Deviation = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A size of deviations, absolute or relative: smaller ones never count."""


class BaselineSettings(Section):
    """What is learned from, and for how long."""

    window: Duration = Field(
        30 * 86400.0,
        ge=86400.0,
        description="History that is learned from: read back on start, and the memory of the running statistics.",
    )
    min_history: Duration = Field(
        7 * 86400.0, description="Younger series are scored and marked `warming_up`, but never alerted on."
    )
    backfill_step: Duration = Field(
        300.0,
        ge=1.0,
        description="Step at which history is read back on start, and at which samples are learned; those that come in "
        "between are only judged.",
    )
    accept_level_shift_after: Duration = Field(
        86400.0,
        ge=3600.0,
        description="A series that stays outside its band on one side for this long has a new normal: its baseline "
        "moves there, and its alert ends.",
    )
    series_ttl: Duration = Field(
        7 * 86400.0, gt=0, description="A series that is gone for this long is forgotten and its memory reused."
    )
    season: Literal["auto", "weekly", "daily", "none"] = Field(
        "auto", description="Season that the series have. `auto`: found for each of them, once a day."
    )
    holidays: str | None = Field(
        None,
        description="Country, or a part of it, whose public holidays are learned and judged as its Sundays: `DE`, "
        "`US-CA`.",
    )
    bridge_days: bool = Field(
        False, description="Whether a working day between a holiday and another day of rest is one of them, too."
    )


class DetectionSettings(Section):
    """Who votes, and how many must agree.

    By default a sample is anomalous where it is novel and `zscore` or `iqr` agrees, so outside the band, or where one
    of `far`, `counts`, `window`, `texture` and `collective` says so alone.
    docs/detection.md says what was measured, and what other sets are for.
    """

    detectors: Items[Annotated[SerializeAsAny[AnyDetector], WrapValidator(validate_detector)]] = Field(
        (
            ZScore(),
            Iqr(multiplier=2.5),
            Novelty(votes=2),
            Far(votes=3),
            Counts(votes=3),
            Window(votes=3),
            Texture(votes=3),
            Collective(votes=3),
        ),
        min_length=1,
        description="Detectors that vote: names, or mappings with `kind` and parameters.",
    )
    missing_series: bool = Field(
        True,
        description="Whether it is an anomaly that a series is missing which was there at nearly all past instants of "
        "this time of the week. Not where new series of its family came in the last week, as in a rolling deploy.",
    )
    never_zero: bool = Field(
        True, description="Whether it is an anomaly that a value is zero which never was at this hour of the week."
    )
    quorum: int = Field(3, ge=1, description="Votes needed to call a sample anomalous.")

    @cached_property
    def chosen(self) -> bool:
        """Whether the detectors are others than those of the default."""
        return bool(self.alone != type(self).model_fields["detectors"].default)

    @property
    def alone(self) -> tuple[Detector, ...]:
        """The detectors that judge a series without its siblings."""
        # Not cached: pydantic takes what is cached into copies with other detectors.
        detectors: tuple[Detector, ...] = self.detectors
        return tuple(detector for detector in detectors if not isinstance(detector, Peers))

    def with_peers(self) -> DetectionSettings:
        """Return the same with the detector of what is unlike its siblings, which decides alone."""
        return self.model_copy(update={"detectors": (*self.alone, Peers(votes=self.quorum))})


class DriftSettings(Section):
    """What is watched of concept drift, as metrics of the query; null turns a measure off."""

    anomalous_ratio: float | None = Field(
        0.05,
        gt=0,
        lt=1,
        description="Share of a day's samples of a series; where more are anomalous, its baseline does not fit.",
    )
    relearn: bool = Field(
        True,
        description="Whether a series is learned anew that has more anomalous samples than `anomalous_ratio`, once "
        "`baseline.accept_level_shift_after` of anomalous samples have come together.",
    )
    stability_index: float | None = Field(
        0.2,
        gt=0,
        allow_inf_nan=False,
        description="Population stability index of the last week against a pinned one; above it the profile has moved.",
    )
    changepoints: bool = Field(
        False,
        description="Whether levels that changed are searched for every hour by PELT, in four weeks of history, "
        "beside the slots. With `relearn`, a series is learned anew whose change is as old as "
        "`baseline.accept_level_shift_after` and is confirmed by `anomalous_ratio` or `stability_index`. Queries of "
        "more than 1000 series are left out.",
    )
    changepoint_series: int = Field(20, ge=1, le=1000, description="Series of a query that are searched in a round.")


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """All that the engine of one query has to know.

    Attributes
    ----------
    min_deviation : float, source units
    min_relative_deviation : float, part of the expected value
    valid_range : pair of float
        Values outside are anomalous by themselves and never learned; infinite where there is no limit.
    holidays : Holidays, optional
        Days that are like a day of rest.
    budget : Budget, optional
        How many alerts are wanted; the threshold follows from it.
    cadence : float, seconds, optional
        How far samples that are learned are apart; those in between are only judged. None: all are learned.
    drifting : float, optional
        Share of a day's samples; a series of which more are anomalous is learned anew in the end. None: it is not.
    peers : PeerSettings, optional
        What the siblings of a series are; None: it is judged without them.
    forecast : ForecastSettings, optional
        What is forecast; None: nothing, and nothing is kept for it.
    forecast_step : float, seconds
        How far samples are apart, for the slots that forecasts are made of.
    """

    zone: ZoneInfo
    baseline: BaselineSettings
    detection: DetectionSettings
    direction: Direction = "both"
    min_deviation: float = 0.0
    min_relative_deviation: float = 0.0
    valid_range: tuple[float, float] = (-np.inf, np.inf)
    max_series: int = 100_000
    holidays: Holidays | None = None
    budget: Budget | None = None
    cadence: float | None = None
    drifting: float | None = 0.05
    peers: PeerSettings | None = None
    forecast: ForecastSettings | None = None
    forecast_step: float = 300.0
