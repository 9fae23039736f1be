"""Values: an occurrence of a known event, an event announced at run time, and the rule that suppresses meanwhile."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from exporter.calendar.matchers import Matcher, parse_matcher

__all__ = [
    "Action",
    "AnnouncedEvent",
    "Occurrence",
    "RuleAction",
    "SuppressionRule",
    "TimeWindow",
    "TooManyEventsError",
    "event_id",
    "format_instant",
    "suppression_rule",
    "with_comment",
]

Action = Literal["silence", "ignore", "expect", "note"]
RuleAction = Literal["silence", "ignore", "expect", "note", "widen", "unlearned"]
"""What can be done meanwhile. Nobody announces that a band is widened after a change, or that an incident is not
learned."""

_NAMESPACE = uuid.UUID("0d6c5b0e-8f3b-5a53-9a59-5c6d9cf3f2b4")
_LONGEST_TEXT = 1000


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """The half-open interval from `start` to `end`, Unix seconds."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A known event with one of its windows.

    Attributes
    ----------
    name : str
    action : Action
    multiplier : float
        Of the expected value; 1 unless the action is ``expect``.
    matchers : tuple of Matcher
        Against the labels that the alert of a series has, or would have.
    window : TimeWindow
    comment : str
        Free text of its author.
    """

    name: str
    action: RuleAction
    multiplier: float
    matchers: tuple[Matcher, ...]
    window: TimeWindow
    comment: str = ""


class TooManyEventsError(Exception):
    """The limit of announced events is reached until some of them end."""


@dataclass(frozen=True, slots=True)
class AnnouncedEvent:
    """An event announced at run time. Its name identifies it: announced again, it is changed.

    Times are Unix seconds.

    Attributes
    ----------
    id : str
        Follows from the name.
    source : str
        ``api``, or what else announced it.
    action : Action
    multiplier : float
        1 unless the action is ``expect``.
    match : tuple of str
        Matchers.
    comment : str
    who : str
        Who announced it last.
    revision : float
        When its source changed it, Unix seconds: an older revision never replaces a newer one.
    cron, duration, timezone
        Of an event that comes again between `starts_at` and `ends_at`: when it begins, for how many seconds, and the
        IANA time zone; empty for an event that happens once, or the zone of the configuration.
    """

    id: str
    name: str
    source: str
    action: Action
    multiplier: float
    match: tuple[str, ...]
    starts_at: float
    ends_at: float
    comment: str
    who: str
    created_at: float
    updated_at: float
    revision: float = 0.0
    cron: str = ""
    duration: float = 0.0
    timezone: str = ""

    @property
    def occurrence(self) -> Occurrence:
        """The event as the calendar has it."""
        matchers = tuple(map(parse_matcher, self.match))
        window = TimeWindow(self.starts_at, self.ends_at)
        return Occurrence(self.name, self.action, self.multiplier, matchers, window, self.comment)


def event_id(name: str) -> str:
    """Return the id of the event with this name: a UUID that is equal in every exporter.

    >>> event_id("deploy") == event_id("deploy")
    True
    """
    return str(uuid.uuid5(_NAMESPACE, name))


@dataclass(frozen=True, slots=True)
class SuppressionRule:
    """What is done about the series that `matchers` select, while an event or a silence lasts.

    Attributes
    ----------
    action : Action
    factor : float
        Expected multiple of the usual value.
    matchers : tuple of Matcher
        Against the labels that the alert of a series has, or would have.
    text : str
        For the explanation of an alert: what is in effect, and until when.
    """

    action: RuleAction
    factor: float
    matchers: tuple[Matcher, ...]
    text: str


def suppression_rule(occurrence: Occurrence) -> SuppressionRule:
    """Return the rule that holds while `occurrence` lasts."""
    what = {"silence": "is silenced", "ignore": "is ignored"}.get(occurrence.action)
    if what is None:
        what = f"is expected at {occurrence.multiplier:g} times the usual value"
    text = f"{what} until {format_instant(occurrence.window.end)} by {occurrence.name}"
    text = with_comment(text, occurrence.comment)
    return SuppressionRule(occurrence.action, occurrence.multiplier, occurrence.matchers, text)


def with_comment(text: str, comment: str) -> str:
    """Append a comment to `text` and shorten the result to 1000 characters."""
    whole = f"{text}: {comment}" if comment else text
    return whole if len(whole) <= _LONGEST_TEXT else whole[: _LONGEST_TEXT - 1] + "\u2026"


def format_instant(at: float) -> str:
    """Write Unix seconds as RFC 3339; an instant after the year 9999 is "further notice"."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "further notice"
