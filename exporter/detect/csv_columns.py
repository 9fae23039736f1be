"""Which columns of a CSV file are times, values and labels."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from exporter.detect.csv_rows import CsvTable, Row, time_rank
from exporter.detect.local_times import zone_of
from exporter.detect.quantities import ColumnReader
from exporter.detect.recorded_series import parse_value
from exporter.detect.text_samples import labels_of
from exporter.detect.timestamps import parse_time

__all__ = ["CsvColumns", "choose_columns"]

_VALUE_NAMES = ("value", "_value")
_ZONE_NAMES = frozenset({"timezone", "time zone", "time_zone", "tz", "zone"})
_DATE = re.compile(r"\d{1,4}([./-])\d{1,2}\1\d{1,4}")
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?")
_WHOLE = re.compile(r"\d{1,18}")
_MOST_LABEL_SETS = 0.5
"""Share of rows: a column in which more texts are different is a comment, not a label."""
_A_TIME = 1e8
"""Seconds: 1973."""
_REPEATED = 1.5
"""Rows for each time from which on a number may be the name of a series, such as that of a shop."""
_IRREGULAR = 2.0
"""Mean over median distance of the rows of one text from which on it is a state that comes and goes."""


@dataclass(frozen=True, slots=True)
class CsvColumns:
    """Indexes of the columns, and their names (empty without a header).

    Attributes
    ----------
    clock, zone : int or None
        CsvColumns that belong to the time: its hours and minutes beside a date, its time zone.
    left_out : mapping of int to str
        Why a column is neither a series nor a label.
    notes : list of str
        What was seen in the columns.
    """

    time: int
    clock: int | None
    zone: int | None
    values: Sequence[int]
    labels: Sequence[int]
    names: Sequence[str]
    left_out: dict[int, str]
    notes: list[str] = field(default_factory=list)

    def name(self, column: int) -> str:
        """Return the name of a column, its number from 1 on where it has none."""
        return (self.names[column].strip() if column < len(self.names) else "") or str(column + 1)

    def value_labels(self, column: int) -> dict[str, str]:
        """Return the labels of a column of numbers."""
        name = self.name(column)
        # Grafana and promtool write label sets as names of columns.
        labels = labels_of(re.sub(r"\s+\{", "{", name, count=1)) if name.endswith("}") else None
        if labels is None:
            labels = {} if len(self.values) == 1 else {"column": name}
        return labels

    def stamp(self, cells: Sequence[str]) -> str:
        """Return the time of a row as it is written, of more than one cell with blanks between."""
        if self.clock is None and self.zone is None:
            return cells[self.time]
        parts = [index for index in (self.time, self.clock, self.zone) if index is not None]
        return " ".join(_cell(cells, index) for index in parts)


def choose_columns(table: CsvTable) -> CsvColumns:
    """Find the columns by their names, and by what stands in them."""
    names, rows = table.names, table.rows
    width = len(names) or max((len(row.cells) for row in rows), default=0)
    time = _time(names, rows, width)
    other = [index for index in range(width) if index != time]
    clock = next((index for index in other if _is_clock(rows, time, index)), None)
    zone = next((index for index in other if names and _is_zone(names[index], rows, index)), None)
    other = [index for index in other if index not in (clock, zone)]
    numeric = [index for index in other if _is_numeric(_first_text(rows, index), table.comma_is_decimal)]
    value = next((index for index in other if names and names[index].strip().lower() in _VALUE_NAMES), None)
    # Without a column of numbers the first one has a problem in each row, with its line.
    values = [value] if value is not None else numeric or other[:1] or [time + 1]
    left_out = {index: _why(names, rows, index, value) for index in other if index not in values}
    texts = [index for index in other if names and index not in values and index not in numeric]
    chosen = CsvColumns(time, clock, zone, values, [], names, left_out)
    times = [chosen.stamp(row.cells) if len(row.cells) > time else "" for row in rows]
    labels = [index for index in texts if _is_label(rows, index)]
    labels = [index for index in labels if not _explained(rows, times, index, left_out)]
    notes: list[str] = []
    number = _naming_number(rows, times, labels, numeric, values) if names else None
    if number is not None:
        labels.append(number)
        values = [index for index in values if index != number]
        notes.append(f"column {chosen.name(number)!r} names the series: the times come again for each of its numbers")
    for index in labels:
        left_out.pop(index, None)
    return CsvColumns(time, clock, zone, values, labels, names, left_out, notes)


def _cell(cells: Sequence[str], column: int) -> str:
    return cells[column].strip() if column < len(cells) else ""


def _time(names: Sequence[str], rows: Sequence[Row], width: int) -> int:
    """Return the column with the times: by its name, or the first one with times that are no mere numbers."""
    ranks = {index: rank for index, name in enumerate(names) if (rank := time_rank(name)) is not None}
    first = [_cell(rows[0].cells, index) for index in range(width)] if rows else []
    if ranks:
        named = sorted(ranks, key=ranks.__getitem__)
        # Of "Date" and "Time" one may have only the hours.
        return next((index for index in named if first and parse_time(first[index]) is not None), named[0])
    written = [index for index, cell in enumerate(first) if not _is_float(cell) and parse_time(cell) is not None]
    # A number is a time if it is large; rows are counted from 0 or 1 in front of them.
    large = bool(first) and _is_float(first[0]) and float(first[0]) >= _A_TIME
    return 0 if not written or 0 in written or large else written[0]


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _why(names: Sequence[str], rows: Sequence[Row], column: int, value: int | None) -> str:
    """Return why a column that has no labels is left out."""
    if not _first_text(rows, column):
        return "it is empty"
    if value is None:
        return "it has neither numbers nor names that repeat"
    if names[column].strip() == names[value].strip():
        return "another column has the same name"
    return f"the values are in {names[value].strip()!r}"


def _is_clock(rows: Sequence[Row], time: int, column: int) -> bool:
    """Return whether a column has the hours and minutes of dates in another one."""
    cells = [(_cell(row.cells, time), _cell(row.cells, column)) for row in rows]
    return bool(cells) and all(_DATE.fullmatch(date) and _CLOCK.fullmatch(clock) for date, clock in cells)


def _is_zone(name: str, rows: Sequence[Row], column: int) -> bool:
    """Return whether a column has the time zones of the times, and not, say, where a server is."""
    if name.strip().lower() not in _ZONE_NAMES:
        return False
    texts = {_cell(row.cells, column) for row in rows}
    return bool(texts) and all(text and zone_of(text) is not None for text in texts)


def _is_numeric(text: str, comma_is_decimal: bool) -> bool:
    return bool(text) and isinstance(ColumnReader(comma_is_decimal=comma_is_decimal).read(text), float)


def _first_text(rows: Sequence[Row], column: int) -> str:
    """Return the first cell of a column that is not a missing value; empty without any."""
    cells = (_cell(row.cells, column) for row in rows)
    return next((cell for cell in cells if cell and str(parse_value(cell)) != "nan"), "")


def _is_label(rows: Sequence[Row], column: int) -> bool:
    texts = {_cell(row.cells, column) for row in rows}
    return bool(texts) and "" not in texts and len(texts) <= max(1.0, _MOST_LABEL_SETS * len(rows))


def _explained(rows: Sequence[Row], times: Sequence[str], column: int, left_out: dict[int, str]) -> bool:
    """Return whether a column of texts names no series, and write down why: it has times, or a state that changes.

    A state (``OK``, ``WARN``) or a day of the week would cut one series into pieces. Where each time is there once,
    names of series come in turns and at regular distances; states last, or come now and then.
    """
    texts = [_cell(row.cells, column) for row in rows]
    if parse_value(texts[0]) is None and all(parse_time(text) is not None for text in set(texts)):
        left_out[column] = "it has times"
        return True
    if len(set(texts)) == 1 or len(set(times)) < len(times):
        return False
    seconds = np.array([number if (number := parse_time(time)) is not None else np.nan for time in times])
    names = np.array(texts)
    by_text = [seconds[names == text] for text in set(texts)]
    regular = all(len(each) > 2 and np.median(np.diff(each)) * _IRREGULAR >= np.mean(np.diff(each)) for each in by_text)
    spans = sorted((np.min(each), np.max(each)) for each in by_text)
    if regular and any(after[0] < before[1] for before, after in itertools.pairwise(spans)):
        return False
    left_out[column] = "no time comes twice: its texts are states of one series, not names of several"
    return True


def _naming_number(
    rows: Sequence[Row], times: Sequence[str], labels: Sequence[int], numeric: Sequence[int], values: Sequence[int]
) -> int | None:
    """Return the column of whole numbers that tells rows of one time from each other, where texts do not."""
    if len(rows) < _REPEATED * len(set(times)):
        return None
    keys = [(time, *(_cell(row.cells, index) for index in labels)) for row, time in zip(rows, times, strict=True)]
    if len(rows) < _REPEATED * len(set(keys)) or len(rows) < 4:
        return None
    for column in numeric:
        texts = [_cell(row.cells, column) for row in rows]
        if set(values) == {column} or not all(map(_WHOLE.fullmatch, texts)):
            continue
        if len(set(texts)) <= _MOST_LABEL_SETS * len(rows) and len(set(zip(keys, texts, strict=True))) == len(rows):
            return column
    return None
