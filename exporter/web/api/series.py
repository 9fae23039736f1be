"""``/api/v1/series``: the verdict on every series in its newest slot."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import msgspec

from exporter.web.api.anomalies import Cursor, Limit, Matchers, Name
from exporter.web.api.endpoint import ApiRequest, Endpoint
from exporter.web.api.envelope import ApiError, ErrorType

__all__ = [
    "ForecastAnswer",
    "HorizonForecast",
    "PeerAnswer",
    "SeriesCursor",
    "SeriesPage",
    "SeriesParameters",
    "SeriesVerdict",
    "State",
    "series_endpoint",
]

State = Literal["scored", "warming_up", "masked", "no_data"]


class SeriesParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which series."""

    query: Annotated[Name | None, msgspec.Meta(description="Only of this query.")] = None
    match: Matchers = msgspec.field(default=(), name="match[]")
    state: Annotated[State | None, msgspec.Meta(description="Only these.")] = None
    anomalous: Annotated[bool | None, msgspec.Meta(description="Only those that are, or are not.")] = None
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1, description="Least score.")] | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class SeriesCursor:
    """The end of a page: the score of its last series (-1: none), its query, and its row."""

    score: float
    query: str
    row: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote; raises `ApiError`."""
        match = re.fullmatch(r"(-1\.0|[01]\.[0-9]{1,25}|[0-9](?:\.[0-9]{1,25})?e-[0-9]{1,3}),([0-9]{1,9}),(.+)", text)
        if match is None:
            raise ApiError(ErrorType.BAD_DATA, "cursor: not one that an earlier answer gave")
        return cls(float(match[1]), match[3], int(match[2]))

    def __str__(self) -> str:
        return f"{self.score!r},{self.row},{self.query}"


@dataclass(frozen=True, slots=True)
class HorizonForecast:
    """What a series will be so far ahead, in source units: the median, and the band that holds four of five values."""

    horizon: str
    value: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class ForecastAnswer:
    """The forecasts of a series.

    `time_to_limit_seconds` is how long until the limit is reached, by probability: null is not within 30 days. It is
    empty where the query has no limit, or nothing can be said; so is `limit_probability`, that it is reached within
    the time that alerts.
    """

    horizons: Sequence[HorizonForecast]
    time_to_limit_seconds: Mapping[str, float | None]
    limit_probability: float | None


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """A series among its siblings, in source units.

    `severity` is how unlike them it is: 1 is at the limit. `size` is how many have a sample, itself among them,
    `median` is theirs, and `expected` is where it would usually be among them, between `lower` and `upper`.
    """

    severity: float | None
    size: int
    median: float | None
    expected: float | None
    lower: float | None
    upper: float | None


@dataclass(frozen=True, slots=True)
class SeriesVerdict:
    """One series as of the newest slot of its query, in source units. `at` is the slot, in Unix seconds.

    `suppressed` is why it does not alert whatever its score: the label `reason` of `anomaly_suppressed`; null: it may.
    `forecast` is null where the query has none, and `peers` where it has none or nothing can be said.
    """

    query: str
    labels: Mapping[str, str]
    at: float
    state: State
    anomalous: bool
    suppressed: str | None
    score: float | None
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    votes: float | None
    z: float | None
    forecast: ForecastAnswer | None = None
    peers: PeerAnswer | None = None


@dataclass(frozen=True, slots=True)
class SeriesPage:
    """Series, the highest score first. More follow where `next_cursor` is not null."""

    series: Sequence[SeriesVerdict]
    next_cursor: str | None


def series_endpoint(list_series: Callable[[SeriesParameters], SeriesPage]) -> Endpoint[Any, Any]:
    """Make the endpoint."""

    def answer(request: ApiRequest[SeriesParameters, None]) -> SeriesPage:
        return list_series(request.parameters)

    return Endpoint(
        "GET", "/series", "What every series was judged last, the highest score first.", answer, SeriesPage,
        SeriesParameters, type(None),
    )  # fmt: skip
