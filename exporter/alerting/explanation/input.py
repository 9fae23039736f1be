"""What is known of an anomalous series when it has to be explained."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from exporter.alerting.explanation.formatting import Unit

__all__ = ["ExplanationInput", "CoOccurrentSeries", "LevelChange", "HourStatistics", "DetectorVote"]


@dataclass(frozen=True, slots=True)
class DetectorVote:
    """What one detector said.

    Attributes
    ----------
    kind : str
        Its name.
    severity : float
        1 is its threshold.
    votes : int
        How many votes it has.
    what : str
        What it looks for, in a few words; said where there are none of this series.
    alone : bool
        Whether it decides whatever the others say.
    """

    kind: str
    severity: float
    votes: int = 1
    what: str = ""
    alone: bool = False


@dataclass(frozen=True, slots=True)
class HourStatistics:
    """What this time of the week, or the day, was like before; source units.

    Attributes
    ----------
    scope : "week", "day" or "all"
        Which hours were compared: this one of the week, of the day, or all.
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
class CoOccurrentSeries:
    """Another series that turned anomalous at about the same time."""

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
        Source units; NaN where it cannot be said.
    score : float
        0 to 1.
    z : float
        Distance from the mean of this time of the week, in its standard deviations.
    votes : tuple of Vote
        Of all detectors, also those that do not call it anomalous.
    cast, quorum : int
        How many votes call it anomalous, and how many are needed.
    zone : str
        IANA zone that hours are told in.
    when : str
        The hour in that zone, such as ``Mondays 14:00-15:00``.
    coincident : tuple of Coincidence
        The worst of what turned at about the same time; `coincidences` is how many there are in all.
    external_url : str
        Where people reach this exporter; empty where nobody said.
    missing_since : float, optional
        The series should be there and is not; its last sample, in Unix seconds.
    more : mapping
        Other annotations, such as what event of the calendar is in effect.
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
    coincident: tuple[CoOccurrentSeries, ...] = ()
    coincidences: int = 0
    external_url: str = ""
    missing_since: float | None = None
    more: Mapping[str, str] = field(default_factory=dict)
