"""CSV of recorded samples: a column of timestamps, and a series for each column of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from exporter.detect.csv_columns import CsvColumns, choose_columns
from exporter.detect.csv_rows import FORM, CsvTable, Row, read_table
from exporter.detect.quantities import ColumnReader
from exporter.detect.recorded_series import InputProblems, RecordedSeries, SampleList
from exporter.detect.timestamps import parse_time

__all__ = ["read_csv"]


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
    reader = _RowReader(table, columns, problems)
    called = [columns.names[index].strip() for index in columns.values if columns.names]
    for name in sorted({name for name in called if name and called.count(name) > 1}):
        raise problems.stop(f"two columns are called {name!r}; give each its own name")
    for row in table.rows:
        reader.read(row)
    series = []
    for samples in reader.samples.values():
        series.append(samples.build(problems))
        restart = _restart(series[-1])
        if restart is not None:
            message = "the times begin again: give each series a column, a column with its name, or a file"
            line = samples.line(restart)
            problems.add(f"line {line}", message, line=line)
    problems.check()
    whole = [each for each in series if each is not None]
    notes = [*table.notes, *columns.notes]
    notes += [f"column {columns.name(column)!r}: {each.note}" for column, each in reader.readers.items() if each.note]
    notes += [f"column {columns.name(column)!r} is left out: {why}" for column, why in columns.left_out.items()]
    if notes and whole:
        whole[0] = replace(whole[0], warning="\n".join([*filter(None, [whole[0].warning]), *notes]))
    return whole


class _RowReader:
    """Adds the samples of one row after the other to their series."""

    def __init__(self, table: CsvTable, columns: CsvColumns, problems: InputProblems) -> None:
        self._columns, self._problems = columns, problems
        self._names = list(columns.names)
        self._shortest = max(columns.time, min(columns.values)) + 1
        self.readers = {column: ColumnReader(comma_is_decimal=table.comma_is_decimal) for column in columns.values}
        self._series: dict[tuple[int, ...] | tuple[int | str, ...], SampleList] = {}
        self.samples: dict[tuple[tuple[str, str], ...], SampleList] = {}

    def read(self, row: Row) -> None:
        cells, columns = row.cells, self._columns
        if self._names and cells == self._names:
            self._report(row, "the header again: give each series a column, a column with its name, or a file")
            return
        if self._names and len(cells) > len(self._names) and any(map(str.strip, cells[len(self._names) :])):
            message = f"{len(cells)} cells under {len(self._names)} names of columns: {','.join(cells)[:60]!r}"
            self._report(row, message)
            return
        if len(cells) < self._shortest:
            self._report(row, f"no value: {','.join(cells)[:60]!r}")
            return
        stamp = columns.stamp(cells)
        texts = [cells[index].strip() for index in columns.labels]
        bad = False
        for column, reader in self.readers.items():
            value = reader.read(cells[column] if column < len(cells) else "")
            if isinstance(value, str):
                if not bad and parse_time(stamp) is None:
                    self._report(row, f"not a timestamp: {stamp[:60]!r}")
                bad = True
                self._report(row, value)
                continue
            samples = self._series.get((column, *texts)) or self._begin(column, texts)
            samples.add(row.line, stamp, value)

    def _begin(self, column: int, texts: Sequence[str]) -> SampleList:
        names = (self._columns.names[index].strip() for index in self._columns.labels)
        labels = dict(zip(names, texts, strict=True)) | self._columns.value_labels(column)
        samples = self.samples.setdefault(tuple(labels.items()), SampleList(labels))
        self._series[(column, *texts)] = samples
        return samples

    def _report(self, row: Row, message: str) -> None:
        self._problems.add(f"line {row.line}", message, line=row.line, advice=FORM)


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
