"""Samples as CSV: ``timestamp,value``, with or without a header; further columns are ignored."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from exporter.detect.input_errors import Faults
from exporter.detect.recorded_series import Recorded, read_value, recorded
from exporter.detect.timestamps import read_time

__all__ = ["read_csv"]

_TIME_NAMES = ("timestamp", "time", "ts", "datetime", "date")
_VALUE_NAMES = ("value",)
_FORM = "write timestamp,value; timestamps are Unix seconds, Unix milliseconds or ISO 8601"


def read_csv(text: str, faults: Faults) -> list[Recorded]:
    """Read one series.

    The columns are those named ``timestamp`` (or ``time``, ``ts``, ``datetime``, ``date``) and ``value``, or the first
    two. The separator is a comma, or what the first line has instead: a semicolon or a tab.

    Raises
    ------
    InputError
        With the lines that cannot be read.
    """
    stamps: list[str] = []
    values: list[float] = []
    lines: list[int] = []
    columns = None
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=_separator(text))

    def wrong(message: str) -> None:
        faults.add(f"line {rows.line_num}", message, line=rows.line_num, advice=_FORM)

    try:
        for row in rows:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue
            if columns is None:
                columns, header = _columns(row)
                if header:
                    continue
            if len(row) <= max(columns):
                wrong(f"no value: {','.join(row)[:60]!r}")
                continue
            stamp, number = row[columns[0]], row[columns[1]]
            value = read_value(number)
            if value is None:
                if read_time(stamp) is None:
                    wrong(f"not a timestamp: {stamp[:60]!r}")
                wrong(f"not a number: {number[:60]!r}")
                continue
            stamps.append(stamp)
            values.append(value)
            lines.append(rows.line_num)
    except csv.Error as error:
        wrong(str(error))
    series = recorded({}, stamps, values, lambda index: f"line {lines[index]}", faults, lines=lines)
    faults.check()
    return [series] if series is not None and stamps else []


def _separator(text: str) -> str:
    first = text.lstrip().partition("\n")[0]
    return next((mark for mark in ",;\t" if mark in first), ",")


def _columns(row: Sequence[str]) -> tuple[tuple[int, int], bool]:
    """Return which columns have time and value, and whether the first row is a header."""
    if len(row) < 2 or read_time(row[0]) is not None or read_value(row[1]) is not None:
        # A header has neither; but where it names the columns, others may stand before them.
        named = _named(row)
        return (named, True) if named is not None else ((0, 1), False)
    return _named(row) or (0, 1), True


def _named(row: Sequence[str]) -> tuple[int, int] | None:
    names = [name.strip().lower() for name in row]
    time = next((names.index(name) for name in _TIME_NAMES if name in names), None)
    value = next((names.index(name) for name in _VALUE_NAMES if name in names), None)
    return None if time is None or value is None else (time, value)
