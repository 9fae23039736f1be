"""The calendar: configured entries and announced events together, and which are in effect at an instant."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from exporter.calendar.entries import CalendarEntry
from exporter.calendar.events import Occurrence, TimeWindow

__all__ = ["Calendar", "Timed", "Timeline", "sweep"]

_LOOKAHEAD = 3600.0
"""Seconds whose occurrences are computed at once, so that asking at every slot costs nothing."""


class Timed(Protocol):
    """Anything with a time window."""

    @property
    def window(self) -> TimeWindow:
        """When it is in effect."""


T = TypeVar("T", bound=Timed)


class Timeline(Generic[T]):
    """Items by the time they are in effect. Immutable and thread-safe.

    Until an item begins or ends, `at` returns the same object, so that callers can cache what they derive from it.

    Parameters
    ----------
    items : sequence
        Their order is kept.
    """

    def __init__(self, items: Sequence[T]) -> None:
        self.items = tuple(items)
        windows = [item.window for item in self.items]
        self._changes = sorted({edge for window in windows for edge in (window.start, window.end)})
        self._last: tuple[int, tuple[T, ...]] = (-1, ())

    def at(self, at: float) -> tuple[T, ...]:
        """Return the items in effect at an instant, Unix seconds."""
        interval = bisect.bisect_right(self._changes, at)
        last_interval, active = self._last
        if last_interval != interval:
            active = tuple(item for item in self.items if item.window.start <= at < item.window.end)
            # One assignment: another thread sees all of the old or all of the new.
            self._last = (interval, active)
        return active


def sweep(items: Iterable[T], times: Iterable[float]) -> Iterator[tuple[T, ...]]:
    """Yield the items in effect at each of `times`, ascending; the same object for as long as nothing changes."""
    waiting = sorted(items, key=lambda item: item.window.start, reverse=True)
    active: tuple[T, ...] = ()
    until = -math.inf
    for at in times:
        begun = []
        while waiting and waiting[-1].window.start <= at:
            begun.append(waiting.pop())
        if begun or at >= until:
            kept = [item for item in (*active, *begun) if item.window.end > at]
            # An item that has just begun may have ended already.
            if len(kept) != len(active) or any(new is not old for new, old in zip(kept, active, strict=True)):
                active = tuple(kept)
            until = min((item.window.end for item in active), default=math.inf)
        yield active


class Calendar:
    """All known events. Immutable and thread-safe.

    Parameters
    ----------
    entries : sequence of CalendarEntry
    zone : str
        IANA time zone of entries that name none.
    announced : iterable of Occurrence
        Events announced at run time.
    recurring : sequence of (CalendarEntry, TimeWindow)
        Those that come again, and between which instants they begin.
    """

    def __init__(
        self,
        entries: Sequence[CalendarEntry] = (),
        zone: str = "UTC",
        announced: Iterable[Occurrence] = (),
        recurring: Sequence[tuple[CalendarEntry, TimeWindow]] = (),
    ) -> None:
        self.recurring = tuple(recurring)
        self.entries = tuple(entries)
        self.zone = zone
        self.announced = tuple(sorted(announced, key=lambda event: (event.window.start, event.name)))
        self._near: tuple[float, float, Timeline[Occurrence]] = (0.0, -1.0, Timeline(()))

    def between(self, begin: float, end: float) -> list[Occurrence]:
        """Return every occurrence whose window touches the time from `begin` to `end`, Unix seconds."""
        occurrences = [each for entry in self.entries for each in entry.occurrences(begin, end, self.zone)]
        occurrences += [
            each for entry, within in self.recurring for each in entry.occurrences(begin, end, self.zone, within)
        ]
        occurrences += [each for each in self.announced if each.window.start <= end and begin < each.window.end]
        return occurrences

    def prepare(self, at: float) -> None:
        """Compute what the next half hour needs, so that none who asks `at` has to, such as a scrape."""
        begin, end, _ = self._near
        if not begin <= at <= end - _LOOKAHEAD / 2:
            self._near = (at, at + _LOOKAHEAD, Timeline(self.between(at, at + _LOOKAHEAD)))

    def at(self, at: float) -> tuple[Occurrence, ...]:
        """Return the occurrences in effect at an instant, Unix seconds; the same object while nothing changes."""
        begin, end, near = self._near
        if not begin <= at <= end:
            near = Timeline(self.between(at, at + _LOOKAHEAD))
            # One assignment: another thread sees all of the old or all of the new.
            self._near = (at, at + _LOOKAHEAD, near)
        return near.at(at)
