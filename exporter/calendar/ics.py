"""Events of iCalendar files: when they are, and when they come again (RFC 5545)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rruleset, rrulestr

from exporter.calendar.events import TimeWindow

__all__ = ["FileEvent", "IcsError", "read_ics"]

_MOST_EVENTS = 20_000
_FASTER = ("SECONDLY", "MINUTELY", "HOURLY")
_UNTIL = re.compile(r"UNTIL=([0-9]{8})(T([0-9]{6})(Z?))?", re.IGNORECASE)
_TZID = re.compile(r"[A-Za-z-]+(?:;[^:\"]*?)?;TZID=(?:\"([^\"]*)\"|([^:;]*))", re.IGNORECASE)
_DAY = timedelta(days=1)


class IcsError(ValueError):
    """Not a file of events that can be used; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class FileEvent:
    """An event of a file.

    Attributes
    ----------
    summary : str
    start : datetime
        Without a zone; midnight of a whole day.
    length : timedelta
        Of the clock on the wall, so that whole days stay whole when it is changed.
    zone : str
        IANA time zone; empty: that of the calendar entry.
    rule : str
        When it comes again, as RRULE; empty: never.
    without, besides : tuple of datetime
        Starts that are left out, and that come in addition.
    """

    summary: str
    start: datetime
    length: timedelta
    zone: str = ""
    rule: str = ""
    without: tuple[datetime, ...] = ()
    besides: tuple[datetime, ...] = ()
    _starts: list[rruleset] = field(default_factory=list, repr=False, compare=False)

    def windows(self, begin: float, end: float, zone: str) -> Iterator[TimeWindow]:
        """Yield the windows that touch the time from `begin` to `end`, Unix seconds; `zone` is that of the entry."""
        local = ZoneInfo(self.zone or zone)
        # A day more on both sides: clocks are changed.
        first = _wall(begin, local) - self.length - _DAY
        last = _wall(end, local) + _DAY
        for start in self._between(first, last):
            window = TimeWindow(_instant(start, local), _instant(start + self.length, local))
            if window.start <= end and begin < window.end:
                yield window

    def _between(self, first: datetime, last: datetime) -> list[datetime]:
        if not self.rule and not self.besides:
            return [self.start] if first <= self.start <= last else []
        if not self._starts:
            self._starts.append(_starts(self))
        return list(self._starts[0].between(first, last, inc=True))


def _starts(event: FileEvent) -> rruleset:
    starts = rruleset(cache=True)
    if event.rule:
        starts.rrule(_rule(event.rule, event.start))
    else:
        starts.rdate(event.start)
    for each in event.besides:
        starts.rdate(each)
    for each in event.without:
        starts.exdate(each)
    return starts


def _rule(text: str, start: datetime) -> rrule:
    rule = rrulestr(text, dtstart=start)
    if not isinstance(rule, rrule):
        raise ValueError("more than one rule")  # noqa: TRY004 - the text is wrong, not the program.
    return rule


def read_ics(text: str) -> tuple[FileEvent, ...]:
    """Read the events of a file; those that are cancelled are left out.

    Raises
    ------
    IcsError
        With the first line that cannot be used.
    """
    import icalendar

    lines = _unfolded(text)
    if not lines or lines[0][1].strip().upper() != "BEGIN:VCALENDAR":
        raise IcsError(1, "not an iCalendar file: it does not begin with BEGIN:VCALENDAR")
    events: list[FileEvent] = []
    opened: list[tuple[int, str]] = []
    part: list[tuple[int, str]] = []
    for number, line in lines:
        name, _, value = line.partition(":")
        word = name.strip().upper()
        if word == "BEGIN":
            opened.append((number, value.strip().upper()))
        if len(opened) > 1 and opened[1][1] == "VEVENT":
            try:
                icalendar.parser.Contentline(line).parts()  # type: ignore[no-untyped-call]
            except ValueError:
                raise IcsError(number, f"not a line of an iCalendar file: {line[:60]!r}") from None
            part.append((number, line))
            _check_zone(number, line)
        if word == "END":
            if not opened or opened[-1][1] != value.strip().upper():
                raise IcsError(number, f"{line[:60]!r} ends what has not begun")
            opened.pop()
            if len(opened) == 1 and part:
                event = _event(part)
                events += [] if event is None else [event]
                part = []
        if len(events) > _MOST_EVENTS:
            raise IcsError(number, f"more than {_MOST_EVENTS} events")
    if opened:
        raise IcsError(opened[-1][0], f"BEGIN:{opened[-1][1]} has no end: the file is cut off")
    return tuple(events)


def _check_zone(number: int, line: str) -> None:
    import icalendar

    match = _TZID.match(line)
    if match is not None and icalendar.timezone.tzp.timezone(match[1] or match[2]) is None:
        raise IcsError(
            number, f"there is no time zone {(match[1] or match[2])[:60]!r}; write one such as Europe/Berlin"
        )


