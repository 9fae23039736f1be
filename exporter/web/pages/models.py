"""What the pages show, as plain values. The program gives them; the pages ask nothing else of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import Unit
from exporter.charts.chart import Chart, Look, Part, Unshowable

__all__ = [
    "Anomaly",
    "Chart",
    "EventRow",
    "GroupRow",
    "Health",
    "Labels",
    "Look",
    "Overview",
    "PageData",
    "Part",
    "QueryRow",
    "QueryState",
    "Range",
    "SeriesRow",
    "Shown",
    "ThingRow",
    "Unshowable",
    "Wanted",
    "Which",
]

FloatArray = npt.NDArray[np.float64]
Labels = Sequence[tuple[str, str]]


class QueryState(StrEnum):
    """How far a query is."""

    WAITING = "waiting"
    """It is not its turn so far."""
    LEARNING = "learning"
    """History is being read."""
    SCORED = "scored"
    EMPTY = "no series"
    """It is answered, and the answer has no series: nothing is watched."""
    FAILED = "failed"


class Which(StrEnum):
    """Which series of a query are wanted."""

    ALL = "all"
    ANOMALOUS = "anomalous"
    WARMING_UP = "warming_up"


@dataclass(frozen=True, slots=True)
class QueryRow:
    """One query. Times in Unix seconds; `series` counts by state, as the self-metric does."""

    name: str
    expr: str
    state: QueryState
    progress: float
    series: int
    scored: int
    warming_up: int
    anomalous: int
    alerting: bool
    judged_at: float | None
    interval: float
    trouble: str | None = None


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One series and its newest sample, source units; NaN = absent.

    Attributes
    ----------
    labels
        Those of the source series.
    ready
        Whether it is old enough to be alerted on.
    place
        Where its last samples were in the band: 0 as expected, 1 at an edge, NaN where nothing can be said.
    severities
        Of every detector: 1 and above is a vote.
    """

    query: str
    labels: Labels
    at: float
    score: float
    observed: float
    expected: float
    lower: float
    upper: float
    votes: float
    ready: bool
    place: FloatArray
    unit: Unit | None = None
    masked: bool = False
    """Whether its samples are judged and not learned: a silence or a known event concerns it."""
    severities: Sequence[tuple[str, float]] = ()


@dataclass(frozen=True, slots=True)
class GroupRow:
    """One group. `at` is when it was judged, Unix seconds; None: not so far."""

    name: str
    at: float | None
    scored: int
    anomalous: int


@dataclass(frozen=True, slots=True)
class ThingRow:
    """One thing of a group.

    Attributes
    ----------
    shares
        Part of each query's metric in the score, 0 to 1, the largest first.
    load
        The factor by which all metrics are up, where that is why it is not anomalous; else NaN.
    """

    group: str
    labels: Labels
    score: float
    shares: Sequence[tuple[str, float]]
    load: float


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One open or past episode.

    Attributes
    ----------
    id
        Where it can be acknowledged: ``/api/v1/anomalies/{id}``; None where there is no such thing.
    labels
        Those of the source series, as far as they can be told; they lead to its graph.
    """

    query: str
    labels: Labels
    state: str
    since: float
    summary: str
    until: float | None = None
    id: str | None = None
    notes: Sequence[tuple[str, str]] = ()
    said: Sequence[str] = ()
    """What people said of it, a sentence each."""
    has_graph: bool = True
    """False where it is not about one series, such as that of a group."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """A known event that is in effect or comes soon."""

    name: str
    starts_at: float
    ends_at: float
    action: str
    match: str


@dataclass(frozen=True, slots=True)
class Health:
    """A server we depend on, or the store. `well` is None where it is not known so far."""

    kind: str
    name: str
    well: bool | None
    said: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which series the overview lists; `text` is words that all have to occur in the labels."""

    query: str | None = None
    text: str = ""
    which: Which = Which.ALL
    page: int = 1
    size: int = 50


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the front page at one instant `at`; `matching` counts the series that `wanted` fits."""

    at: float
    zone: str
    version: str
    queries: Sequence[QueryRow]
    anomalies: Sequence[Anomaly]
    events: Sequence[EventRow]
    health: Sequence[Health]
    series: Sequence[SeriesRow]
    matching: int
    total: int
    groups: Sequence[GroupRow] = ()
    things: Sequence[ThingRow] = ()
    """The highest scores of all groups."""


@dataclass(frozen=True, slots=True)
class Range:
    """From when to when, Unix seconds."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Shown:
    """One series, for its own page."""

    at: float
    zone: str
    version: str
    query: QueryRow
    series: SeriesRow
    quorum: int
    anomalies: Sequence[Anomaly]
    source_url: str
    explanation: Sequence[tuple[str, str]] = ()
    candidates: Sequence[Labels] = ()
    """Where several series fit what was asked for: some of them; then `series` is the first."""


class PageData(Protocol):
    """What the program tells the pages. Every method is run in a worker thread."""

    charts: bool
    """Whether charts can be drawn: the extra is installed."""

    def now(self) -> float:
        """Return the time, whole Unix seconds."""

    def overview(self, wanted: Wanted) -> Overview:
        """Return the front page; asks no server."""

    def series(self, query: str, labels: Labels) -> Shown:
        """Return one series whose labels include `labels`; asks no server. Raises `Unshowable`."""

    def prepare(self) -> None:
        """Do what the first chart would have to wait for."""

    def chart(self, query: str, labels: Labels, within: Range | None, part: Part, look: Look) -> bytes:
        """Return a chart as a file; asks Prometheus. Raises `Unshowable`."""
