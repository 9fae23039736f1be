"""The rules in effect: the calendar, announced events and the silences of Alertmanagers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from exporter.calendar import Calendar, CalendarEntry, Occurrence, SuppressionRule, suppression_rule, sweep
from exporter.silences import Silence, SilenceIndex

__all__ = ["ActiveEvents"]


class ActiveEvents:
    """The rules in effect, for the evaluators of all queries; safe for many threads.

    Parameters
    ----------
    silences : callable
        Returns the newest silences.
    """

    def __init__(self, silences: Callable[[], SilenceIndex] = SilenceIndex) -> None:
        self._silences = silences
        self._lock = threading.Lock()
        self._calendar = Calendar()
        self._announced: tuple[Occurrence, ...] = ()
        self._bands: tuple[Occurrence, ...] = ()
        self._incidents: tuple[Occurrence, ...] = ()
        self._last: tuple[object, ...] = ()
        self._rules: tuple[SuppressionRule, ...] = ()

    @property
    def calendar(self) -> Calendar:
        """The calendar in force."""
        return self._calendar

    def configure(self, entries: Sequence[CalendarEntry], zone: str) -> None:
        """Replace the entries of the calendar; announced events stay."""
        with self._lock:
            self._calendar = Calendar(entries, zone, self._calendar.announced)

    def announce(self, events: Iterable[Occurrence]) -> None:
        """Replace the events that were announced at run time."""
        with self._lock:
            self._announced = tuple(events)
            self._renew()

    def widen(self, bands: Iterable[Occurrence]) -> None:
        """Replace the times in which bands are others, after changes."""
        with self._lock:
            self._bands = tuple(bands)
            self._renew()

    def unlearn(self, incidents: Iterable[Occurrence]) -> None:
        """Replace the times of incidents, which are not learned."""
        with self._lock:
            self._incidents = tuple(incidents)
            self._renew()

    def _renew(self) -> None:
        self._calendar = Calendar(
            self._calendar.entries, self._calendar.zone, (*self._announced, *self._bands, *self._incidents)
        )

    def during(self, times: Sequence[float]) -> list[tuple[SuppressionRule, ...]]:
        """Return the rules that were in effect at each of `times`, ascending Unix seconds, without their texts.

        Equal sets of rules are the same object, so that masks for what comes every night are computed once.
        """
        between = self._calendar.between(times[0], times[-1])
        occurrences = sweep([each for each in between if each.action != "note"], times)
        silences = sweep(self._silences().silences, times)
        sets: dict[tuple[tuple[SuppressionRule, ...], int], tuple[SuppressionRule, ...]] = {}
        answer: list[tuple[SuppressionRule, ...]] = []
        last: tuple[object, object] = (None, None)
        # Kept in a list first, because an id is only that of one object for as long as it lives.
        for active, silenced in list(zip(occurrences, silences, strict=True)):
            if (active, silenced) != last or not answer:
                named = tuple(dict.fromkeys(replace(suppression_rule(occurrence), text="") for occurrence in active))
                key = (named, id(silenced))
                if key not in sets:
                    others = dict.fromkeys(replace(silence.rule, text="") for silence in silenced)
                    sets[key] = (*named, *others)
                last = (active, silenced)
            answer.append(sets[key])
        return answer

    def rules(self, at: float) -> tuple[SuppressionRule, ...]:
        """Return the rules in effect at an instant, Unix seconds; the same object for as long as nothing changes."""
        occurrences, silences = self._calendar.at(at), self._silences().at(at)
        with self._lock:
            last = self._last
            if len(last) != 2 or last[0] is not occurrences or last[1] is not silences:
                self._rules = _rules(occurrences, silences)
                self._last = (occurrences, silences)
            return self._rules


def _rules(occurrences: Sequence[Occurrence], silences: Sequence[Silence]) -> tuple[SuppressionRule, ...]:
    # Ours come from the calendar, which says more about them.
    others = (silence.rule for silence in silences if not silence.ours)
    own = (silence.rule for silence in silences if silence.ours)
    return (*(suppression_rule(each) for each in occurrences if each.action != "note"), *others, *own)