def _unfolded(text: str) -> list[tuple[int, str]]:
    """Return the lines with the number of the first of each; a line that begins with a blank continues the last."""
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        if line[:1] in (" ", "\t") and lines:
            lines[-1] = lines[-1][0], lines[-1][1] + line[1:]
        elif line.strip():
            lines.append((number, line))
    return lines


def _event(lines: list[tuple[int, str]]) -> FileEvent | None:
    """Return the event of the lines from BEGIN:VEVENT to END:VEVENT; None: it is cancelled."""
    import icalendar

    first = lines[0][0]

    def line_of(name: str) -> int:
        starts = (f"{name}:", f"{name};")
        return next((number for number, line in lines if line.upper().startswith(starts)), first)

    try:
        event = icalendar.Event.from_ical("\r\n".join(line for _, line in lines))
    except (ValueError, KeyError, IndexError) as error:
        raise IcsError(first, f"an event that cannot be read: {str(error)[:100]}") from None
    for name, reason in event.errors:
        raise IcsError(line_of(name or ""), f"{name}: {reason[:100]}")
    if str(event.get("STATUS", "")).upper() == "CANCELLED":
        return None
    begin = _value(event, "DTSTART")
    if begin is None:
        raise IcsError(first, "an event without DTSTART")
    start, zone, whole_day = begin
    length = _length(event, start, zone, whole_day)
    if length < timedelta(0):
        raise IcsError(line_of("DTEND"), "the event ends before it begins")
    if not length:
        return None  # A reminder.
    without = _values(event, "EXDATE", zone)
    besides = _values(event, "RDATE", zone)
    rule = _rule_of(event, zone)
    result = FileEvent(str(event.get("SUMMARY", "")), start, length, zone, rule, without, besides)
    if any(word in rule.upper() for word in _FASTER):
        raise IcsError(line_of("RRULE"), "an event that comes more than once a day: write an entry with cron")
    try:
        if rule:
            _rule(rule, start)
    except (ValueError, TypeError) as error:
        raise IcsError(line_of("RRULE"), f"RRULE: {str(error)[:100]}") from None
    return result


def _rule_of(event: Any, zone: str) -> str:
    rule = event.get("RRULE")
    if rule is None:
        return ""
    if isinstance(rule, list):
        rule = rule[0]
    text = rule.to_ical().decode()

    def local(match: re.Match[str]) -> str:
        if not match[4]:
            return match[0]
        # The end is an instant, and starts are on the wall.
        until = datetime.strptime(match[1] + match[3], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return until.astimezone(ZoneInfo(zone or "UTC")).strftime("UNTIL=%Y%m%dT%H%M%S")

    return _UNTIL.sub(local, text)


def _value(event: Any, name: str) -> tuple[datetime, str, bool] | None:
    value = event.get(name)
    if value is None:
        return None
    at = (value[0] if isinstance(value, list) else value).dt
    return _on_the_wall(at)


def _on_the_wall(at: date | datetime) -> tuple[datetime, str, bool]:
    """Return a time without its zone, the name of this, and whether it is a whole day."""
    if not isinstance(at, datetime):
        return datetime.combine(at, time()), "", True
    if at.tzinfo is None:
        return at, "", False
    zone = getattr(at.tzinfo, "key", None) or getattr(at.tzinfo, "zone", None)
    if zone is None:
        return at.astimezone(UTC).replace(tzinfo=None), "UTC", False
    return at.replace(tzinfo=None), str(zone), False


def _length(event: Any, start: datetime, zone: str, whole_day: bool) -> timedelta:
    end = _value(event, "DTEND")
    if end is not None:
        return _moved(end[0], end[1], zone) - start
    duration = event.get("DURATION")
    if duration is not None:
        length: timedelta = duration.dt
        return length
    return _DAY if whole_day else timedelta(0)


def _values(event: Any, name: str, zone: str) -> tuple[datetime, ...]:
    entries = event.get(name)
    lists = entries if isinstance(entries, list) else [] if entries is None else [entries]
    times = (_on_the_wall(each.dt) for entry in lists for each in entry.dts if isinstance(each.dt, date))
    return tuple(_moved(at, own, zone) for at, own, _ in times)


def _moved(at: datetime, own: str, zone: str) -> datetime:
    """Return a time of one zone as the wall of another shows it."""
    if own in ("", zone):
        return at
    return at.replace(tzinfo=ZoneInfo(own)).astimezone(ZoneInfo(zone or "UTC")).replace(tzinfo=None)


def _wall(at: float, zone: ZoneInfo) -> datetime:
    at = min(max(at, -62e9), 253e9)
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None)


def _instant(wall: datetime, zone: ZoneInfo) -> float:
    return wall.replace(tzinfo=zone).timestamp()
