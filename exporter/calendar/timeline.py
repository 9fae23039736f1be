"""What is in effect at an instant, out of many things that begin and end."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from exporter.calendar.entries import Window

__all__ = ["Timed", "Timeline", "sweep"]


class Timed(Protocol):
    """Something with a window."""

    @property
    def window(self) -> Window:
        """When it is in effect."""


T = TypeVar("T", bound=Timed)


class Timeline(Generic[T]):
    """Things by when they are in effect. Not changed once made; safe for many threads.

    Asked again before anything begins or ends it gives the same object, so that whoever derives something from the
    answer sees at no cost that nothing changed.

    Parameters
    ----------
    things : sequence
        Their order is kept.
    """

    def __init__(self, things: Sequence[T]) -> None:
        self.things = tuple(things)
        windows = [thing.window for thing in self.things]
        self._changes = sorted({edge for window in windows for edge in (window.start, window.end)})
        self._last: tuple[int, tuple[T, ...]] = (-1, ())

    def at(self, at: float) -> tuple[T, ...]:
        """Return what is in effect at an instant, Unix seconds."""
        place = bisect.bisect_right(self._changes, at)
        known, found = self._last
        if known != place:
            found = tuple(thing for thing in self.things if thing.window.start <= at < thing.window.end)
            # One assignment: another thread sees all of the old or all of the new.
            self._last = (place, found)
        return found


def sweep(things: Iterable[T], times: Iterable[float]) -> Iterator[tuple[T, ...]]:
    """Yield what is in effect at each of some ascending instants; the same object for as long as nothing changes."""
    waiting = sorted(things, key=lambda thing: thing.window.start, reverse=True)
    active: tuple[T, ...] = ()
    until = -math.inf
    for at in times:
        begun = []
        while waiting and waiting[-1].window.start <= at:
            begun.append(waiting.pop())
        if begun or at >= until:
            kept = [thing for thing in (*active, *begun) if thing.window.end > at]
            # What began may be over already.
            if len(kept) != len(active) or any(new is not old for new, old in zip(kept, active, strict=True)):
                active = tuple(kept)
            until = min((thing.window.end for thing in active), default=math.inf)
        yield active
