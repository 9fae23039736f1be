"""All known events together: those of the configuration and those that were announced at run time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from exporter.calendar.entries import CalendarEntry, Occasion
from exporter.calendar.timeline import Timeline

__all__ = ["Calendar"]

_AHEAD = 3600.0
"""Seconds that are looked ahead at once, so that asking at every slot costs nothing."""


class Calendar:
    """What is known beforehand. Not changed once made; safe for many threads.

    Parameters
    ----------
    entries : sequence of CalendarEntry
    zone : str
        IANA time zone of entries that name none.
    announced : iterable of Occasion
        Those of the known-events API.
    """

    def __init__(
        self, entries: Sequence[CalendarEntry] = (), zone: str = "UTC", announced: Iterable[Occasion] = ()
    ) -> None:
        self.entries = tuple(entries)
        self.zone = zone
        self.announced = tuple(sorted(announced, key=lambda one: (one.window.start, one.name)))
        self._near: tuple[float, float, Timeline[Occasion]] = (0.0, -1.0, Timeline(()))

    def between(self, begin: float, end: float) -> list[Occasion]:
        """Return every occasion whose window touches the time from `begin` to `end`, Unix seconds."""
        found = [one for entry in self.entries for one in entry.occasions(begin, end, self.zone)]
        found += [one for one in self.announced if one.window.start <= end and begin < one.window.end]
        return found

    def at(self, at: float) -> tuple[Occasion, ...]:
        """Return the occasions in effect at an instant, Unix seconds; mostly the same object as before."""
        begin, end, near = self._near
        if not begin <= at <= end:
            near = Timeline(self.between(at, at + _AHEAD))
            # One assignment: another thread sees all of the old or all of the new.
            self._near = (at, at + _AHEAD, near)
        return near.at(at)
