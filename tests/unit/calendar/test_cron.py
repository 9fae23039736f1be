"""When something begins, through the two nights in which clocks are changed as well."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from exporter.calendar.cron import CronError, parse_cron

BERLIN = ZoneInfo("Europe/Berlin")
# Clocks go from 2:00 to 3:00 on 28 March 2027 (1:00 UTC), and from 3:00 to 2:00 on 31 October 2027 (1:00 UTC).


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def starts(cron: str, begin: str, end: str, zone: ZoneInfo = BERLIN) -> list[str]:
    found = parse_cron(cron).starts(at(begin), at(end), zone)
    return [datetime.fromtimestamp(start, UTC).strftime("%d %H:%M") for start in found]


@pytest.mark.parametrize(
    ("cron", "begin", "end", "expected"),
    [
        ("0 2 * * *", "2027-01-01T00:00", "2027-01-03T00:00", ["01 01:00", "02 01:00"]),
        ("0 2 * * *", "2027-07-01T00:00", "2027-07-01T23:00", ["01 00:00"]),
        ("*/20 5 * * *", "2027-01-01T00:00", "2027-01-02T00:00", ["01 04:00", "01 04:20", "01 04:40"]),
        ("5/25 5 * * *", "2027-01-01T00:00", "2027-01-02T00:00", ["01 04:05", "01 04:30", "01 04:55"]),
        ("0 9 * * mon-fri", "2027-01-01T00:00", "2027-01-05T00:00", ["01 08:00", "04 08:00"]),
        ("0 9 * * 7", "2027-01-01T00:00", "2027-01-12T00:00", ["03 08:00", "10 08:00"]),
        ("0 9 1,15 * *", "2027-01-01T00:00", "2027-01-31T00:00", ["01 08:00", "15 08:00"]),
        ("0 9 13 * fri", "2027-01-01T00:00", "2027-01-15T00:00", ["01 08:00", "08 08:00", "13 08:00"]),
        ("0 9 31 * *", "2027-02-01T00:00", "2027-04-30T00:00", ["31 07:00"]),
        ("@monthly", "2027-01-15T00:00", "2027-02-15T00:00", ["31 23:00"]),
        ("0 2 28 3 *", "2027-03-28T00:00", "2027-03-29T00:00", ["28 01:00"]),
        ("30 2 28 3 *", "2027-03-28T00:00", "2027-03-29T00:00", ["28 01:30"]),
        ("30 2 31 10 *", "2027-10-31T00:00", "2027-11-01T00:00", ["31 00:30"]),
        ("30 1 31 10 *", "2027-10-30T12:00", "2027-11-01T00:00", ["30 23:30"]),
        ("0 * 28 3 *", "2027-03-28T00:00", "2027-03-28T03:00", ["28 00:00", "28 01:00", "28 02:00", "28 03:00"]),
        ("0 * 31 10 *", "2027-10-31T00:00", "2027-10-31T03:00", ["31 00:00", "31 01:00", "31 02:00", "31 03:00"]),
        ("0 0 29 2 *", "2027-01-01T00:00", "2028-12-31T00:00", ["28 23:00"]),
        # The last day, three days before it, the last from Monday to Friday.
        ("0 9 L * *", "2027-01-01T00:00", "2027-04-30T00:00", ["31 08:00", "28 08:00", "31 07:00"]),
        ("0 9 L 2 *", "2028-01-01T00:00", "2028-12-31T00:00", ["29 08:00"]),
        ("0 9 L-3 * *", "2027-01-01T00:00", "2027-03-15T00:00", ["28 08:00", "25 08:00"]),
        ("0 9 LW * *", "2027-01-01T00:00", "2027-03-15T00:00", ["29 08:00", "26 08:00"]),
        ("0 9 1,L * *", "2027-01-15T00:00", "2027-02-15T00:00", ["31 08:00", "01 08:00"]),
        # The nearest workday, in the same month: Saturday 15 May, Sunday 15 August, Saturday 1 May, Sunday 31 January.
        ("0 9 15W 5,8 *", "2027-05-01T00:00", "2027-08-31T00:00", ["14 07:00", "16 07:00"]),
        ("0 9 1w 5 *", "2027-04-01T00:00", "2027-05-31T00:00", ["03 07:00"]),
        ("0 9 31W 1,2 *", "2027-01-01T00:00", "2027-03-31T00:00", ["29 08:00"]),
        # The second Friday, the fifth, the last, and the first Sunday beside every Monday.
        ("0 9 * * fri#2", "2027-01-01T00:00", "2027-02-28T00:00", ["08 08:00", "12 08:00"]),
        ("0 9 * * 5#5", "2027-01-01T00:00", "2027-04-29T00:00", ["29 08:00"]),
        ("0 9 * * friL", "2027-01-01T00:00", "2027-02-28T00:00", ["29 08:00", "26 08:00"]),
        ("0 9 * * mon,7#1", "2027-01-01T00:00", "2027-01-12T00:00", ["03 08:00", "04 08:00", "11 08:00"]),
    ],
)
def test_when_it_begins(cron: str, begin: str, end: str, expected: list[str]) -> None:
    assert starts(cron, begin, end) == expected


def test_both_ends_belong_to_the_range() -> None:
    assert starts("0 2 * * *", "2027-01-01T01:00", "2027-01-02T01:00") == ["01 01:00", "02 01:00"]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kathmandu", "America/St_Johns"])
def test_every_day_has_one_start_in_every_zone(zone: str) -> None:
    found = starts("15 4 * * *", "2027-01-01T00:00", "2027-12-31T23:59", ZoneInfo(zone))
    assert len(found) == 365


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "fields"),
        ("0 2 * *", "4 fields"),
        ("60 2 * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 2 0 * *", "day of the month"),
        ("0 2 * 13 *", "month"),
        ("0 2 * * 8", "day of the week"),
        ("0 2 * * fry", "sun to sat"),
        ("*/0 * * * *", "step"),
        ("5-1 * * * *", "ends before"),
        ("1,,2 * * * *", "not understood"),
        ("-1 * * * *", "not understood"),
        ("0 2 31 2,4 *", "never comes"),
        ("0 2 31W 2,4 *", "never comes"),
        ("0 2 L-30 2 *", "never comes"),
        ("0 2 L-31 * *", "L-1 to L-30"),
        ("0 2 32W * *", "not between 1 and 31"),
        ("0 2 * * fri#6", "#1 to #5"),
        ("0 2 * * L", "sun to sat"),
        ("0 L * * *", "hour"),
        ("@reboot", "fields"),
        ("9" * 5000 + " * * * *", "minute"),
    ],
)
def test_what_is_not_cron_is_refused_with_the_field(text: str, reason: str) -> None:
    with pytest.raises(CronError, match=reason):
        parse_cron(text)
