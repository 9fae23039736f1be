"""The data of the page on which an expression is tried, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.web.pages.models import Labels, TimeRange

__all__ = ["ExploreForm", "ExplorePage", "Trial"]


@dataclass(frozen=True, slots=True)
class ExploreForm:
    """What is to be tried; what is None or empty is as configured.

    `for_` is a duration, `series` a label set, `budget` as in a file.
    """

    expr: str = ""
    direction: str = "both"
    detectors: tuple[str, ...] = ()
    quorum: int | None = None
    min_deviation: float | None = None
    min_relative_deviation: float | None = None
    for_: str = "5m"
    days: int = 7
    series: str = ""
    budget: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the engine said of one series. Times in Unix seconds.

    Attributes
    ----------
    alerts
        From and to of each run of anomalous samples that lasted for `for`.
    step
        Seconds between the samples that were judged.
    """

    judged: int
    anomalous: int
    inside: int
    alerts: Sequence[tuple[float, float]]
    step: float


@dataclass(frozen=True, slots=True)
class ExplorePage:
    """The page at the instant `at`; `series` are keys and labels of those that can be chosen."""

    at: float
    zone: str
    version: str
    form: ExploreForm
    series: Sequence[tuple[str, Labels]] = ()
    labels: Labels = ()
    within: TimeRange | None = None
    trial: Trial | None = None
    trouble: str = ""
