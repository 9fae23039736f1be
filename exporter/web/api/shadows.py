"""``/api/v1/shadows``: how far queries and their shadows differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.web.api.endpoint import ApiRequest, Endpoint, NoParameters

__all__ = ["ShadowReport", "shadows_endpoint"]


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """A query and its shadow in the newest slot `at` that both judged, and since the first one, `began` (Unix seconds).

    `series` have a score of both; `anomalous` and `shadow_anomalous` of them are anomalous, `only_query` and
    `only_shadow` to one alone, and `disagreement` is that part of them. `firing` alerts fire and `shadow_firing` would;
    `alerts` began to fire since `began`, and `shadow_alerts` would have. `trouble` says why nothing is compared now,
    and is empty where it is. null: nothing was compared so far.
    """

    query: str
    at: float | None
    began: float | None
    series: int
    disagreement: float | None
    only_query: int
    only_shadow: int
    anomalous: int
    shadow_anomalous: int
    firing: int
    shadow_firing: int
    alerts: int
    shadow_alerts: int
    trouble: str


def shadows_endpoint(read: Callable[[], Sequence[ShadowReport]]) -> Endpoint[Any, Any]:
    """Make the endpoint."""

    def answer(_: ApiRequest[NoParameters, None]) -> list[ShadowReport]:
        return list(read())

    return Endpoint(
        "GET", "/shadows", "How far queries and their shadows differ.", answer, list[ShadowReport],
        NoParameters, type(None), (),
    )  # fmt: skip
