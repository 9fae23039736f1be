"""``/api/v1/series``: the verdict on every series in its newest slot."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from exporter.calendar.matchers import Matcher
from exporter.web.api.anomalies import Limit, Matchers, Name, parse_matchers
from exporter.web.api.endpoint import ApiRequest, Endpoint
from exporter.web.api.envelope import ApiError, ErrorType

__all__ = ["SeriesQuery", "SeriesVerdict", "SeriesCursor", "State", "series_endpoint"]

State = Literal["scored", "warming_up", "masked", "no_data"]


class SeriesParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which series."""

    query: Annotated[Name | None, msgspec.Meta(description="Only of this query.")] = None
    match: Matchers = msgspec.field(default=(), name="match[]")
    state: Annotated[State | None, msgspec.Meta(description="Only these.")] = None
    anomalous: Annotated[bool | None, msgspec.Meta(description="Only those that are, or are not.")] = None
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1, description="Least score.")] | None = None
    limit: Limit = 100
    cursor: Annotated[str, msgspec.Meta(max_length=256, description="`next_cursor` of the page before.")] | None = None


@dataclass(frozen=True, slots=True)
class SeriesCursor:
    """The end of a page: the score of its last series (-1: none), its query, and its row."""

    score: float
    query: str
    row: int


@dataclass(frozen=True, slots=True)
class SeriesQuery:
    """Which series to list; None does not filter.

    Attributes
    ----------
    after : SeriesCursor or None
        Only what comes after it.
    """

    query: str | None = None
    matchers: Sequence[Matcher] = ()
    state: State | None = None
    anomalous: bool | None = None
    least_score: float | None = None
    after: SeriesCursor | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class SeriesVerdict:
    """One series as of the newest slot of its query, in source units. `at` is the slot, in Unix seconds."""

    query: str
    labels: Mapping[str, str]
    at: float
    state: State
    anomalous: bool
    score: float | None
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    votes: float | None
    z: float | None


@dataclass(frozen=True, slots=True)
class SeriesPage:
    """Series, the highest score first. More follow where `next_cursor` is not null."""

    series: Sequence[SeriesVerdict]
    next_cursor: str | None


ListSeries = Callable[[SeriesQuery], tuple[Sequence[SeriesVerdict], SeriesCursor | None]]
"""From a query to a page, and where it ended if more may follow."""


def series_endpoint(list_series: ListSeries) -> Endpoint[Any, Any]:
    """Make the endpoint."""

    def answer(request: ApiRequest[SeriesParameters, None]) -> SeriesPage:
        parameters = request.parameters
        query = SeriesQuery(
            query=parameters.query,
            matchers=parse_matchers(parameters.match),
            state=parameters.state,
            anomalous=parameters.anomalous,
            least_score=parameters.min_score,
            after=None if parameters.cursor is None else _read_cursor(parameters.cursor),
            limit=parameters.limit,
        )
        series, end = list_series(query)
        return SeriesPage(series, None if end is None else f"{end.score!r},{end.row},{end.query}")

    nothing = type(None)
    return Endpoint(
        "GET", "/series", "What every series was judged last, the highest score first.", answer, SeriesPage,
        SeriesParameters, nothing,
    )  # fmt: skip


def _read_cursor(text: str) -> SeriesCursor:
    match = re.fullmatch(r"(-1\.0|[01]\.[0-9]{1,25}|[0-9](?:\.[0-9]{1,25})?e-[0-9]{1,3}),([0-9]{1,9}),(.+)", text)
    if match is None:
        raise ApiError(ErrorType.BAD_DATA, "cursor: not one that an earlier answer gave")
    return SeriesCursor(float(match[1]), match[3], int(match[2]))
