"""Cron expressions in the local time of a zone.

Daylight saving: a start in the skipped hour happens later by as much as the clock was set forward; a start in the
repeated hour happens once, the first time, unless the expression names every hour.
"""

from __future__ import annotations

import calendar
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
_OF_MONTH_END = re.compile(r"l(?:-(?P<before>[0-9]{1,2}))?")
_WORKDAY = re.compile(r"(?P<day>[0-9]{1,2}|l)w")
_NTH_WEEKDAY = re.compile(r"(?P<day>[0-9a-z]+?)(?:#(?P<nth>[0-9]+)|(?P<last>l))")
_LAST = -1
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
    before_end : frozenset of int
        How many days before the last day of the month: ``L`` is 0.
    workdays : frozenset of int
        Days of the month in whose place the nearest day from Monday to Friday of the same month counts, ``15W``; -1 is
        the last day, ``LW``.
    nth : frozenset of (int, int)
        Weekdays that count once a month: ``fri#2`` is (5, 2), and the last one, ``friL``, (5, -1).
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool
    before_end: frozenset[int] = frozenset()
    workdays: frozenset[int] = frozenset()
    nth: frozenset[tuple[int, int]] = frozenset()

    def falls_on(self, day: date) -> bool:
        """Return whether there is a start on this day."""
        if day.month not in self.months:
            return False
        by_date, by_weekday = self._by_date(day), self._by_weekday(day)
        if self.any_day or self.any_weekday:
            return by_date and by_weekday
        return by_date or by_weekday

    def _by_date(self, day: date) -> bool:
        if day.day in self.days:
            return True
        if not (self.before_end or self.workdays):
            return False
        last = _length(day)
        if last - day.day in self.before_end:
            return True
        return any(day.day == _nearest_workday(day, last if of == _LAST else of) for of in self.workdays if of <= last)

    def _by_weekday(self, day: date) -> bool:
        weekday = day.isoweekday() % 7
        if weekday in self.weekdays:
            return True
        return bool(self.nth) and (
            (weekday, (day.day + 6) // 7) in self.nth or ((weekday, _LAST) in self.nth and day.day + 7 > _length(day))
        )

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
    months = _field(month, "month", 1, 12, _MONTHS)
    days, before_end, workdays = _days(day)
    weekdays, nth = _weekdays(weekday)
    cron = Cron(
        tuple(sorted(minutes)),
        tuple(sorted(hours)),
        days,
        months,
        weekdays,
        day.startswith("*"),
        weekday.startswith("*"),
        before_end,
        workdays,
        nth,
    )
    longest = max(_LONGEST_MONTH[number - 1] for number in months)
    first = min((*days, *workdays, *(longest - before for before in before_end if before < longest)), default=32)
    if cron.any_weekday and first > longest:
        what = f"has a day {min(days | workdays)}" if days or workdays else "is so long"
        raise CronError(f"{text[:60]!r} never comes: no such month {what}")
    return cron


def _days(text: str) -> tuple[frozenset[int], frozenset[int], frozenset[int]]:
    """Read days of the month: those with a number, days before the last one, and those moved to a working day."""
    plain, before_end, workdays = [], set(), set()
    for part in text.split(","):
        if end := _OF_MONTH_END.fullmatch(part):
            before = int(end["before"] or 0)
            if before > 30:
                raise CronError(f"day of the month: {part!r} is no day of any month: L-1 to L-30")
            before_end.add(before)
        elif workday := _WORKDAY.fullmatch(part):
            workdays.add(_LAST if workday["day"] == "l" else _number(workday["day"], "day of the month", 1, 31, ()))
        else:
            plain.append(part)
    days = _field(",".join(plain), "day of the month", 1, 31) if plain else frozenset()
    return days, frozenset(before_end), frozenset(workdays)


def _weekdays(text: str) -> tuple[frozenset[int], frozenset[tuple[int, int]]]:
    """Read days of the week: those that count in every week, and those that count once a month."""
    plain, nth = [], set()
    for part in text.split(","):
        match = None if part in _DAYS else _NTH_WEEKDAY.fullmatch(part)
        if match is None:
            plain.append(part)
            continue
        # Sunday is 0 and 7.
        weekday = _number(match["day"], "day of the week", 0, 7, _DAYS) % 7
        number = _LAST if match["last"] else int(match["nth"][:6])
        if number != _LAST and not 1 <= number <= 5:
            raise CronError(f"day of the week: {part[:20]!r}: a month has a first to a fifth, #1 to #5")
        nth.add((weekday, number))
    every = _field(",".join(plain), "day of the week", 0, 7, _DAYS) if plain else frozenset()
    return frozenset(number % 7 for number in every), frozenset(nth)


def _length(day: date) -> int:
    """Return how many days the month has."""
    return calendar.monthrange(day.year, day.month)[1]


def _nearest_workday(month: date, of: int) -> int:
    """Return the day from Monday to Friday that is nearest to the day `of` a month, in the same month."""
    weekday = month.replace(day=of).weekday()
    if weekday == 5:
        return of - 1 if of > 1 else of + 2
    if weekday == 6:
        return of + 1 if of < _length(month) else of - 2
    return of


def _field(text: str, what: str, low: int, high: int, names: tuple[str, ...] = ()) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise CronError(f"{what}: not understood: {part[:20]!r}; write *, 5, 1-5, */15 or 1,15{_also(what)}")
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


def _also(what: str) -> str:
    """Return what else a field takes."""
    return {"day of the month": ", L, L-3, LW or 15W", "day of the week": ", fri#2 or friL"}.get(what, "")


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
