"""Timestamps as people and programs write them."""

from __future__ import annotations

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
    ],
)
def test_a_timestamp_is_read(stamp: str) -> None:
    times, wrong = parse_times([stamp])
    assert (times.tolist(), wrong) == ([AT], {})


@pytest.mark.parametrize(
    "stamp", ["", "soon", "nan", "inf", "1_000", "0x10", "٣", "2026-13-01", "1e400", "1" * 65, "-1e12"]
)
def test_what_is_no_timestamp_is_told(stamp: str) -> None:
    times, wrong = parse_times(["1772323200", stamp])
    assert list(wrong) == [1]
    assert np.isnan(times[1])


def test_milliseconds_must_be_all_of_the_numbers() -> None:
    _, wrong = parse_times(["1772323200", "1772323260000"])
    assert wrong == {1: "1772323260000 is too large for seconds, and other rows are no milliseconds"}


def test_microseconds_are_no_time() -> None:
    assert parse_times(["1772323200000000"])[1] == {0: "1772323200000000 is not a time between the years 1900 and 5138"}


def test_small_numbers_are_seconds_of_1970() -> None:
    assert parse_times(["0", "60", "120"])[0].tolist() == [0.0, 60.0, 120.0]


@pytest.mark.parametrize(
    ("stamp", "yes"), [(b"17.500", True), (b"-1", True), (b"+1", False), (b"1.", False), (b"01", False)]
)
def test_a_timestamp_stays_a_number_in_json_where_it_is_one(stamp: bytes, yes: bool) -> None:
    assert is_json_number(stamp) is yes
