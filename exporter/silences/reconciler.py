"""Silences to create, renew or end so that an Alertmanager has those of the calendar. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from exporter.calendar import Calendar, Matcher, Occurrence, format_instant
from exporter.silences.silence import AUTHOR, Silence, comment_of
from exporter.store import CreatedSilence

__all__ = ["EndSilence", "PutSilence", "SilencePlan", "body_of", "plan_silences", "steps"]

_AHEAD = 86400.0
"""Seconds that a silence is created before it begins, so that an exporter that is down then costs nothing."""
_STRAY = 3600.0
"""Seconds that the clocks of two exporters may differ before each undoes what the other does."""
_WINDOWS = 3
"""Most silences of one entry: an entry for every five minutes must not fill Alertmanager."""
_SAME = 1.0
"""Seconds between instants that count as equal: Alertmanager rounds, and may begin a silence at the request."""


@dataclass(frozen=True, slots=True)
class PutSilence:
    """Create a silence, or update the one that it replaces."""

    occurrence: Occurrence
    replaces: Silence | None = None


@dataclass(frozen=True, slots=True)
class EndSilence:
    """End a silence now."""

    silence: Silence


@dataclass(frozen=True, slots=True)
class SilencePlan:
    """The silences of the calendar.

    Attributes
    ----------
    needed : tuple of Occurrence
        Those that must have a silence: the active ones, and the next ones of every entry.
    allowed : tuple of Occurrence
        Those that may have one: more, because the clock of another exporter differs from ours.
    """

    needed: tuple[Occurrence, ...]
    allowed: tuple[Occurrence, ...]


def plan_silences(calendar: Calendar, now: float) -> SilencePlan:
    """Return which occurrences need a silence, and which may have one."""
    occurrences = calendar.between(now - _STRAY, now + _AHEAD + _STRAY)
    silencing = (occurrence for occurrence in occurrences if occurrence.action == "silence")
    allowed = tuple(sorted(silencing, key=lambda occurrence: occurrence.window.start))
    needed: dict[str, list[Occurrence]] = {}
    for occurrence in allowed:
        if occurrence.window.end - now > _SAME and occurrence.window.start <= now + _AHEAD:
            needed.setdefault(occurrence.name, []).append(occurrence)
    return SilencePlan(tuple(occurrence for each in needed.values() for occurrence in each[:_WINDOWS]), allowed)


def steps(
    plan: SilencePlan, present: Sequence[Silence], created: Mapping[str, CreatedSilence], *, at: float
) -> list[PutSilence | EndSilence]:
    """Return the changes to make in one Alertmanager, or in one cluster of them.

    Silences that are not ours are never touched. Two exporters with the same calendar come to the same steps, and
    where both created a silence at once, one of the two is ended.

    Parameters
    ----------
    plan : SilencePlan
    present : sequence of Silence
        All silences there, expired ones too.
    created : mapping
        By id: what this exporter created and ended. A silence for an entry that is not in our calendar belongs to
        another exporter, and stays.
    at : float, Unix seconds
    """
    ours = sorted((silence for silence in present if silence.ours), key=lambda silence: silence.id)
    active = [silence for silence in ours if not silence.expired and silence.window.end > at]
    changes: list[PutSilence | EndSilence] = []
    kept: set[str] = set()
    for occurrence in plan.needed:
        fitting = [silence for silence in active if silence.id not in kept and _is_for(silence, occurrence)]
        if fitting:
            # The silence that needs no change, and of equals the first by id, which every exporter chooses.
            keep = min(fitting, key=lambda silence: (not _is_right(silence, occurrence, at), silence.id))
            kept.add(keep.id)
            if not _is_right(keep, occurrence, at):
                changes.append(PutSilence(occurrence, keep))
            twins = [silence for silence in fitting if silence.id != keep.id]
            kept.update(silence.id for silence in twins)
            changes.extend(map(EndSilence, twins))
        elif not any(_was_ended(silence, occurrence, created) for silence in ours):
            changes.append(PutSilence(occurrence))
    own = {identity for identity, silence in created.items() if not silence.removed}
    surplus = [silence for silence in active if silence.id in own - kept]
    changes.extend(
        EndSilence(silence)
        for silence in surplus
        if not any(_is_for(silence, occurrence) for occurrence in plan.allowed)
    )
    return changes


def body_of(step: PutSilence, *, at: float) -> dict[str, object]:
    """Return the request body that creates or updates a silence."""
    occurrence, before = step.occurrence, step.replaces
    starts_at = format_instant(max(occurrence.window.start, 0.0))
    if before is not None and before.window.start <= at:
        # A start that has passed must be sent back exactly as it was, or Alertmanager creates another silence.
        starts_at = before.started
    body: dict[str, object] = {
        "matchers": [_encoded(matcher) for matcher in occurrence.matchers],
        "startsAt": starts_at,
        "endsAt": format_instant(occurrence.window.end),
        "createdBy": AUTHOR,
        "comment": comment_of(occurrence),
    }
    if before is None:
        return body
    # Annotations are not ours: people may have added some, and an update without them would delete them.
    return {"id": before.id, **body, **({"annotations": dict(before.annotations)} if before.annotations else {})}


def _is_for(silence: Silence, occurrence: Occurrence) -> bool:
    """Whether a silence was created for this occurrence: the same entry and matchers, and times that overlap."""
    return (
        silence.entry == occurrence.name
        and _same(silence.matchers, occurrence.matchers)
        and silence.window.start < occurrence.window.end
        and occurrence.window.start < silence.window.end
    )


def _is_right(silence: Silence, occurrence: Occurrence, at: float) -> bool:
    """Whether a silence needs no change. A window that has begun may have begun before its silence."""
    late = abs(silence.window.start - occurrence.window.start) > _SAME and silence.window.start > at
    return abs(silence.window.end - occurrence.window.end) <= _SAME and not late


def _was_ended(silence: Silence, occurrence: Occurrence, created: Mapping[str, CreatedSilence]) -> bool:
    """Whether a person ended the silence of this occurrence early: then it is not created again."""
    by_us = silence.id in created and created[silence.id].removed
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


def _encoded(matcher: Matcher) -> dict[str, object]:
    return {
        "name": matcher.name,
        "value": matcher.value,
        "isRegex": matcher.operator.endswith("~"),
        "isEqual": not matcher.negative,
    }
