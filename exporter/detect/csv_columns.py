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
from exporter.detect.timestamps import parse_time, parse_times

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
        return " ".join(_cell(cells, index) for index in self._of_time)

    @property
    def _of_time(self) -> list[int]:
        return [index for index in (self.time, self.clock, self.zone) if index is not None]

    def stamps(self, cells: _Cells) -> Sequence[str]:
        """Return the time of every row, as `stamp` does."""
        parts = [cells(index) for index in self._of_time]
        return parts[0] if len(parts) == 1 else list(map(" ".join, zip(*parts, strict=True)))


class _Cells:
    """The cells of a table by column, without blanks around them; empty where a row is too short."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = len(rows)
        self._columns = list(itertools.zip_longest(*(row.cells for row in rows), fillvalue=""))
        self._stripped: dict[int, list[str]] = {}

    def __call__(self, column: int) -> list[str]:
        if column not in self._stripped:
            written = self._columns[column] if column < len(self._columns) else [""] * self.rows
            self._stripped[column] = list(map(str.strip, written))
        return self._stripped[column]


def choose_columns(table: CsvTable) -> CsvColumns:
    """Find the columns by their names, and by what stands in them."""
    names, cells = table.names, _Cells(table.rows)
    width = len(names) or max((len(row.cells) for row in table.rows), default=0)
    time = _time(names, [cells(index)[0] for index in range(width)] if table.rows else [])
    other = [index for index in range(width) if index != time]
    clock = next((index for index in other if _is_clock(cells(time), cells(index))), None)
    zone = next((index for index in other if names and _is_zone(names[index], cells(index))), None)
    other = [index for index in other if index not in (clock, zone)]
    numeric = [index for index in other if _is_numeric(_first_text(cells(index)), table.comma_is_decimal)]
    value = next((index for index in other if names and names[index].strip().lower() in _VALUE_NAMES), None)
    # Without a column of numbers the first one has a problem in each row, with its line.
    values = [value] if value is not None else numeric or other[:1] or [time + 1]
    left_out = {index: _why(names, cells(index), index, value) for index in other if index not in values}
    texts = [index for index in other if names and index not in values and index not in numeric]
    times = CsvColumns(time, clock, zone, values, [], names, left_out).stamps(cells)
    labels = [index for index in texts if _is_label(cells(index))]
    labels = [index for index in labels if not _explained(cells(index), times, index, left_out)]
    notes: list[str] = []
    number = _naming_number(cells, times, labels, numeric, values) if names else None
    if number is not None:
        labels.append(number)
        values = [index for index in values if index != number]
        name = names[number].strip() or str(number + 1)
        notes.append(f"column {name!r} names the series: the times come again for each of its numbers")
    for index in labels:
        left_out.pop(index, None)
    return CsvColumns(time, clock, zone, values, labels, names, left_out, notes)


def _cell(cells: Sequence[str], column: int) -> str:
    return cells[column].strip() if column < len(cells) else ""


def _time(names: Sequence[str], first: Sequence[str]) -> int:
    """Return the column with the times: by its name, or by the first row the first with times that are no numbers."""
    ranks = {index: rank for index, name in enumerate(names) if (rank := time_rank(name)) is not None}
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


def _why(names: Sequence[str], texts: Sequence[str], column: int, value: int | None) -> str:
    """Return why a column that has no labels is left out."""
    if not _first_text(texts):
        return "it is empty"
    if value is None:
        return "it has neither numbers nor names that repeat"
    if names[column].strip() == names[value].strip():
        return "another column has the same name"
    return f"the values are in {names[value].strip()!r}"


def _is_clock(dates: Sequence[str], clocks: Sequence[str]) -> bool:
    """Return whether a column has the hours and minutes of dates in another one."""
    return bool(dates) and all(map(_CLOCK.fullmatch, clocks)) and all(map(_DATE.fullmatch, dates))


def _is_zone(name: str, texts: Sequence[str]) -> bool:
    """Return whether a column has the time zones of the times, and not, say, where a server is."""
    if name.strip().lower() not in _ZONE_NAMES or not texts:
        return False
    return all(text and zone_of(text) is not None for text in set(texts))


def _is_numeric(text: str, comma_is_decimal: bool) -> bool:
    return bool(text) and isinstance(ColumnReader(comma_is_decimal=comma_is_decimal).read(text), float)


def _first_text(texts: Sequence[str]) -> str:
    """Return the first cell of a column that is not a missing value; empty without any."""
    return next((text for text in texts if text and str(parse_value(text)) != "nan"), "")


def _is_label(texts: Sequence[str]) -> bool:
    different = set(texts)
    return bool(different) and "" not in different and len(different) <= max(1.0, _MOST_LABEL_SETS * len(texts))


def _explained(texts: Sequence[str], times: Sequence[str], column: int, left_out: dict[int, str]) -> bool:
    """Return whether a column of texts names no series, and write down why: it has times, or a state that changes.

    A state (``OK``, ``WARN``) or a day of the week would cut one series into pieces. Where each time is there once,
    names of series come in turns and at regular distances; states last, or come now and then.
    """
    different, number, counts = np.unique(np.array(texts), return_inverse=True, return_counts=True)
    if parse_value(texts[0]) is None and all(parse_time(text) is not None for text in different.tolist()):
        left_out[column] = "it has times"
        return True
    if len(different) == 1 or len(set(times)) < len(times):
        return False
    seconds = parse_times(times)[0][np.argsort(number, kind="stable")]
    by_text = np.split(seconds, np.cumsum(counts)[:-1])
    regular = all(len(each) > 2 and np.median(np.diff(each)) * _IRREGULAR >= np.mean(np.diff(each)) for each in by_text)
    spans = sorted((np.min(each), np.max(each)) for each in by_text)
    if regular and any(after[0] < before[1] for before, after in itertools.pairwise(spans)):
        return False
    left_out[column] = "no time comes twice: its texts are states of one series, not names of several"
    return True


def _naming_number(
    cells: _Cells, times: Sequence[str], labels: Sequence[int], numeric: Sequence[int], values: Sequence[int]
) -> int | None:
    """Return the column of whole numbers that tells rows of one time from each other, where texts do not."""
    if len(times) < 4 or len(times) < _REPEATED * len(set(times)):
        return None
    keys = list(zip(times, *(cells(index) for index in labels), strict=True))
    if len(keys) < _REPEATED * len(set(keys)):
        return None
    for column in numeric:
        texts = cells(column)
        if set(values) == {column} or not all(map(_WHOLE.fullmatch, texts)):
            continue
        if len(set(texts)) <= _MOST_LABEL_SETS * len(keys) and len(set(zip(keys, texts, strict=True))) == len(keys):
            return column
    return None
