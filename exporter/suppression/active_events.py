"""What is known of now beside the samples: the calendar, announced events, and the silences of Alertmanagers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from exporter.calendar import Calendar, CalendarEntry, Occurrence, SuppressionRule, suppression_rule, sweep
from exporter.silences import Silence, SilenceIndex

__all__ = ["ActiveEvents"]


class ActiveEvents:
    """The rules in effect, for the cycles of all queries; safe for many threads.

    Parameters
    ----------
    silences : callable
        Returns what is known of silences now.
    """

    def __init__(self, silences: Callable[[], SilenceIndex] = SilenceIndex) -> None:
        self._silences = silences
        self._lock = threading.Lock()
        self._calendar = Calendar()
        self._last: tuple[object, ...] = ()
        self._rules: tuple[SuppressionRule, ...] = ()

    @property
    def calendar(self) -> Calendar:
        """The calendar in force."""
        return self._calendar

    def configure(self, entries: Sequence[CalendarEntry], zone: str) -> None:
        """Go by other entries from now on; announced events stay."""
        with self._lock:
            self._calendar = Calendar(entries, zone, self._calendar.announced)

    def announce(self, events: Iterable[Occurrence]) -> None:
        """Replace the events that were announced at run time."""
        with self._lock:
            self._calendar = Calendar(self._calendar.entries, self._calendar.zone, events)

    def during(self, times: Sequence[float]) -> list[tuple[SuppressionRule, ...]]:
        """Return the rules that were in effect at each of some ascending instants, without their texts.

        Where they are the same they are the same object: what comes every night is worked out once.
        """
        occurrences = sweep(self._calendar.between(times[0], times[-1]), times)
        silences = sweep(self._silences().silences, times)
        found: dict[tuple[tuple[SuppressionRule, ...], int], tuple[SuppressionRule, ...]] = {}
        answer: list[tuple[SuppressionRule, ...]] = []
        last: tuple[object, object] = (None, None)
        # Kept in a list first, because an id is only that of one object for as long as it lives.
        for known, silenced in list(zip(occurrences, silences, strict=True)):
            if (known, silenced) != last or not answer:
                named = tuple(dict.fromkeys(replace(suppression_rule(one), text="") for one in known))
                key = (named, id(silenced))
                if key not in found:
                    others = dict.fromkeys(replace(one.rule, text="") for one in silenced)
                    found[key] = (*named, *others)
                last = (known, silenced)
            answer.append(found[key])
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
    return (*map(suppression_rule, occurrences), *others, *own)
