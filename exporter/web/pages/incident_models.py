"""The data of the pages about past and open anomalies, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.web.api.what_if import WhatIf
from exporter.web.pages.models import EpisodeRow, TimeRange

__all__ = ["AnomaliesPage", "AnomalyFilter", "IncidentPage", "TimelineEntry", "WhatIfPage"]


@dataclass(frozen=True, slots=True)
class AnomalyFilter:
    """Which episodes are listed; `text` is words that all have to occur in the labels.

    Attributes
    ----------
    days
        Those that were not over so many days ago.
    fired
        Only those that lasted long enough to notify somebody.
    cursor
        Where the page before ended.
    """

    query: str | None = None
    status: str | None = None
    verdict: str | None = None
    text: str = ""
    days: int = 7
    fired: bool = True
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class AnomaliesPage:
    """A page of episodes, the newest first, and where the next one begins."""

    at: float
    zone: str
    version: str
    episodes: Sequence[EpisodeRow]
    queries: Sequence[str]
    next_cursor: str = ""


@dataclass(frozen=True, slots=True)
class WhatIfPage:
    """What other settings would have made of the alerts of a query; `fields` are name, text and value of each input."""

    at: float
    zone: str
    version: str
    result: WhatIf
    fields: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened. `kind` is its badge, `who` did it; `link` is the id of another incident page."""

    at: float
    kind: str
    text: str
    who: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """One episode with all that happened to it and beside it.

    Attributes
    ----------
    notes
        Annotations of its alert by name, while there is one.
    remarks
        What Alertmanagers do with it.
    members
        Other episodes of the same incident.
    chat
        One line for a message, without the address.
    """

    at: float
    zone: str
    version: str
    episode: EpisodeRow
    shown: TimeRange
    timeline: Sequence[TimelineEntry]
    notes: Sequence[tuple[str, str]] = ()
    remarks: Sequence[str] = ()
    members: Sequence[EpisodeRow] = ()
    chat: str = ""
