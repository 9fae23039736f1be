"""Events that are announced at run time: by a deploy pipeline, a campaign tool, a person."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from exporter.calendar.entries import Action, Occasion, Window
from exporter.calendar.matchers import parse_matcher

__all__ = ["Event", "TooManyEvents", "event_id"]

_NAMES = uuid.UUID("0d6c5b0e-8f3b-5a53-9a59-5c6d9cf3f2b4")
"""Namespace of the ids."""


class TooManyEvents(Exception):  # noqa: N818 - nobody's mistake.
    """No more events are taken until some are over."""


@dataclass(frozen=True, slots=True)
class Event:
    """One announced event. Its name is its identity: announced again, it is changed.

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
        When its source says it changed, Unix seconds: older news never undo newer ones.
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

    @property
    def occasion(self) -> Occasion:
        """What the calendar makes of it."""
        matchers = tuple(map(parse_matcher, self.match))
        window = Window(self.starts_at, self.ends_at)
        return Occasion(self.name, self.action, self.multiplier, matchers, window, self.comment)


def event_id(name: str) -> str:
    """Return the id of the event of this name: a UUID that every exporter comes to.

    >>> event_id("deploy") == event_id("deploy")
    True
    """
    return str(uuid.uuid5(_NAMES, name))
