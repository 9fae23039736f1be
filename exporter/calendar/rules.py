"""What is in effect now, whoever said it: the calendar, an event that was announced, a silence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.calendar.entries import Action, Occasion
from exporter.calendar.matchers import Matcher

__all__ = ["Rule", "instant", "rule_of", "said"]

_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Rule:
    """How some series are treated.

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

    action: Action
    factor: float
    matchers: tuple[Matcher, ...]
    text: str


def rule_of(occasion: Occasion) -> Rule:
    """Return the rule that an occasion is while it lasts."""
    what = {"silence": "is silenced", "ignore": "is ignored"}.get(occasion.action)
    if what is None:
        what = f"is expected at {occasion.multiplier:g} times the usual value"
    text = f"{what} until {instant(occasion.window.end)} by {occasion.name}"
    return Rule(occasion.action, occasion.multiplier, occasion.matchers, said(text, occasion.comment))


def said(text: str, comment: str) -> str:
    """Return `text`, with what people wrote about it."""
    whole = f"{text}: {comment}" if comment else text
    return whole if len(whole) <= _LONGEST else whole[: _LONGEST - 1] + "\u2026"


def instant(at: float) -> str:
    """Write an instant for people; what is beyond the calendar is for ever."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "further notice"
