"""``/api/v1/baseline``: what one series is judged against at each hour of the week."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from exporter.web.api.anomalies import Name
from exporter.web.api.endpoint import ApiRequest, Endpoint, Labels
from exporter.web.api.envelope import ErrorType

__all__ = ["BaselineBucket", "BaselineParameters", "SeriesBaseline", "baseline_endpoint"]


class BaselineParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Which series."""

    query: Annotated[Name, msgspec.Meta(description="Its query.")]
    labels: Annotated[
        Labels,
        msgspec.Meta(
            description="Labels, each as a parameter of its own, such as `instance=a`; as many as it takes to have one "
            "series. A label called `query` is written `label.query`."
        ),
    ] = msgspec.field(default_factory=Labels)


@dataclass(frozen=True, slots=True)
class BaselineBucket:
    """An hour of the week, and what samples in it are judged against, in source units; null: nothing was learned.

    `weekday` is 0 for Monday. `scope` says which statistics these are: of this hour of the week, of this hour of every
    day, or of all times, where too little was seen of the finer ones or there is no such season. `visits` is how many
    weeks or days of it were learned, `sample_count` the same in samples of an interval, at most those of the window.
    `updated_at` is when the hour was passed last, in Unix seconds.
    """

    bucket: int
    weekday: int
    hour: int
    scope: Literal["week", "day", "all"]
    mean: float | None
    stddev: float | None
    q1: float | None
    q3: float | None
    sample_count: int
    visits: float
    updated_at: float | None


@dataclass(frozen=True, slots=True)
class SeriesBaseline:
    """The 168 hours of the week of one series; `current` is the bucket that it is judged by now, `zone` its clock."""

    query: str
    labels: Mapping[str, str]
    zone: str
    at: float
    current: int
    buckets: tuple[BaselineBucket, ...]


def baseline_endpoint(read: Callable[[BaselineParameters], SeriesBaseline]) -> Endpoint[Any, Any]:
    """Make the endpoint; `read` raises `ApiError`."""

    def answer(request: ApiRequest[BaselineParameters, None]) -> SeriesBaseline:
        return read(request.parameters)

    return Endpoint(
        "GET", "/baseline", "What one series is judged against at each hour of the week.", answer, SeriesBaseline,
        BaselineParameters, type(None), (ErrorType.NOT_FOUND,),
    )  # fmt: skip
