"""``/api/v1/series``: what every series was judged in its newest slot."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from exporter.calendar.matchers import Matcher
from exporter.web.api.anomalies import Limit, Matchers, Name, matchers_of
from exporter.web.api.endpoint import Call, Endpoint
from exporter.web.api.envelope import ApiError, ErrorType

__all__ = ["Asked", "JudgedSeries", "Place", "State", "series_endpoint"]

State = Literal["scored", "warming_up", "masked", "no_data"]


class SeriesWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which series."""

    query: Annotated[Name | None, msgspec.Meta(description="Only of this query.")] = None
    match: Matchers = msgspec.field(default=(), name="match[]")
    state: Annotated[State | None, msgspec.Meta(description="Only these.")] = None
    anomalous: Annotated[bool | None, msgspec.Meta(description="Only those that are, or are not.")] = None
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1, description="Least score.")] | None = None
    limit: Limit = 100
    cursor: Annotated[str, msgspec.Meta(max_length=256, description="`next_cursor` of the page before.")] | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended: the score of its last series (-1: none), its query, and its row."""

    score: float
    query: str
    row: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Which series are asked for; what is None does not matter.

    Attributes
    ----------
    after : Place or None
        Only what comes after it.
    limit : int
        At most so many.
    """

    query: str | None = None
    matchers: Sequence[Matcher] = ()
    state: State | None = None
    anomalous: bool | None = None
    least_score: float | None = None
    after: Place | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class JudgedSeries:
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

    series: Sequence[JudgedSeries]
    next_cursor: str | None


Listing = Callable[[Asked], tuple[Sequence[JudgedSeries], Place | None]]
"""From what is asked for to a page, and where it ended if more may follow."""


def series_endpoint(listing: Listing) -> Endpoint[Any, Any]:
    """Make the endpoint.

    Parameters
    ----------
    listing : callable
    """

    def answer(call: Call[SeriesWanted, None]) -> SeriesPage:
        wanted = call.parameters
        asked = Asked(
            query=wanted.query,
            matchers=matchers_of(wanted.match),
            state=wanted.state,
            anomalous=wanted.anomalous,
            least_score=wanted.min_score,
            after=None if wanted.cursor is None else _read_cursor(wanted.cursor),
            limit=wanted.limit,
        )
        found, end = listing(asked)
        return SeriesPage(found, None if end is None else f"{end.score!r},{end.row},{end.query}")

    nothing = type(None)
    return Endpoint(
        "GET", "/series", "What every series was judged last, the highest score first.", answer, SeriesPage,
        SeriesWanted, nothing,
    )  # fmt: skip


def _read_cursor(text: str) -> Place:
    found = re.fullmatch(r"(-1\.0|[01]\.[0-9]{1,25}|[0-9](?:\.[0-9]{1,25})?e-[0-9]{1,3}),([0-9]{1,9}),(.+)", text)
    if found is None:
        raise ApiError(ErrorType.BAD_DATA, "cursor: not one that an earlier answer gave")
    return Place(float(found[1]), found[3], int(found[2]))
