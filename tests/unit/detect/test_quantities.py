"""Numbers with units, as dashboards write them."""

from __future__ import annotations

import math

import pytest

from exporter.detect.quantities import ColumnReader


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12.3 ms", 0.0123),
        ("12.3ms", 0.0123),
        ("1.2 GiB", 1.2 * 1024**3),
        ("3 MB/s", 3e6),
        ("45 %", 45.0),
        ("45%", 45.0),
        ("1.5 K req/s", 1500.0),
        ("12 req/s", 12.0),
        ("2.5 Mil", 2.5e6),
        ("1.5 hours", 5400.0),
        ("900 \u00b5s", 9e-4),
        ("100 Mbps", 1e8),
        ("21 \u00b0C", 21.0),
        ("$12.50", 12.5),
        ("12.50 €", 12.5),
        ("12.50€", 12.5),
        ("-3.5 s", -3.5),
        ("1,234.5", 1234.5),
        ("12,345,678", 12345678.0),
        ("7 widgets", 7.0),
    ],
)
def test_a_quantity_is_read(text: str, value: float) -> None:
    assert ColumnReader(comma_is_decimal=False).read(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"), [("1.234,5 ms", 1.2345), ("0,5", 0.5), ("1.234.567,8", 1234567.8), ("2.5", 2.5)]
)
def test_decimal_commas_are_read(text: str, value: float) -> None:
    assert ColumnReader(comma_is_decimal=True).read(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["5xx", "web-1", "10.0.0.1:9100", "12:30", "1,23", "1.2.3", "v2", "3rd"])
def test_names_are_no_quantities(text: str) -> None:
    assert ColumnReader(comma_is_decimal=False).read(text) == f"not a number: {text!r}"


def test_a_column_has_units_of_one_kind() -> None:
    column = ColumnReader(comma_is_decimal=False)
    assert [column.read(text) for text in ("900 ms", "2 s", "0", "+Inf")] == [0.9, 2.0, 0.0, math.inf]
    assert math.isnan(float(column.read("NA")))
    assert column.read("3 MiB") == "'3 MiB' has another unit than '900 ms' above it"
    assert column.read("3") == "'3' has another unit than '900 ms' above it"
    assert column.note == "values in ms are read as s"
