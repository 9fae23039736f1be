"""CSV of recorded samples: a column of timestamps, and a series for each column of numbers."""

from __future__ import annotations

from dataclasses import replace

from exporter.detect.csv_columns import CsvColumns, choose_columns
from exporter.detect.csv_rows import FORM, Row, read_table
from exporter.detect.quantities import ColumnReader
from exporter.detect.recorded_series import InputProblems, RecordedSeries, build_series
from exporter.detect.timestamps import parse_time

__all__ = ["read_csv"]

_Samples = dict[tuple[tuple[str, str], ...], tuple[list[str], list[float], list[int]]]


def read_csv(text: str, problems: InputProblems) -> list[RecordedSeries]:
    """Read every series.

    The time is in the column named ``timestamp`` (or ``time``, ``ts``, ``datetime``, ``date``), or in the first; a
    column of clock times beside one of dates belongs to it. The values are in the column ``value``, or in every column
    of numbers: then each is a series with the label ``column``. Columns of text that repeats are labels, so is one of
    whole numbers where the times come again for each of them. The separator is what a first line ``sep=`` says, or a
    comma, or what the first line has instead: a semicolon or a tab. Numbers may have units, those of a column of one
    kind. What is left out is in the warning of the first series.

    Raises
    ------
    InputError
        With the lines that cannot be read.
    """
    table = read_table(text, problems)
    if not table.rows and not table.names:
        problems.check()
        return []
    columns = choose_columns(table)
    readers = {column: ColumnReader(comma_is_decimal=table.comma_is_decimal) for column in columns.values}
    called = [columns.names[index].strip() for index in columns.values if columns.names]
    for name in sorted({name for name in called if name and called.count(name) > 1}):
        raise problems.stop(f"two columns are called {name!r}; give each its own name")
    samples: _Samples = {}
    for row in table.rows:
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
    notes = [*table.notes, *columns.notes]
    notes += [f"column {columns.name(column)!r}: {each.note}" for column, each in readers.items() if each.note]
    notes += [f"column {columns.name(column)!r} is left out: {why}" for column, why in columns.left_out.items()]
    if notes and whole:
        whole[0] = replace(whole[0], warning="\n".join([*filter(None, [whole[0].warning]), *notes]))
    return whole


def _read_row(
    row: Row, columns: CsvColumns, readers: dict[int, ColumnReader], samples: _Samples, problems: InputProblems
) -> None:
    def report(message: str) -> None:
        problems.add(f"line {row.line}", message, line=row.line, advice=FORM)

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
    stamp = columns.stamp(cells)
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
