"""Which silences have to be made, renewed or ended so that Alertmanagers say what the calendar says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.calendar import Calendar, Matcher, Occurrence, format_instant
from exporter.silences.silence import AUTHOR, Silence, comment_of

__all__ = ["End", "Made", "Make", "Wanted", "body_of", "steps", "wanted"]

_AHEAD = 86400.0
"""Seconds. A silence is there long before it begins, so that an exporter that is down then costs nothing."""
_STRAY = 3600.0
"""Seconds that the clocks of two exporters may differ before they undo what the other does."""
_WINDOWS = 3
"""Of one entry, at most: an entry for every five minutes must not fill Alertmanager."""
_SAME = 1.0
"""Seconds between instants that are the same: Alertmanager rounds, and may begin a silence when it is asked."""


@dataclass(frozen=True, slots=True)
class Made:
    """A silence that this exporter has made, or found as if it had; `removed` once it ended it."""

    id: str
    entry: str
    ends_at: float
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Make:
    """Make a silence, or change one that is there."""

    occurrence: Occurrence
    instead: Silence | None = None


@dataclass(frozen=True, slots=True)
class End:
    """End a silence now."""

    silence: Silence


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the calendar says about silences.

    Attributes
    ----------
    needed : tuple of Occasion
        Those that must have a silence: of now, and the next of every entry.
    allowed : tuple of Occasion
        Those that may have one: more, because the clock of another exporter differs from ours.
    """

    needed: tuple[Occurrence, ...]
    allowed: tuple[Occurrence, ...]


def wanted(calendar: Calendar, now: float) -> Wanted:
    """Return which occurrences need a silence, and which may have one."""
    every = (one for one in calendar.between(now - _STRAY, now + _AHEAD + _STRAY) if one.action == "silence")
    allowed = tuple(sorted(every, key=lambda one: one.window.start))
    found: dict[str, list[Occurrence]] = {}
    for occurrence in allowed:
        if occurrence.window.end - now > _SAME and occurrence.window.start <= now + _AHEAD:
            found.setdefault(occurrence.name, []).append(occurrence)
    return Wanted(tuple(occurrence for each in found.values() for occurrence in each[:_WINDOWS]), allowed)


def steps(plan: Wanted, present: Sequence[Silence], made: Mapping[str, Made], *, at: float) -> list[Make | End]:
    """Return what has to be done in one Alertmanager, or in one cluster of them.

    Silences that are not ours are never touched. Two exporters with the same calendar come to the same steps, and
    where both made a silence at once, one of the two goes.

    Parameters
    ----------
    plan : Wanted
    present : sequence of Silence
        Everything that is there, expired ones too.
    made : mapping
        By id: what this exporter has made and ended. Somebody else's silence for an entry that is not in our
        calendar belongs to another exporter, and stays.
    at : float, Unix seconds
    """
    ours = sorted((one for one in present if one.ours), key=lambda one: one.id)
    living = [one for one in ours if not one.expired and one.window.end > at]
    found: list[Make | End] = []
    kept: set[str] = set()
    for occurrence in plan.needed:
        fitting = [one for one in living if one.id not in kept and _is_for(one, occurrence)]
        if fitting:
            # The one that needs no change, and of equals the one that everybody chooses.
            keep = min(fitting, key=lambda one: (not _is_right(one, occurrence, at), one.id))
            kept.add(keep.id)
            if not _is_right(keep, occurrence, at):
                found.append(Make(occurrence, keep))
            twins = [one for one in fitting if one.id != keep.id]
            kept.update(one.id for one in twins)
            found.extend(map(End, twins))
        elif not any(_was_ended(one, occurrence, made) for one in ours):
            found.append(Make(occurrence))
    known = {identity for identity, one in made.items() if not one.removed}
    surplus = [one for one in living if one.id in known - kept]
    found.extend(End(one) for one in surplus if not any(_is_for(one, each) for each in plan.allowed))
    return found


def body_of(step: Make, *, at: float) -> dict[str, object]:
    """Return what is posted to make or change a silence."""
    occurrence, before = step.occurrence, step.instead
    starts_at = format_instant(max(occurrence.window.start, 0.0))
    if before is not None and before.window.start <= at:
        # A start that has passed must come back exactly as it was, or the silence becomes another one.
        starts_at = before.started
    body: dict[str, object] = {
        "matchers": [_written(matcher) for matcher in occurrence.matchers],
        "startsAt": starts_at,
        "endsAt": format_instant(occurrence.window.end),
        "createdBy": AUTHOR,
        "comment": comment_of(occurrence),
    }
    return body if before is None else {"id": before.id, **body}


def _is_for(silence: Silence, occurrence: Occurrence) -> bool:
    """Whether a silence was made for this occurrence: the same entry and matchers, and times that meet."""
    return (
        silence.entry == occurrence.name
        and _same(silence.matchers, occurrence.matchers)
        and silence.window.start < occurrence.window.end
        and occurrence.window.start < silence.window.end
    )


def _is_right(silence: Silence, occurrence: Occurrence, at: float) -> bool:
    """Whether nothing has to be changed. A window that has begun may have begun before its silence."""
    late = abs(silence.window.start - occurrence.window.start) > _SAME and silence.window.start > at
    return abs(silence.window.end - occurrence.window.end) <= _SAME and not late


def _was_ended(silence: Silence, occurrence: Occurrence, made: Mapping[str, Made]) -> bool:
    """Whether a person ended the silence of this occurrence before its time: then it is not made again."""
    by_us = silence.id in made and made[silence.id].removed
    return (
        not by_us
        and silence.expired
        and silence.entry == occurrence.name
        and silence.until == format_instant(occurrence.window.end)
        and silence.window.end < occurrence.window.end - _SAME
        and _same(silence.matchers, occurrence.matchers)
    )


def _same(some: Iterable[Matcher], others: Iterable[Matcher]) -> bool:
    return set(some) == set(others)


def _written(matcher: Matcher) -> dict[str, object]:
    return {
        "name": matcher.name,
        "value": matcher.value,
        "isRegex": matcher.operator.endswith("~"),
        "isEqual": not matcher.negative,
    }
