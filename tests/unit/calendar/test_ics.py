"""Events of iCalendar files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from exporter.calendar.entries import CalendarEntry
from exporter.calendar.ics import IcsError, read_ics

BEGIN, END = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2027, 2028))
SCHOOL = "DTSTART;VALUE=DATE:20270719\r\nDTEND;VALUE=DATE:20270901"


def calendar(*events: str) -> str:
    head = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:test\r\n"
    return (
        head + "".join(f"BEGIN:VEVENT\r\nUID:1\r\n{event}\r\nEND:VEVENT\r\n" for event in events) + "END:VCALENDAR\r\n"
    )


def windows(*events: str, zone: str = "Europe/Berlin") -> list[tuple[str, float]]:
    """Return begin, UTC, and hours of all that is in 2027."""
    inside = sorted(
        (window for event in read_ics(calendar(*events)) for window in event.windows(BEGIN, END, zone)),
        key=lambda window: window.start,
    )
    return [
        (datetime.fromtimestamp(each.start, UTC).strftime("%m-%d %H:%M"), (each.end - each.start) / 3600)
        for each in inside
    ]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (f"SUMMARY:holidays\r\n{SCHOOL}", [("07-18 22:00", 44 * 24.0)]),
        ("DTSTART;VALUE=DATE:20270501", [("04-30 22:00", 24.0)]),
        # A day of 23 hours stays a day.
        ("DTSTART;VALUE=DATE:20270328\r\nDTEND;VALUE=DATE:20270329", [("03-27 23:00", 23.0)]),
        ("DTSTART:20270501T120000\r\nDURATION:PT90M", [("05-01 10:00", 1.5)]),
        ("DTSTART:20270501T120000Z\r\nDTEND:20270501T130000Z", [("05-01 12:00", 1.0)]),
        ("DTSTART;TZID=America/New_York:20270105T090000\r\nDURATION:PT1H", [("01-05 14:00", 1.0)]),
        ("DTSTART;TZID=W. Europe Standard Time:20270105T090000\r\nDURATION:PT1H", [("01-05 08:00", 1.0)]),
        # It comes again at the same time of the wall, over a change of the clock; the end is an instant.
        (
            "DTSTART;TZID=Europe/Berlin:20270322T090000\r\nDURATION:PT1H\r\nRDATE;TZID=Europe/Berlin:20270501T090000\r\n"  # noqa: ISC004
            "RRULE:FREQ=WEEKLY;UNTIL=20270405T070000Z",
            [("03-22 08:00", 1.0), ("03-29 07:00", 1.0), ("04-05 07:00", 1.0), ("05-01 07:00", 1.0)],
        ),
        (
            "DTSTART;VALUE=DATE:20201224\r\nRRULE:FREQ=YEARLY\r\nEXDATE;VALUE=DATE:20281224",
            [("12-23 23:00", 24.0)],
        ),
        ("DTSTART:20270501T120000Z\r\nDURATION:PT1H\r\nSTATUS:CANCELLED", []),
        ("DTSTART:20270501T120000Z", []),
        ("DTSTART:20250501T120000Z\r\nDURATION:PT1H", []),
    ],
)
def test_when_an_event_is(event: str, expected: list[tuple[str, float]]) -> None:
    assert windows(event) == expected


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "BEGIN:VCALENDAR"),
        ("<html>", 1, "BEGIN:VCALENDAR"),
        ("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20270501\n", 2, "cut off"),
        ("BEGIN:VCALENDAR\nEND:VEVENT\n", 2, "not begun"),
        (calendar("SUMMARY:x\r\n and more\r\nDTSTART:2027"), 8, "DTSTART"),
        (calendar("SUMMARY:x\r\nno line\r\nDTSTART:20270501"), 7, "not a line"),
        (calendar("DTSTART;TZID=Nowhere/Land:20270501T120000\r\nDURATION:PT1H"), 6, "no time zone 'Nowhere/Land'"),
        (calendar("SUMMARY:x"), 4, "without DTSTART"),
        (calendar("DTSTART:20270501T120000Z\r\nDTEND:20270501T110000Z"), 7, "before it begins"),
        (calendar("DTSTART:20270501T120000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=SOMETIMES"), 8, "RRULE"),
        (calendar("DTSTART:20270501T120000Z\r\nDURATION:PT1H\r\nRRULE:FREQ=MINUTELY"), 8, "cron"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(IcsError, match=reason) as error:
        read_ics(text)
    assert error.value.line == line


def test_an_entry_takes_the_events_with_its_summary() -> None:
    entry = CalendarEntry.model_validate(
        {
            "name": "school",
            "ics_file": Path("school.ics"),
            "summary": "sommer",
            "match": ['query="x"'],
            "action": "ignore",
        }
    )
    events = read_ics(
        calendar(f"SUMMARY:Sommerferien\r\n{SCHOOL}", "SUMMARY:Elternabend\r\nDTSTART;VALUE=DATE:20270501")
    )
    (occurrence,) = entry.with_events(events).occurrences(BEGIN, END, "Europe/Berlin")
    assert occurrence.name == "school"
    assert occurrence.window.end - occurrence.window.start == 44 * 86400.0
    assert entry.occurrences(BEGIN, END, "UTC") == []


@pytest.mark.parametrize("more", [{"cron": "0 2 * * *"}, {"duration": "2h"}, {"starts_at": "2027-01-01"}])
def test_a_file_is_the_only_source_of_times(more: dict[str, str]) -> None:
    fields = {"name": "x", "ics_file": Path("x.ics"), "match": ['query="x"'], "action": "ignore"}
    with pytest.raises(ValueError, match=r"either cron|goes with cron"):
        CalendarEntry.model_validate(fields | more)
