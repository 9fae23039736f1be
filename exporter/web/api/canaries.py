"""``/api/v1/canaries``: what is compared, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from exporter.web.api.endpoint import ApiRequest, Endpoint, NoParameters

__all__ = ["CanaryReport", "ComparisonReport", "canaries_endpoint"]


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """One comparison; null: not known, or not so far.

    `labels` are those of `by`, and what selects the candidate. `score` is 0 to 1, from 0.5 on they differ; `p_value`
    the highest probability that so much evidence ever comes together without a difference; `direction` the side of the
    baseline on which there is more of it. `baseline` and `candidate` are their values of late, in source units, and
    differences up to `smallest` do not count. `since` is when the difference began, in Unix seconds; `series` how many
    baseline and candidate have now, `slots` how many were compared.
    """

    labels: Mapping[str, str]
    baseline_name: str
    candidate_name: str
    different: bool
    score: float | None
    p_value: float | None
    direction: Literal["above", "below"]
    baseline: float | None
    candidate: float | None
    smallest: float
    since: float | None
    series: tuple[int, int]
    slots: int


@dataclass(frozen=True, slots=True)
class CanaryReport:
    """The comparisons of a query, what differs first; `at` is the slot in Unix seconds, null where there was none."""

    query: str
    at: float | None
    comparisons: tuple[ComparisonReport, ...]


def canaries_endpoint(read: Callable[[], Sequence[CanaryReport]]) -> Endpoint[Any, Any]:
    """Make the endpoint."""

    def answer(_: ApiRequest[NoParameters, None]) -> list[CanaryReport]:
        return list(read())

    return Endpoint(
        "GET", "/canaries", "The two sides of every canary, and whether they differ.", answer, list[CanaryReport],
        NoParameters, type(None), (),
    )  # fmt: skip
