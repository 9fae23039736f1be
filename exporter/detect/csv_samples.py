"""CSV of recorded samples: a column of timestamps, and a series for each column of numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from exporter.detect.local_times import zone_of
from exporter.detect.quantities import ColumnReader
from exporter.detect.recorded_series import InputProblems, RecordedSeries, build_series, parse_value
from exporter.detect.text_samples import labels_of
from exporter.detect.timestamps import parse_time

__all__ = ["read_csv"]

_TIME_NAMES = ("timestamp", "time", "ts", "datetime", "date")
_VALUE_NAME = "value"
_ZONE_NAMES = frozenset({"timezone", "time zone", "time_zone", "tz", "zone"})
_FORM = "write timestamp,value; timestamps are Unix seconds, Unix milliseconds or ISO 8601"
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_MOST_LABEL_SETS = 0.5
"""Share of rows: a column in which more texts are different is a comment, not a label."""


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Columns:
    """Indexes of the columns, and their names (empty without a header)."""

    time: int
    values: Sequence[int]
    labels: Sequence[int]
    names: Sequence[str]
    zone: int | None
    left_out: Sequence[int]

    def name(self, column: int) -> str:
        return (self.names[column].strip() if column < len(self.names) else "") or str(column + 1)

    def value_labels(self, column: int) -> dict[str, str]:
        name = self.name(column)
        # Grafana and promtool write label sets as names of columns.
        labels = labels_of(re.sub(r"\s+\{", "{", name, count=1)) if name.endswith("}") else None
        if labels is None:
            labels = {} if len(self.values) == 1 else {"column": name}
        return labels


def read_csv(text: str, problems: InputProblems) -> list[RecordedSeries]:
    """Read every series.

    The time is in the column named ``timestamp`` (or ``time``, ``ts``, ``datetime``, ``date``), or in the first. The
    values are in the column ``value``, or in every column of numbers: then each is a series with the label ``column``.
    Columns of text that repeats are labels. The separator is what a first line ``sep=`` says, or a comma, or what the
    first line has instead: a semicolon or a tab. Numbers may have units, those of a column of one kind. What is left
    out is in the warning of the first series.

    Raises
    ------
    InputError
        With the lines that cannot be read.
    """
    rows, comma_is_decimal = _rows(text, problems)
    if not rows:
        problems.check()
        return []
    header = _is_header(rows[0].cells)
    names = rows[0].cells if header else ()
    rows = rows[1:] if header else rows
    columns = _columns(names, rows, comma_is_decimal=comma_is_decimal)
    readers = {column: ColumnReader(comma_is_decimal=comma_is_decimal) for column in columns.values}
    called = [columns.names[index].strip() for index in columns.values if columns.names]
    for name in sorted({name for name in called if name and called.count(name) > 1}):
        raise problems.stop(f"two columns are called {name!r}; give each its own name")
    samples: dict[tuple[tuple[str, str], ...], tuple[list[str], list[float], list[int]]] = {}
    for row in rows:
        _read_row(row, columns, readers, samples, problems)
    series = []
    for labels, (stamps, values, lines) in samples.items():
        place = [f"line {line}" for line in lines]
        series.append(build_series(dict(labels), stamps, values, place.__getitem__, problems, lines=lines))
        restart = _restart(series[-1])
        if restart is not None:
            message = "the times begin again: give each series a column, a column with its name, or a file"
            problems.add(place[restart], message, line=lines[restart])
    problems.check()
    whole = [each for each in series if each is not None]
    notes = [f"column {columns.name(column)!r}: {each.note}" for column, each in readers.items() if each.note]
    notes += [
        f"column {columns.name(column)!r} is left out: {_why(columns, rows, column)}" for column in columns.left_out
    ]
    if notes and whole:
        whole[0] = replace(whole[0], warning="\n".join([*filter(None, [whole[0].warning]), *notes]))
    return whole


def _why(columns: _Columns, rows: Sequence[_Row], column: int) -> str:
    """Return why a column is neither a series nor a label."""
    if not _first_text(rows, column):
        return "it is empty"
    if _VALUE_NAME in (name.strip().lower() for name in columns.names):
        return f"the values are in {_VALUE_NAME!r}"
    return "it has neither numbers nor names that repeat"


def _rows(text: str, problems: InputProblems) -> tuple[list[_Row], bool]:
    """Return the rows that are not empty, and whether numbers are written with a decimal comma."""
    lines = text.split("\n")
    skipped = 0
    separator = ""
    while skipped < len(lines):
        line = lines[skipped].strip()
        named = _SEPARATOR_LINE.fullmatch(lines[skipped].strip("\r "))
        separator = named[1] if named else separator
        if line and named is None and not line.startswith("#"):
            break
        skipped += 1
    body = "\n".join(lines[skipped:])
    separator = separator or next((mark for mark in ",;\t" if mark in body.partition("\n")[0]), ",")
    rows: list[_Row] = []
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=separator)
    try:
        rows.extend(_Row(skipped + reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells))
    except csv.Error as error:
        number = skipped + reader.line_num
        problems.add(f"line {number}", str(error), line=number, advice=_FORM)
    return rows, separator == ";"


def _is_header(row: Sequence[str]) -> bool:
    # A header has neither a time nor a number; but where it names the columns, others may stand before them.
    if _named_time(row) is not None:
        return True
    return len(row) >= 2 and parse_time(row[0]) is None and parse_value(row[1]) is None


def _named_time(row: Sequence[str]) -> int | None:
    names = [name.strip().lower() for name in row]
    return next((names.index(name) for name in _TIME_NAMES if name in names), None)


def _columns(names: Sequence[str], rows: Sequence[_Row], *, comma_is_decimal: bool) -> _Columns:
    time = _named_time(names) or 0
    width = len(names) or max((len(row.cells) for row in rows), default=0)
    other = [index for index in range(width) if index != time]
    zone = next((index for index in other if names and _is_zone(names[index], rows, index)), None)
    other = [index for index in other if index != zone]
    numeric = [index for index in other if _is_numeric(_first_text(rows, index), comma_is_decimal=comma_is_decimal)]
    lowered = [name.strip().lower() for name in names]
    # Without a column of numbers the first one has a problem in each row, with its line.
    values = [lowered.index(_VALUE_NAME)] if _VALUE_NAME in lowered else numeric or other[:1] or [time + 1]
    texts = [index for index in other if names and index not in values and index not in numeric]
    labels = [index for index in texts if _is_label(rows, index)]
    left_out = [index for index in other if index not in values and index not in labels]
    return _Columns(time, values, labels, names, zone, left_out)


def _is_zone(name: str, rows: Sequence[_Row], column: int) -> bool:
    """Return whether a column has the time zones of the times, and not, say, where a server is."""
    if name.strip().lower() not in _ZONE_NAMES:
        return False
    texts = {row.cells[column].strip() if len(row.cells) > column else "" for row in rows}
    return bool(texts) and all(text and zone_of(text) is not None for text in texts)


def _is_numeric(text: str, *, comma_is_decimal: bool) -> bool:
    return bool(text) and isinstance(ColumnReader(comma_is_decimal=comma_is_decimal).read(text), float)


def _first_text(rows: Sequence[_Row], column: int) -> str:
    """Return the first cell of a column that is not a missing value; empty without any."""
    cells = (row.cells[column].strip() for row in rows if len(row.cells) > column)
    return next((cell for cell in cells if cell and str(parse_value(cell)) != "nan"), "")


def _is_label(rows: Sequence[_Row], column: int) -> bool:
    texts = {row.cells[column].strip() if len(row.cells) > column else "" for row in rows}
    return "" not in texts and len(texts) <= max(1.0, _MOST_LABEL_SETS * len(rows))


def _read_row(
    row: _Row,
    columns: _Columns,
    readers: dict[int, ColumnReader],
    samples: dict[tuple[tuple[str, str], ...], tuple[list[str], list[float], list[int]]],
    problems: InputProblems,
) -> None:
    def report(message: str) -> None:
        problems.add(f"line {row.line}", message, line=row.line, advice=_FORM)

    cells = row.cells
    if columns.names and list(cells) == list(columns.names):
        report("the header again: give each series a column, a column with its name, or a file")
        return
    if columns.names and any(cell.strip() for cell in cells[len(columns.names) :]):
        report(f"{len(cells)} cells under {len(columns.names)} names of columns: {','.join(cells)[:60]!r}")
        return
    if len(cells) <= max(columns.time, min(columns.values)):
        report(f"no value: {','.join(cells)[:60]!r}")
        return
    stamp = (
        cells[columns.time] if columns.zone is None else f"{cells[columns.time].strip()} {cells[columns.zone].strip()}"
    )
    labels = {columns.names[index].strip(): cells[index].strip() for index in columns.labels}
    bad = False
    for column in columns.values:
        number = cells[column] if column < len(cells) else ""
        value = readers[column].read(number)
        if isinstance(value, str):
            if not bad and parse_time(stamp) is None:
                report(f"not a timestamp: {stamp[:60]!r}")
            bad = True
            report(value)
            continue
        key = tuple((labels | columns.value_labels(column)).items())
        stamps, values, lines = samples.setdefault(key, ([], [], []))
        stamps.append(stamp)
        values.append(value)
        lines.append(row.line)


def _restart(series: RecordedSeries | None) -> int | None:
    """Return the index of the sample at which the written times go back to the first of all."""
    if series is None or not series.warning:
        return None
    first = parse_time(series.stamps[0].decode())
    for index in range(1, len(series.stamps)):
        time, before = (parse_time(series.stamps[at].decode()) for at in (index, index - 1))
        if None not in (time, before, first) and time <= first and time < before:  # type: ignore[operator]
            return index
    return None
