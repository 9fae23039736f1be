"""The data of the pages as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import Unit
from exporter.charts.chart import Chart, ChartPart, ChartStyle, DisplayError
from exporter.web.api.baseline import SeriesBaseline
from exporter.web.api.canaries import CanaryReport
from exporter.web.api.shadows import ShadowReport

__all__ = [
    "AnomalyCard",
    "Chart",
    "ChartPart",
    "ChartStyle",
    "ComponentHealth",
    "DisplayError",
    "EntityRow",
    "EpisodeRow",
    "EventRow",
    "GraphPage",
    "GroupRow",
    "Labels",
    "OverviewPage",
    "QueryRow",
    "QueryState",
    "SeriesFilter",
    "SeriesRow",
    "StateFilter",
    "TimeRange",
    "Viewer",
]

FloatArray = npt.NDArray[np.float64]
Labels = Sequence[tuple[str, str]]


class QueryState(StrEnum):
    """The progress of a query."""

    WAITING = "waiting"
    """Not evaluated so far."""
    LEARNING = "learning"
    """History is being read."""
    WARMING_UP = "warming up"
    """It is answered, and all of its series are too young to alert."""
    SCORED = "scored"
    EMPTY = "no series"
    """It is answered, and the answer has no series: nothing is watched."""
    FAILED = "failed"


class StateFilter(StrEnum):
    """Which series of a query are listed."""

    ALL = "all"
    ANOMALOUS = "anomalous"
    WARMING_UP = "warming_up"


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A query. Times in Unix seconds; `series` counts by state, as the self-metric does.

    Attributes
    ----------
    trouble
        Why the newest slot has no verdict, or history is not read.
    remark
        What limits the verdicts of the newest slot: a partial answer, or series of it that were not judged.
    judged_ratio
        Part of the series of the newest answer that was judged, 0 to 1.
    mature_at
        When the first of its series is old enough to alert; None where that is not known.
    first_score_at
        When the first of its series is expected to have a score; None where one has, or that is not known.
    provisional
        How many series have a score and are too young to alert.
    held
        How many series are anomalous by a load that a group recognises; they are not among the anomalous.
    false_alerts
        How many false alerts a week are expected, and the ends of the interval; None where that is not known.
    """

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
    remark: str | None = None
    judged_ratio: float = 1.0
    mature_at: float | None = None
    first_score_at: float | None = None
    provisional: int = 0
    held: int = 0
    false_alerts: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """A series and the verdict on its newest sample, source units; NaN = absent.

    Attributes
    ----------
    labels
        Those of the source series.
    ready
        Whether it is old enough to be alerted on.
    positions
        Of its last samples in the band: 0 as expected, 1 at an edge, NaN where nothing can be said.
    masked
        Whether its samples are judged and not learned: a silence or a known event concerns it.
    suppressed
        Why it does not alert whatever its score; empty where it may.
    severities
        Of every detector: 1 and above is a vote.
    ahead
        Its forecasts, and when it reaches its limit: pairs of a name and a text.
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
    positions: FloatArray
    unit: Unit | None = None
    masked: bool = False
    suppressed: str = ""
    severities: Sequence[tuple[str, float]] = ()
    ahead: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group. `at` is its newest evaluation, Unix seconds; None: not so far."""

    name: str
    at: float | None
    scored: int
    anomalous: int


@dataclass(frozen=True, slots=True)
class EntityRow:
    """An entity of a group.

    Attributes
    ----------
    shares
        Share of each query's metric in the score, 0 to 1, the largest first.
    load
        The factor by which all metrics are up, where that is why it is not anomalous; else NaN.
    """

    group: str
    labels: Labels
    score: float
    shares: Sequence[tuple[str, float]]
    load: float


@dataclass(frozen=True, slots=True)
class AnomalyCard:
    """An open or past episode.

    Attributes
    ----------
    labels
        Those of the source series, as far as they can be derived; they lead to its graph.
    id
        Where it can be acknowledged: ``/api/v1/anomalies/{id}``; None where it has no episode.
    notes
        Annotations by name.
    remarks
        Sentences on its acknowledgement, feedback, and what Alertmanagers do with it.
    has_graph
        False where it is not about a single series, such as that of a group.
    acknowledged, verdict
        Whether somebody takes care of it, and what a person said it was.
    """

    query: str
    labels: Labels
    state: str
    since: float
    summary: str
    until: float | None = None
    id: str | None = None
    notes: Sequence[tuple[str, str]] = ()
    remarks: Sequence[str] = ()
    has_graph: bool = True
    acknowledged: bool = False
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """An episode in a list. Times in Unix seconds.

    Attributes
    ----------
    labels
        Those of the source series, as far as they can be derived.
    outcome
        What came of it, in words; empty while it is open.
    who
        Who acknowledged it.
    verdict, verdict_by
        What a person said it was.
    has_graph
        False where it is not about a query that is configured, such as that of a group.
    """

    id: str
    query: str
    labels: Labels
    state: str
    since: float
    until: float | None
    summary: str
    outcome: str = ""
    who: str = ""
    verdict: str = ""
    verdict_by: str = ""
    score: float | None = None
    has_graph: bool = True


@dataclass(frozen=True, slots=True)
class EventRow:
    """A known event that is in effect or comes soon."""

    name: str
    starts_at: float
    ends_at: float
    action: str
    match: str


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """The health of a server we depend on, or of the store; None where nothing was requested so far."""

    kind: str
    name: str
    healthy: bool | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SeriesFilter:
    """Which series the overview lists; `text` is words that all have to occur in the labels."""

    query: str | None = None
    text: str = ""
    state: StateFilter = StateFilter.ALL
    page: int = 1
    size: int = 50


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """The front page at the instant `at`; `matching` counts the series that fit the filter.

    Attributes
    ----------
    entities
        Those of all groups with the highest scores.
    past
        The newest episodes of the last seven days that fired.
    """

    at: float
    zone: str
    version: str
    queries: Sequence[QueryRow]
    anomalies: Sequence[AnomalyCard]
    events: Sequence[EventRow]
    health: Sequence[ComponentHealth]
    series: Sequence[SeriesRow]
    matching: int
    total: int
    groups: Sequence[GroupRow] = ()
    entities: Sequence[EntityRow] = ()
    past: Sequence[EpisodeRow] = ()
    canaries: Sequence[CanaryReport] = ()
    shadows: Sequence[ShadowReport] = ()


@dataclass(frozen=True, slots=True)
class TimeRange:
    """From `start` to `end`, Unix seconds."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """Seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class GraphPage:
    """The page of one series.

    Attributes
    ----------
    candidates
        Where several series fit the request: some of the others; then `series` has the highest score.
    """

    at: float
    zone: str
    version: str
    query: QueryRow
    series: SeriesRow
    quorum: int
    anomalies: Sequence[AnomalyCard]
    source_url: str
    explanation: Sequence[tuple[str, str]] = ()
    candidates: Sequence[Labels] = ()
    baseline: SeriesBaseline | None = None


@dataclass(frozen=True, slots=True)
class Viewer:
    """For whom a page is written, and with what.

    Attributes
    ----------
    may_write
        Whether acknowledgements and verdicts of the user would be accepted.
    named
        Whether the user has logged in, so that no name has to be given.
    assets
        Version of style sheet and scripts.
    interactive
        Whether the library for charts that can be moved in is there.
    explore
        Whether any expression may be tried.
    """

    assets: str
    may_write: bool = False
    named: bool = False
    interactive: bool = False
    explore: bool = False
