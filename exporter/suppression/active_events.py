"""The rules in effect: the calendar, announced events and the silences of Alertmanagers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from exporter.calendar import (
    Calendar,
    CalendarEntry,
    Occurrence,
    SuppressionRule,
    TimeWindow,
    parse_matcher,
    suppression_rule,
    sweep,
)
from exporter.silences import Silence, SilenceIndex

__all__ = ["ActiveEvents"]

_NO_SILENCES = SilenceIndex()
_GROUP = "(group) "
"""What the alerts of groups are stored under begins with it."""


def _no_silences() -> SilenceIndex:
    return _NO_SILENCES


class ActiveEvents:
    """The rules in effect, for the evaluators of all queries; safe for many threads.

    Parameters
    ----------
    silences : callable
        Returns the newest silences.
    """

    def __init__(self, silences: Callable[[], SilenceIndex] = _no_silences) -> None:
        self._silences = silences
        self._lock = threading.Lock()
        self._calendar = Calendar()
        self._announced: tuple[Occurrence, ...] = ()
        self._recurring: tuple[tuple[CalendarEntry, TimeWindow], ...] = ()
        self._bands: tuple[Occurrence, ...] = ()
        self._incidents: tuple[Occurrence, ...] = ()
        self._expected: dict[str, tuple[str, ...]] = {}
        self._last: tuple[object, ...] = ()
        self._rules: tuple[SuppressionRule, ...] = ()

    def __getstate__(self) -> dict[str, object]:
        """Return the rules without what holds them together in this process."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._lock = threading.Lock()

    @property
    def calendar(self) -> Calendar:
        """The calendar in force."""
        return self._calendar

    def configure(self, entries: Sequence[CalendarEntry], zone: str) -> None:
        """Replace the entries of the calendar; announced events stay."""
        with self._lock:
            self._calendar = Calendar(entries, zone, self._calendar.announced, self._recurring)

    def announce(
        self, events: Iterable[Occurrence], recurring: Sequence[tuple[CalendarEntry, TimeWindow]] = ()
    ) -> None:
        """Replace the events that were announced at run time, and those of them that come again."""
        with self._lock:
            self._announced, self._recurring = tuple(events), tuple(recurring)
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

    def expect_alerts(self, expected: Mapping[str, Iterable[str]]) -> None:
        """Replace the events whose alerts are expected: by name, the queries or jobs of groups."""
        with self._lock:
            self._expected = {name: tuple(sorted(queries)) for name, queries in expected.items()}
            self._last = ()

    def _renew(self) -> None:
        others = (*self._announced, *self._bands, *self._incidents)
        self._calendar = Calendar(self._calendar.entries, self._calendar.zone, others, self._recurring)

    def during(self, times: Sequence[float]) -> list[tuple[SuppressionRule, ...]]:
        """Return the rules that were in effect at each of `times`, ascending Unix seconds, without their texts.

        Equal sets of rules are the same object, so that masks for what comes every night are computed once.
        """
        between = self._calendar.between(times[0], times[-1])
        occurrences = sweep(self._effective(between), times)
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

    def _effective(self, occurrences: Iterable[Occurrence]) -> list[Occurrence]:
        """Return the occurrences that do something, those among them of which people expect alerts."""
        effective = []
        for each in occurrences:
            if each.action != "note":
                effective.append(each)
            if each.action in ("note", "expect"):
                effective += [_expected_in(each, query) for query in self._expected.get(each.name, ())]
        return effective

    def rules(self, at: float) -> tuple[SuppressionRule, ...]:
        """Return the rules in effect at an instant, Unix seconds; the same object for as long as nothing changes."""
        occurrences, silences = self._calendar.at(at), self._silences().at(at)
        with self._lock:
            last = self._last
            if len(last) != 2 or last[0] is not occurrences or last[1] is not silences:
                self._rules = _rules(self._effective(occurrences), silences)
                self._last = (occurrences, silences)
            return self._rules


def _expected_in(event: Occurrence, query: str) -> Occurrence:
    """Return that the alerts of a query are ignored during an event."""
    kind, name = ("group", query.removeprefix(_GROUP)) if query.startswith(_GROUP) else ("query", query)
    matchers = (*event.matchers, parse_matcher(f'{kind}="{name}"'))
    comment = "people called such alerts expected during earlier ones"
    return replace(event, action="ignore", multiplier=1.0, matchers=matchers, comment=comment)


def _rules(occurrences: Sequence[Occurrence], silences: Sequence[Silence]) -> tuple[SuppressionRule, ...]:
    # Ours come from the calendar, which says more about them.
    others = (silence.rule for silence in silences if not silence.ours)
    own = (silence.rule for silence in silences if silence.ours)
    return (*map(suppression_rule, occurrences), *others, *own)
