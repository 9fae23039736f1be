"""What the texts of alerts are built from: a series, an entity of a group, a storm, or a root cause."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from exporter.alerting.explanation.formatting import Unit
from exporter.alerting.label_index import FrequentLabel

__all__ = [
    "CanaryInput",
    "CauseInput",
    "CoOccurrentSeries",
    "DetectorVote",
    "LevelDrift",
    "ExplanationInput",
    "EntityInput",
    "HourStatistics",
    "LevelChange",
    "LimitAhead",
    "MetricShare",
    "SharedAlertInput",
    "StormInput",
]


@dataclass(frozen=True, slots=True)
class DetectorVote:
    """The vote of one detector on a series.

    Attributes
    ----------
    kind : str
        Name of the detector.
    severity : float
        1 is its threshold.
    votes : int
        How many votes it has.
    reason : str
        Why it calls the sample anomalous, a clause without a full stop.
    alone : bool
        Whether it decides whatever the others vote.
    """

    kind: str
    severity: float
    votes: int = 1
    reason: str = "beyond its limit"
    alone: bool = False


@dataclass(frozen=True, slots=True)
class HourStatistics:
    """The samples of this hour of the week, or of the day, in the past; source units.

    Attributes
    ----------
    scope : "week", "day" or "all"
        Which hours were compared: this one of the week, this one of the day, or all.
    visits : float
        How many of them: weeks, or days.
    """

    scope: Literal["week", "day", "all"]
    visits: float
    mean: float
    std: float
    q1: float
    q3: float


@dataclass(frozen=True, slots=True)
class LevelChange:
    """A level that has changed for some time: its mean before and after, source units, and for how many seconds."""

    before: float
    after: float
    seconds: float


@dataclass(frozen=True, slots=True)
class LevelDrift:
    """A drift: the level before it and now, source units, and since when, Unix seconds."""

    before: float
    after: float
    since: float


@dataclass(frozen=True, slots=True)
class LimitAhead:
    """A limit that a series will probably reach.

    Attributes
    ----------
    value : float
        The limit, source units.
    above : bool
        Whether values grow towards it.
    earliest, latest : float, seconds
        Between them it is reached with a probability of 0.8; infinite: not within 30 days. 0: it is reached.
    probability : float
        That it is reached within `within` seconds.
    """

    value: float
    above: bool
    earliest: float
    latest: float
    probability: float
    within: float


@dataclass(frozen=True, slots=True)
class CoOccurrentSeries:
    """Another series that became anomalous at about the same time."""

    query: str
    series: Mapping[str, str]
    since: float
    score: float


@dataclass(frozen=True, slots=True)
class ExplanationInput:
    """One anomalous series in one slot.

    Attributes
    ----------
    query : str
    labels : mapping
        Of the alert.
    series : mapping
        The series' own labels.
    at, since : float, Unix seconds
        The slot, and when the series became anomalous.
    observed, expected, lower, upper : float
        Source units; NaN where unknown.
    score : float
        0 to 1.
    z : float
        Distance from the mean of this time of the week, in its standard deviations.
    votes : tuple of DetectorVote
        Of all detectors, also those that do not call it anomalous.
    cast, quorum : int
        How many votes call it anomalous, and how many are needed.
    zone : str
        IANA time zone of `when`.
    when : str
        The hour in that zone, such as ``Mondays 14:00-15:00``.
    co_occurrent : tuple of CoOccurrentSeries
        The worst of what became anomalous at about the same time; `co_occurrent_count` is how many there are in all.
    external_url : str
        Where people reach this exporter; empty where it is not configured.
    missing_since : float, optional
        The series should be there and is not; its last sample, in Unix seconds.
    in_storm : bool
        It represents a storm, which says for how long.
    shape : str
        How it came about; empty where that is not known.
    drift : LevelDrift, optional
        Where that is a drift.
    limit : LimitAhead, optional
        That is near enough to alert.
    """

    query: str
    labels: Mapping[str, str]
    series: Mapping[str, str]
    at: float
    since: float
    observed: float
    expected: float = math.nan
    lower: float = math.nan
    upper: float = math.nan
    score: float = math.nan
    z: float = math.nan
    votes: tuple[DetectorVote, ...] = ()
    cast: int = 0
    quorum: int = 1
    unit: Unit | None = None
    zone: str = "UTC"
    when: str = ""
    past: HourStatistics | None = None
    moved: LevelChange | None = None
    co_occurrent: tuple[CoOccurrentSeries, ...] = ()
    co_occurrent_count: int = 0
    external_url: str = ""
    missing_since: float | None = None
    in_storm: bool = False
    shape: str = ""
    drift: LevelDrift | None = None
    limit: LimitAhead | None = None


@dataclass(frozen=True, slots=True)
class MetricShare:
    """The part of one metric in the score of an entity.

    Attributes
    ----------
    query : str
    share : float
        0 to 1.
    z : float
        Standard deviations from the mean of this time of the week; NaN where the metric is missing.
    growth : float
        ln(observed / expected); infinite or NaN where it has no meaning.
    """

    query: str
    share: float
    z: float
    growth: float


@dataclass(frozen=True, slots=True)
class EntityInput:
    """One anomalous entity of a group in one slot.

    Attributes
    ----------
    labels : mapping
        Of the alert.
    entity : mapping
        The labels that identify the entity.
    metrics : tuple of MetricShare
        The largest share first.
    score : float
        0 to 1.
    since, at : float, Unix seconds
        The beginning of the anomaly, and the slot.
    external_url : str
        Where people reach this exporter; empty where it is not configured.
    in_storm : bool
        It represents a storm, which says for how long.
    shape : str
        How the metric with the largest share came to be where it is; empty where that is not known.
    """

    group: str
    labels: Mapping[str, str]
    entity: Mapping[str, str]
    metrics: tuple[MetricShare, ...]
    score: float
    since: float
    at: float
    external_url: str = ""
    in_storm: bool = False
    shape: str = ""


@dataclass(frozen=True, slots=True)
class StormInput:
    """A storm in one slot.

    Attributes
    ----------
    query : str
        What the members are series of.
    summaries : sequence of str
        Those that its worst members would have alone, the worst first.
    now, total, series : int
        How many members are anomalous now and were so far, and how many series there are in all.
    frequent : sequence of FrequentLabel
        Label values that are far more frequent among the members.
    since, at : float, Unix seconds
        When its first member became anomalous, and the slot.
    members : str
        What the members are, in the plural.
    """

    query: str
    summaries: Sequence[str]
    now: int
    total: int
    series: int
    frequent: Sequence[FrequentLabel]
    since: float
    at: float
    members: str = "series"


@dataclass(frozen=True, slots=True)
class CauseInput:
    """The anomaly that explains an alert, and those that the alert explains.

    Attributes
    ----------
    cause : str
        Name of the anomaly that explains the alert; empty where there is none.
    since : float, Unix seconds
        When the cause began.
    ahead : float, seconds
        How long before the alert that was.
    earlier : str
        The text of an earlier slot: it stands where the cause is over or was not seen again.
    effects : sequence of str
        Names of the alerts that follow from this one.
    mates : sequence of str
        Names of the alerts about the same thing that are part of its incident.
    first : str
        Name of the anomaly of the same thing of whose incident this is a part; `first_since` and `first_ahead` as for
        the cause, `earlier_first` as `earlier`.
    """

    cause: str = ""
    since: float = math.nan
    ahead: float = 0.0
    earlier: str = ""
    effects: Sequence[str] = ()
    mates: Sequence[str] = ()
    first: str = ""
    first_since: float = math.nan
    first_ahead: float = 0.0
    earlier_first: str = ""


@dataclass(frozen=True, slots=True)
class SharedAlertInput:
    """The series that are anomalous under one alert, because their alerts would have the same labels.

    Attributes
    ----------
    series : sequence of mapping
        Their own labels, the worst first.
    """

    series: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class CanaryInput:
    """A candidate that differs from its baseline, source units.

    Attributes
    ----------
    query : str
    labels : mapping
        Of the alert.
    group : mapping
        Which comparison it is, by the labels of `by`.
    baseline_name, candidate_name : str
        What the sides are called.
    baseline, candidate : float
        Their values of late.
    floor : float
        Differences up to this size count as none.
    counts : tuple of int
        Series of baseline and candidate.
    since, at : float, Unix seconds
        When the difference began, as far as that is known, and the slot.
    p_value : float
    alpha : float
        The highest p at which a difference counts.
    slots : int
        How many slots were compared.
    zone : str
        IANA zone of the instants.
    quantile : float or None
        Which quantile of the series is compared; None: their mean.
    external_url : str
        Of this exporter; empty where it is not configured.
    """

    query: str
    labels: Mapping[str, str]
    group: Mapping[str, str]
    baseline_name: str
    candidate_name: str
    baseline: float
    candidate: float
    floor: float
    counts: tuple[int, int]
    since: float
    at: float
    p_value: float
    alpha: float
    slots: int
    zone: str
    quantile: float | None = None
    unit: Unit | None = None
    external_url: str = ""
