"""What is known of now beside the samples: the calendar, announced events, and the silences of Alertmanagers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence

from exporter.alertmanager import Silence, SilenceBook
from exporter.calendar import Calendar, CalendarEntry, Occasion, Rule, Timeline, rule_of

__all__ = ["Known"]


class Known:
    """The rules in effect, for the cycles of all queries; safe for many threads.

    Parameters
    ----------
    silences : callable
        Returns what is known of silences now.
    """

    def __init__(self, silences: Callable[[], SilenceBook] = SilenceBook) -> None:
        self._silences = silences
        self._lock = threading.Lock()
        self._calendar = Calendar()
        self._last: tuple[object, ...] = ()
        self._rules: tuple[Rule, ...] = ()

    @property
    def calendar(self) -> Calendar:
        """The calendar in force."""
        return self._calendar

    def configure(self, entries: Sequence[CalendarEntry], zone: str) -> None:
        """Go by other entries from now on; announced events stay."""
        with self._lock:
            self._calendar = Calendar(entries, zone, self._calendar.announced)

    def announce(self, events: Iterable[Occasion]) -> None:
        """Replace the events that were announced at run time."""
        with self._lock:
            self._calendar = Calendar(self._calendar.entries, self._calendar.zone, events)

    def during(self, times: Sequence[float]) -> list[tuple[Rule, ...]]:
        """Return the rules that were in effect at each of some ascending instants; the same object where the same."""
        occasions = Timeline(self._calendar.between(times[0], times[-1]))
        # A timeline of its own: the one of the slots remembers where they are.
        silences = Timeline(self._silences().silences)
        found: dict[tuple[int, int], tuple[Rule, ...]] = {}
        kept: list[object] = []
        answer = []
        for at in times:
            known, silenced = occasions.at(at), silences.at(at)
            key = (id(known), id(silenced))
            if key not in found:
                found[key] = _rules(known, silenced)
                # An id is only that of one object for as long as it lives.
                kept += [known, silenced]
            answer.append(found[key])
        return answer

    def rules(self, at: float) -> tuple[Rule, ...]:
        """Return the rules in effect at an instant, Unix seconds; the same object for as long as nothing changes."""
        occasions, silences = self._calendar.at(at), self._silences().at(at)
        with self._lock:
            last = self._last
            if len(last) != 2 or last[0] is not occasions or last[1] is not silences:
                self._rules = _rules(occasions, silences)
                self._last = (occasions, silences)
            return self._rules


def _rules(occasions: Sequence[Occasion], silences: Sequence[Silence]) -> tuple[Rule, ...]:
    # Ours come from the calendar, which says more about them.
    others = (silence.rule for silence in silences if not silence.ours)
    own = (silence.rule for silence in silences if silence.ours)
    return (*map(rule_of, occasions), *others, *own)
