"""Cron expressions in the local time of a zone.

Daylight saving: a start in the skipped hour happens later by as much as the clock was set forward; a start in the
repeated hour happens once, the first time, unless the expression names every hour.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

__all__ = ["Cron", "CronError", "parse_cron"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?P<begin>\*|[0-9a-z]+)(?:-(?P<end>[0-9a-z]+))?(?:/(?P<step>[0-9]+))?")


class CronError(ValueError):
    """Not a cron expression; the text names the field that is wrong."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed cron expression: the minutes at which an event starts.

    Attributes
    ----------
    minutes, hours : tuple of int
        Ascending.
    days, months, weekdays : frozenset of int
        Of the month from 1, of the year from 1, of the week with Sunday as 0.
    any_day, any_weekday : bool
        The field is ``*``. Where neither is, a day that is in one of them counts, as cron has it.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def falls_on(self, day: date) -> bool:
        """Return whether there is a start on this day."""
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_date and by_weekday
        return by_date or by_weekday

    def starts(self, begin: float, end: float, zone: ZoneInfo) -> Iterator[float]:
        """Yield every start from `begin` to `end`, both included, in Unix seconds, ascending."""
        seen = -1e300
        for day in self.days_between(begin, end, zone):
            for start in self.of_day(day, zone):
                if begin <= start <= end and start > seen:
                    seen = start
                    yield start

    def days_between(self, begin: float, end: float, zone: ZoneInfo) -> Iterator[date]:
        """Yield every day with a start that may lie from `begin` to `end`, Unix seconds, and at most a few more."""
        # A day more on both sides: the dates of a zone are up to a day from those of UTC, and starts may be shifted.
        day = datetime.fromtimestamp(begin, zone).date() - timedelta(days=1)
        last = datetime.fromtimestamp(end, zone).date() + timedelta(days=1)
        while day <= last:
            if self.falls_on(day):
                yield day
            day += timedelta(days=1)

    def of_plain_day(self) -> list[float]:
        """Return the starts of a day on which no clock is set, in seconds after midnight, ascending."""
        return [3600.0 * hour + 60.0 * minute for hour in self.hours for minute in self.minutes]

    def of_day(self, day: date, zone: ZoneInfo) -> list[float]:
        """Return the starts of any day, Unix seconds, ascending."""
        folds = (0, 1) if len(self.hours) == 24 else (0,)
        instants = (
            datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold)
            for hour in self.hours
            for minute in self.minutes
            for fold in folds
        )
        # A time that was left out is read by the offset before the change, and so lands behind it; with fold 1 it
        # would be read by the offset after it and land before.
        return sorted({instant.timestamp() for instant in instants if instant.fold == 0 or _exists(instant, zone)})


def parse_cron(text: str) -> Cron:
    """Read five fields (minute, hour, day of the month, month, day of the week), or a word such as ``@daily``.

    Raises
    ------
    CronError

    >>> parse_cron("30 2 * * mon-fri").hours
    (2,)
    """
    plain = _SHORT.get(text.strip().lower(), text).lower()
    fields = plain.split()
    if len(fields) != 5:
        raise CronError(
            f"{text[:60]!r} has {len(fields)} fields, not 5: minute, hour, day of the month, month, day of the week"
        )
    minute, hour, day, month, weekday = fields
    minutes, hours = _field(minute, "minute", 0, 59), _field(hour, "hour", 0, 23)
    days, months = _field(day, "day of the month", 1, 31), _field(month, "month", 1, 12, _MONTHS)
    # Sunday is 0 and 7.
    weekdays = frozenset(number % 7 for number in _field(weekday, "day of the week", 0, 7, _DAYS))
    cron = Cron(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        days,
        months,
        weekdays,
        day.startswith("*"),
        weekday.startswith("*"),
    )
    if cron.any_weekday and all(min(days) > _LONGEST_MONTH[number - 1] for number in months):
        raise CronError(f"{text[:60]!r} never comes: no such month has a day {min(days)}")
    return cron


def _field(text: str, what: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise CronError(f"{what}: not understood: {part[:20]!r}; write *, 5, 1-5, */15 or 1,15")
        begin, end, step = match["begin"], match["end"], match["step"]
        if begin == "*":
            first, last = low, high
            if end is not None:
                raise CronError(f"{what}: not understood: {part[:20]!r}")
        else:
            first = _number(begin, what, low, high, names)
            # `5/15` is every 15 from 5 on.
            last = _number(end, what, low, high, names) if end is not None else (high if step else first)
        if last < first:
            raise CronError(f"{what}: {part[:20]!r} ends before it begins")
        if step is not None and not 1 <= int(step[:6]) <= high:
            raise CronError(f"{what}: a step of {step[:20]} is not between 1 and {high}")
        numbers.update(range(first, last + 1, int(step or 1)))
    # `0-7` and `*` name Sunday twice; the caller folds it.
    return frozenset(numbers)


def _number(text: str, what: str, low: int, high: int, names: tuple[str, ...]) -> int:
    if text in names:
        return names.index(text) + (1 if low == 1 else 0)
    if not text.isdigit() or not low <= int(text[:6]) <= high:
        also = f", or {names[0]} to {names[-1]}" if names else ""
        raise CronError(f"{what}: {text[:20]!r} is not between {low} and {high}{also}")
    return int(text)


def _exists(instant: datetime, zone: ZoneInfo) -> bool:
    """Return whether the clocks of the zone ever show this time."""
    back = datetime.fromtimestamp(instant.timestamp(), zone)
    return back.replace(tzinfo=None) == instant.replace(tzinfo=None)
