"""Entries of the configuration section ``calendar:``, and their occurrences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from exporter.calendar.cron import Cron, parse_cron
from exporter.calendar.events import Action, AnnouncedEvent, Occurrence, TimeWindow
from exporter.calendar.ics import FileEvent
from exporter.calendar.matchers import Matcher, parse_matcher
from exporter.settings import Duration, Items, Section, Timezone, format_duration

__all__ = [
    "CalendarEntry",
    "EntryName",
    "Match",
    "Multiplier",
    "check_multiplier",
    "merged",
    "parse_date_time",
    "parsed_by",
    "recurring_entry",
]

_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.:/#-]{0,127}")
_DATE_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})?)?")
_DAY = 86400.0
_LONGEST_CRON = 31 * 86400.0


def _entry_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"not a name: {name[:60]!r}; letters, digits and _ . : / # - only, at most 128 characters, "
            "such as nightly-batch"
        )
    return name


def parsed_by(parse: Callable[[str], object]) -> AfterValidator:
    """Return the validator of a text that `parse` takes; it stays as it is."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def check_multiplier(action: Action, multiplier: float | None) -> None:
    """Raise ValueError unless there is a multiplier exactly where the action needs one."""
    if action == "expect" and (multiplier is None or multiplier == 1):
        raise ValueError("expect needs a multiplier other than 1, such as 3")
    if action != "expect" and multiplier is not None:
        raise ValueError(f"multiplier has no meaning for {action}; it goes with expect")


def _not_everything(match: tuple[str, ...]) -> tuple[str, ...]:
    if all(matcher.matches("") for matcher in map(parse_matcher, match)):
        raise ValueError(
            "every matcher is true of a label that is not there, so this concerns everything; "
            "Alertmanager refuses that: name something, such as 'query=~\".+\"'"
        )
    return match


EntryName = Annotated[str, AfterValidator(_entry_name)]
MatcherText = Annotated[str, parsed_by(parse_matcher)]
Match = Annotated[Items[MatcherText], Field(min_length=1, max_length=50), AfterValidator(_not_everything)]
Multiplier = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
DateTimeText = Annotated[str, parsed_by(lambda text: parse_date_time(text, ZoneInfo("UTC")))]


