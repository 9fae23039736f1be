"""Text of a CSV file to its header and rows, as programs and people write such files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.detect.recorded_series import InputProblems, parse_value
from exporter.detect.timestamps import parse_time

__all__ = ["FORM", "Row", "CsvTable", "read_table", "time_rank"]

FORM = "write timestamp,value; timestamps are Unix seconds, Unix milliseconds or ISO 8601"

_TIME_NAMES = ("timestamp", "time", "ts", "datetime", "zeitstempel", "zeit", "date", "datum")
_SUMMARIES = frozenset(
    {"total", "totals", "grand total", "sum", "average", "avg", "mean", "median", "min", "max", "minimum", "maximum",
     "count", "last", "current", "summe", "gesamt", "mittelwert"}
)  # fmt: skip
_SEPARATORS = ",;\t|"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_MOST_TITLES = 20
"""Lines above a table in which nothing separates cells."""


class Row(NamedTuple):
    """The cells of a row, and the line that it ends in."""

    line: int
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The rows of a file.

    Attributes
    ----------
    names : sequence of str
        Of the columns, as they are written; empty without a header.
    rows : sequence of Row
    comma_is_decimal : bool
        Whether ``1,5`` is one and a half.
    notes : sequence of str
        Which lines are left out, and why.
    """

    names: Sequence[str]
    rows: Sequence[Row]
    comma_is_decimal: bool
    notes: Sequence[str]


def time_rank(name: str) -> int | None:
    """Return how surely a header names times, 0 the most; None where it does not.

    InfluxDB writes ``_time``, Kibana ``@timestamp per 5 minutes``.

    >>> time_rank("Time"), time_rank("@timestamp per 5 minutes"), time_rank("uptime")
    (1, 0, None)
    """
    plain = name.strip().lower().lstrip("_@").partition(" per ")[0]
    return _TIME_NAMES.index(plain) if plain in _TIME_NAMES else None


def read_table(text: str, problems: InputProblems) -> CsvTable:
    """Split text into rows that are not empty; titles above the header and summaries at the end are left out."""
    notes: list[str] = []
    skipped, separator = _beginning(text.split("\n"), notes)
    body = "\n".join(text.split("\n")[skipped:])
    separator = separator or next((mark for mark in _SEPARATORS if mark in body.partition("\n")[0]), ",")
    rows: list[Row] = []
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator)
    try:
        rows.extend(Row(skipped + reader.line_num, cells) for cells in reader if any(map(str.strip, cells)))
    except csv.Error as error:
        number = skipped + reader.line_num
        problems.add(f"line {number}", str(error), line=number, advice=FORM)
    names: Sequence[str] = ()
    if rows and _is_header(rows[0].cells):
        names, rows = rows[0].cells, rows[1:]
        rows = _without_descriptions(names, rows, notes)
    return CsvTable(names, _without_summaries(rows, notes), separator == ";", notes)


def _beginning(lines: Sequence[str], notes: list[str]) -> tuple[int, str]:
    """Return how many lines stand above the table, and the separator that one of them names."""
    skipped = 0
    separator = ""
    titles: list[int] = []
    for line in lines:
        named = _SEPARATOR_LINE.fullmatch(line.strip("\r "))
        separator = named[1] if named else separator
        if line.strip() and named is None and not line.startswith("#"):
            if any(mark in line for mark in separator or _SEPARATORS) or len(titles) == _MOST_TITLES:
                break
            titles.append(skipped)
        skipped += 1
    if not titles:
        return skipped, separator
    if skipped == len(lines) or len(titles) == _MOST_TITLES or any("<" in lines[number] for number in titles):
        return titles[0], separator
    notes.append(_left_out(titles[0] + 1, titles[-1] + 1, lines[titles[0]].strip(), "above the table"))
    return skipped, separator


def _names_times(names: Sequence[str]) -> bool:
    return any(time_rank(name) is not None for name in names)


def _is_header(row: Sequence[str]) -> bool:
    # A header has neither a time nor a number; but where it names the columns, others may stand before them.
    if _names_times(row):
        return True
    return len(row) >= 2 and parse_time(row[0]) is None and parse_value(row[1]) is None


def _without_descriptions(names: Sequence[str], rows: Sequence[Row], notes: list[str]) -> list[Row]:
    """Return the rows from the first time on: CloudWatch describes each column in rows of words below the header."""
    if _names_times(names):
        return list(rows)
    first = next((at for at, row in enumerate(rows) if parse_time(row.cells[0]) is not None), 0)
    if first == 0 or any(any(map(str.isdigit, row.cells[0])) for row in rows[:first]):
        return list(rows)
    notes.append(_left_out(rows[0].line, rows[first - 1].line, ",".join(rows[0].cells), "without a time"))
    return list(rows[first:])


def _without_summaries(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    end = len(rows)
    while end > 1 and rows[end - 1].cells[0].strip().rstrip(":").lower() in _SUMMARIES:
        end -= 1
    if end < len(rows):
        notes.append(_left_out(rows[end].line, rows[-1].line, ",".join(rows[end].cells), "a summary of the others"))
    return list(rows[:end])


def _left_out(first: int, last: int, text: str, why: str) -> str:
    lines = f"line {first} is" if first == last else f"lines {first} to {last} are"
    return f"{lines} left out, {why}: {text[:60]!r}"
