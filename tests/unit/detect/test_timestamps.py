"""Timestamps as people and programs write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.detect.timestamps import is_json_number, parse_times

AT = 1772323200.0


@pytest.mark.parametrize(
    "stamp",
    [
        pytest.param("1772323200", id="seconds"),
        pytest.param("1772323200.0", id="seconds with a fraction"),
        pytest.param(" 1772323200 ", id="with blanks"),
        pytest.param("1.7723232e9", id="as a float is printed"),
        pytest.param("1772323200000", id="milliseconds"),
        pytest.param("2026-03-01T00:00:00Z", id="ISO 8601 in UTC"),
        pytest.param("2026-03-01T01:00:00+01:00", id="ISO 8601 with a zone"),
        pytest.param("2026-03-01T00:00:00", id="ISO 8601 without a zone is UTC"),
        pytest.param("2026-03-01 00:00:00.000", id="as a database prints it"),
        pytest.param("2026-03-01 00:00", id="without seconds"),
        pytest.param("2026-03-01", id="a day"),
        pytest.param("01.03.2026 00:00", id="as Germans write it"),
        pytest.param("1.3.2026, 0:00:00", id="with a comma"),
        pytest.param("01.03.26 00:00", id="with a year of two digits"),
        pytest.param("01.03.2026 01:00 CET", id="with the name of an offset"),
        pytest.param("28.02.2026 19:00:00.000 EST", id="with that of another"),
        pytest.param("2026-03-01 01:00:00 Europe/Berlin", id="with the name of a place"),
        pytest.param("2026-03-01T01:00+01:00[Europe/Berlin]", id="as Java prints it"),
        pytest.param("2026-03-01 01:00:00 +0100", id="with an offset behind a blank"),
        pytest.param("2026/03/01 00:00:00", id="with slashes"),
        pytest.param("3/1/2026 12:00 AM", id="as Americans write it"),
        pytest.param("2026-03-01 00:00:00 UTC", id="in UTC by name"),
        pytest.param("1772323200000000", id="microseconds"),
        pytest.param("1772323200000000000", id="nanoseconds"),
        pytest.param("Mar 1, 2026 @ 00:00:00.000", id="as Kibana prints it"),
        pytest.param("March 1st 2026, 00:00:00", id="with the month in words"),
        pytest.param("01/Mar/2026:01:00:00 +0100", id="as web servers log it"),
        pytest.param("Sun, 01 Mar 2026 00:00:00 GMT", id="as in mail"),
        pytest.param("Sun Mar  1 01:00:00 CET 2026", id="as date prints it"),
        pytest.param("01-Mar-2026", id="a day with the month in words"),
    ],
)
def test_a_timestamp_is_read(stamp: str) -> None:
    times, wrong = parse_times([stamp])
    assert (times.tolist(), wrong) == ([AT], {})


@pytest.mark.parametrize(
    "stamp",
    ["", "soon", "nan", "inf", "1_000", "0x10", "٣", "2026-13-01", "Mai 1, 2026", "3/1/26", "1e400", "1" * 65, "-1e12"],
)
def test_what_is_no_timestamp_is_told(stamp: str) -> None:
    times, wrong = parse_times(["1772323200", stamp])
    assert list(wrong) == [1]
    assert np.isnan(times[1])


def test_milliseconds_must_be_all_of_the_numbers() -> None:
    _, wrong = parse_times(["1772323200", "1772323260000"])
    assert wrong == {1: "1772323260000 is too large for seconds, and other rows are no milliseconds"}
    assert list(parse_times(["1772323200000", "1772323260000000"])[1]) == [0, 1]


def test_the_zone_is_that_of_the_times_without_one() -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert parse_times(["01.03.2026 01:00", "2026-03-01T00:00Z", "1772323200"], zone)[0].tolist() == [AT] * 3


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    minutes = [f"26.10.2025 0{hour}:{minute:02}" for hour in (1, 2, 2, 3) for minute in range(0, 60, 10)]
    times, wrong = parse_times(minutes, ZoneInfo("Europe/Berlin"))
    assert not wrong
    assert np.diff(times).tolist() == [600.0] * 23


def test_days_and_months_are_those_that_fit_all_times() -> None:
    assert parse_times(["02/03/2026", "13/03/2026"])[0][0] == AT + 86400.0
    assert parse_times(["03/02/2026", "03/13/2026"])[0][0] == AT + 86400.0
    assert "either way round" in parse_times(["02/03/2026"])[1][0]
    assert parse_times(["13/03/2026", "03/13/2026"])[1] == {1: "not a timestamp: '03/13/2026'"}


@pytest.mark.parametrize("name", ["CST", "IST", "XYZ", "Europe/Nowhere"])
def test_a_zone_that_is_none_is_named(name: str) -> None:
    assert f"{name} is no time zone" in parse_times([f"2026-03-01 00:00 {name}"])[1][0]


def test_small_numbers_are_seconds_of_1970() -> None:
    assert parse_times(["0", "60", "120"])[0].tolist() == [0.0, 60.0, 120.0]


@pytest.mark.parametrize(
    ("stamp", "yes"), [(b"17.500", True), (b"-1", True), (b"+1", False), (b"1.", False), (b"01", False)]
)
def test_a_timestamp_stays_a_number_in_json_where_it_is_one(stamp: bytes, yes: bool) -> None:
    assert is_json_number(stamp) is yes


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("UTC"), ZoneInfo("Africa/Abidjan")])
@pytest.mark.parametrize(
    "stamps",
    [
        ["2026-03-01T00:00:00Z", "2026-03-01T00:01:00Z"],
        ["2026-03-01 00:00", "2026-03-01 00:00:30.25", "2026-03-01T00:01:00.000001Z"],
    ],
)
def test_iso_8601_in_bulk_is_what_each_is_alone(stamps: list[str], zone: tzinfo) -> None:
    times, messages = parse_times(stamps, zone)
    alone = [datetime.fromisoformat(stamp.removesuffix("Z")).replace(tzinfo=UTC).timestamp() for stamp in stamps]
    assert times.tolist() == alone
    assert not messages


def test_a_day_that_is_not_in_the_calendar_is_named_among_good_ones() -> None:
    times, messages = parse_times(["2026-02-28T00:00:00Z", "2026-02-30T00:00:00Z"])
    assert math.isfinite(times[0])
    assert list(messages) == [1]