class CalendarEntry(Section):
    """A known event.

    It comes again (`cron` and `duration`), or has dates (`starts_at` and `ends_at`), or stands in an `ics_file`.
    """

    name: EntryName = Field(description="Unique. It is named in silences and explanations.")
    cron: Annotated[str, parsed_by(parse_cron)] | None = Field(
        None,
        description="When it begins: minute, hour, day of the month, month, day of the week; in `timezone`. Days may "
        "be `L` (the last), `L-3`, `LW` (the last from Monday to Friday) or `15W` (the nearest of these to the 15th), "
        "days of the week `fri#2` (the second Friday) or `friL` (the last).",
    )
    duration: Duration | None = Field(None, gt=0, le=_LONGEST_CRON, description="How long it lasts from then on.")
    starts_at: DateTimeText | None = Field(
        None, description="When it begins, such as `2026-11-27T00:00:00Z`; without an offset, in `timezone`."
    )
    ends_at: DateTimeText | None = Field(None, description="When it ends.")
    ics_file: Annotated[Path, Field(strict=False)] | None = Field(
        None,
        description="iCalendar file whose events are its times, such as the school holidays of a state; read again "
        "when it changes.",
    )
    summary: str | None = Field(
        None, min_length=1, max_length=200, description="Only events of the file that have this text in their summary."
    )
    timezone: Timezone | None = Field(None, description="IANA time zone. Default: `global.timezone`.")
    match: Match = Field(
        description="Matchers as in Alertmanager, all of which must hold for the labels of a series' alert, such as "
        '`query="cpu"` or `instance=~"db-.*"`.'
    )
    action: Action = Field(
        description="`silence`: a silence in every Alertmanager, nothing learned. `ignore`: no alert, nothing learned. "
        "`expect`: the band is widened by `multiplier`, nothing learned. `note`: alerts that follow name it, no more."
    )
    multiplier: Multiplier | None = Field(None, description="For `expect`: how many times the usual value is expected.")
    comment: str | None = Field(
        None, max_length=500, description="For people: added to the silence and to explanations."
    )

    _events: tuple[FileEvent, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _whole(self) -> Self:
        recurs, dated = self.cron is not None, self.starts_at is not None or self.ends_at is not None
        if recurs + dated + (self.ics_file is not None) != 1:
            raise ValueError("give either cron and duration, or starts_at and ends_at, or ics_file")
        if self.summary is not None and self.ics_file is None:
            raise ValueError("summary goes with ics_file")
        if self.duration is not None and self.ics_file is not None:
            raise ValueError("duration goes with cron; the file says how long its events last")
        if recurs and self.duration is None:
            raise ValueError("cron says when it begins; give its duration too")
        if dated and (self.starts_at is None or self.ends_at is None):
            raise ValueError("starts_at and ends_at belong together")
        if dated and self.duration is not None:
            raise ValueError("duration goes with cron; ends_at says when this ends")
        check_multiplier(self.action, self.multiplier)
        if self.starts_at is not None and self.ends_at is not None:
            zone = ZoneInfo(self.timezone or "UTC")
            if parse_date_time(self.ends_at, zone) <= parse_date_time(self.starts_at, zone):
                raise ValueError("it ends before it begins")
        return self

    @cached_property
    def matchers(self) -> tuple[Matcher, ...]:
        """The parsed `match`."""
        return tuple(map(parse_matcher, self.match))

    @cached_property
    def _starts(self) -> Cron | None:
        return None if self.cron is None else parse_cron(self.cron)

    def with_events(self, events: Iterable[FileEvent]) -> CalendarEntry:
        """Return the entry with the events of its file."""
        entry = self.model_copy()
        text = (self.summary or "").casefold()
        entry._events = tuple(event for event in events if text in event.summary.casefold())  # noqa: SLF001
        return entry

    @cached_property
    def _plain_day(self) -> list[TimeWindow]:
        """The merged windows of a day on which no clock is set, in seconds after midnight.

        Once for all days: an entry for every minute of a month would otherwise be expanded into 44,640 windows.
        """
        cron, duration = self._starts, self.duration or 0.0
        return [] if cron is None else merged(TimeWindow(start, start + duration) for start in cron.of_plain_day())

    def _of_days(self, begin: float, end: float, zone: ZoneInfo) -> Iterator[TimeWindow]:
        """Yield the windows of all days between two instants, ascending."""
        cron, duration = self._starts, self.duration or 0.0
        assert cron is not None  # noqa: S101 - for the type checker.
        for day in cron.days_between(begin, end, zone):
            midnight, next_midnight = (_midnight(each, zone) for each in (day, day + timedelta(days=1)))
            if next_midnight - midnight == _DAY:
                yield from (TimeWindow(midnight + each.start, midnight + each.end) for each in self._plain_day)
            else:
                yield from (TimeWindow(start, start + duration) for start in cron.of_day(day, zone))

    def windows(self, begin: float, end: float, zone: str) -> list[TimeWindow]:
        """Return the windows that touch the time from `begin` to `end`; overlapping windows are merged.

        Parameters
        ----------
        begin, end : float, Unix seconds
        zone : str
            IANA time zone, for an entry that names none.
        """
        local = ZoneInfo(self.timezone or zone)
        if self.ics_file is not None:
            inside = (each for event in self._events for each in event.windows(begin, end, self.timezone or zone))
            windows = merged(sorted(inside, key=lambda window: window.start))
        elif self._starts is None or self.duration is None:
            assert self.starts_at is not None and self.ends_at is not None  # noqa: S101, PT018 - validated.
            windows = [TimeWindow(parse_date_time(self.starts_at, local), parse_date_time(self.ends_at, local))]
        else:
            windows = merged(self._of_days(begin - self.duration, end, local))
        return [window for window in windows if window.start <= end and begin < window.end]

    def windows_within(self, within: TimeWindow, begin: float, end: float, zone: str) -> list[TimeWindow]:
        """Return those of `windows` that begin in a range of time; of merged ones the part that is in it."""
        result = []
        for window in self.windows(begin, end, zone):
            if self.duration is not None and window.end - window.start > self.duration:
                part = TimeWindow(max(window.start, within.start), min(window.end, within.end))
                result += [part] if part.start <= end and max(begin, part.start) < part.end else []
            elif within.start <= window.start < within.end:
                result.append(window)
        return result

    def occurrences(self, begin: float, end: float, zone: str, within: TimeWindow | None = None) -> list[Occurrence]:
        """Return the entry with each of its `windows`, or with its `windows_within` a range of time."""
        multiplier = 1.0 if self.multiplier is None else self.multiplier
        windows = self.windows(begin, end, zone) if within is None else self.windows_within(within, begin, end, zone)
        return [
            Occurrence(self.name, self.action, multiplier, self.matchers, window, self.comment or "")
            for window in windows
        ]


def recurring_entry(event: AnnouncedEvent) -> CalendarEntry:
    """Return an announced event that comes again as the calendar has it."""
    fields: dict[str, object] = {
        "name": event.name,
        "cron": event.cron,
        "duration": format_duration(event.duration),
        "timezone": event.timezone or None,
        "match": event.match,
        "action": event.action,
        "multiplier": event.multiplier if event.action == "expect" else None,
        "comment": event.comment or None,
    }
    return CalendarEntry.model_validate(fields)


def parse_date_time(text: str, zone: ZoneInfo) -> float:
    """Parse a date and time into Unix seconds; a text without an offset is in `zone`.

    >>> parse_date_time("2026-11-27T00:00:00Z", ZoneInfo("UTC"))
    1795737600.0
    """
    if not _DATE_TIME.fullmatch(text):
        raise ValueError(f"not a date and time: {text[:60]!r}; write one such as 2026-11-27T00:00:00Z")
    try:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"there is no such date and time: {text[:60]!r}") from None


def merged(windows: Iterable[TimeWindow]) -> list[TimeWindow]:
    """Merge ascending windows that overlap or touch."""
    result: list[TimeWindow] = []
    for window in windows:
        if result and window.start <= result[-1].end:
            result[-1] = TimeWindow(result[-1].start, max(result[-1].end, window.end))
        else:
            result.append(window)
    return result


def _midnight(day: date, zone: ZoneInfo) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
