"""Times as spreadsheets, dashboards and databases write them: a clock on the wall, with or without a zone."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

__all__ = ["WallClock", "zone_of"]

_ABBREVIATIONS = {
    "Z": 0, "UTC": 0, "GMT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "MEZ": 1, "MESZ": 2, "EET": 2,
    "EEST": 3, "MSK": 3, "EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9,
    "AKDT": -8, "HST": -10, "BRT": -3, "JST": 9, "KST": 9, "AWST": 8, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
}  # fmt: skip
"""Hours ahead of UTC. CST and IST are not here: they are several zones."""
_PLACE = r"[A-Za-z][A-Za-z_]*(?:/[A-Za-z0-9_+-]+)*"
_STAMP = re.compile(
    r"(?P<clock>[0-9][0-9T:.,/ +-]*?)\s*(?P<half>[AaPp]\.?[Mm]\.?)?\s*"
    rf"(?P<zone>{_PLACE})?(?:\s*\[(?P<place>{_PLACE})\])?"
)
_DAY = re.compile(
    r"(?P<a>\d{1,2})(?P<mark>[./-])(?P<b>\d{1,2})(?P=mark)(?P<year>\d{4}|(?<=\.)\d{2})(?:,?[T ]\s*(?P<time>[0-9:.,]+))?"
)
_TIME = re.compile(r"(?P<hour>\d{1,2}):(?P<rest>\d{2}(?::\d{2}(?:[.,]\d+)?)?)")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<month>[A-Z][a-z]{2,8})\.?"
_NAMED = [
    re.compile(r"(?:[A-Z][a-z]{2,8}\.?,?\s+)?" + form + r"(?:[,:T]?\s*@?\s*(?P<rest>\d{1,2}:\d{2}.*))?")
    for form in (
        rf"(?P<day>\d{{1,2}})(?P<mark>[ /-]){_MONTH}(?P=mark)(?P<year>\d{{4}})",
        rf"{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})",
    )
]
"""English names of months: 20 Oct 2026 (mail), 20/Oct/2026:00:05:00 (web servers), Oct 20, 2026 @ 00:05 (Kibana)."""
_CTIME = re.compile(
    rf"(?:[A-Z][a-z]{{2}}\s+)?{_MONTH}\s+(?P<day>\d{{1,2}})\s+(?P<rest>[\d:.]+(?:\s+[A-Z]{{2,5}})?)\s+(?P<year>\d{{4}})"
)
"""As the command `date` prints it."""
_SPACED_OFFSET = re.compile(r"\s+([+-]\d{2}:?\d{2})$")
_AMBIGUOUS = "day and month could be either way round; write dd.mm.yyyy or ISO 8601"


@functools.lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo | None:
    """Return the zone of an IANA name or of an abbreviation, None for anything else.

    >>> zone_of("CEST"), zone_of("Europe/Berlin"), zone_of("CST")
    (datetime.timezone(datetime.timedelta(seconds=7200), 'CEST'), zoneinfo.ZoneInfo(key='Europe/Berlin'), None)
    """
    if name in _ABBREVIATIONS:
        return timezone(timedelta(hours=_ABBREVIATIONS[name]), name)
    if "/" not in name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        return None


def _with_month_as_number(stamp: str) -> str:
    """Write a date with the English name of its month as ISO 8601 does; anything else stays.

    >>> _with_month_as_number("Oct 2, 2026 @ 00:05:00.000"), _with_month_as_number("2026-10-02")
    ('2026-10-02 00:05:00.000', '2026-10-02')
    """
    if stamp[:4].isdigit():
        return stamp
    for form in (*_NAMED, _CTIME):
        date = form.fullmatch(stamp)
        if date is not None and (month := date["month"][:3].lower()) in _MONTHS:
            return f"{date['year']}-{_MONTHS.index(month) + 1:02}-{int(date['day']):02} {date['rest'] or '00:00'}"
    return stamp


class WallClock:
    """Reads times one after the other: in the hour that a clock is set back, what comes later is later.

    Parameters
    ----------
    stamps : iterable of str
        All that will be read: whether days or months come first is seen from them.
    zone : tzinfo
        Of times that have none.
    """

    def __init__(self, stamps: Iterable[str] = (), zone: tzinfo = UTC) -> None:
        self._zone = zone
        self._previous = -math.inf
        first = second = 0
        halves = False
        for stamp in stamps:
            form = _STAMP.fullmatch(stamp.strip())
            day = None if form is None else _DAY.fullmatch(form["clock"])
            if form is None or day is None or day["mark"] == ".":
                continue
            first, second = max(first, int(day["a"])), max(second, int(day["b"]))
            halves |= form["half"] is not None
        self._day_first: bool | None = True if first > 12 else False if second > 12 or halves else None

    def read(self, stamp: str) -> tuple[float, str]:
        """Return Unix seconds, NaN where the time cannot be read; and why, where there is more to say than that."""
        form = _STAMP.fullmatch(_with_month_as_number(stamp.strip()))
        if form is None:
            return math.nan, ""
        zone = form["place"] or form["zone"]
        of_stamp = None if zone is None else zone_of(zone)
        if zone is not None and of_stamp is None:
            return math.nan, f"{stamp.strip()!r}: {zone} is no time zone; write one such as Europe/Berlin or +01:00"
        try:
            clock, problem = self._clock(form)
            if clock is None:
                return math.nan, problem
            return self._seconds(clock, of_stamp or self._zone), ""
        except (OverflowError, ValueError):
            return math.nan, ""

    def _clock(self, form: re.Match[str]) -> tuple[datetime | None, str]:
        """Return the date and time as they are written."""
        text = _SPACED_OFFSET.sub(r"\1", form["clock"])
        day = _DAY.fullmatch(text)
        if day is not None:
            if day["mark"] != "." and self._day_first is None:
                return None, f"{text}: {_AMBIGUOUS}"
            first_is_day = day["mark"] == "." or self._day_first
            date, month = (day["a"], day["b"]) if first_is_day else (day["b"], day["a"])
            # Years of two digits are written with points only: 31.12.26.
            year = day["year"] if len(day["year"]) == 4 else f"20{day['year']}"
            text = f"{year}-{int(month):02}-{int(date):02} {day['time'] or '00:00'}"
        else:
            text = text.replace("/", "-")
        head, blank, time = text.partition(" ") if " " in text else text.partition("T")
        hour = _TIME.match(time)
        if hour is not None:
            number = int(hour["hour"])
            if form["half"] is not None:
                number = number % 12 + 12 * (form["half"][0] in "Pp")
            text = f"{head}{blank}{number:02}:{time[hour.start('rest') :]}"
        elif form["half"] is not None:
            return None, ""
        return datetime.fromisoformat(text), ""

    def _seconds(self, clock: datetime, zone: tzinfo) -> float:
        if clock.tzinfo is not None:
            seconds = clock.timestamp()
        else:
            seconds = clock.replace(tzinfo=zone).timestamp()
            if seconds < self._previous:
                again = clock.replace(tzinfo=zone, fold=1).timestamp()
                seconds = again if again >= self._previous else seconds
        self._previous = seconds
        return seconds
