"""Samples as JSON: an answer of the query API, or parts of one as `promtool` and `jq` print them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
from msgspec import Raw

from exporter.completeness import Marks, incomplete, text_of
from exporter.detect.csv_samples import read_csv
from exporter.detect.recorded_series import (
    NATIVE_HISTOGRAM,
    InputProblems,
    RecordedSeries,
    build_series,
    format_labels,
    parse_value,
)

__all__ = ["read_json"]


_ABSENT = Raw()


class _Object(Marks, kw_only=True):
    """Any object of an answer: the envelope, its ``data``, or a series."""

    status: str | None = None
    errorType: object = None  # noqa: N815 - the API's name.
    data: Raw = _ABSENT
    resultType: str | None = None  # noqa: N815 - the API's name.
    result: Raw = _ABSENT
    metric: dict[str, str] | None = None
    values: Raw = _ABSENT
    timestamps: Raw = _ABSENT
    value: Raw = _ABSENT
    histograms: Raw = _ABSENT
    histogram: Raw = _ABSENT


_BYTE = re.compile(r" \(byte (\d+)\)")
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_OBJECT = msgspec.json.Decoder(_Object)
_RAWS = msgspec.json.Decoder(list[Raw])
_RECORDS = msgspec.json.Decoder(list[dict[str, str | int | float | bool | None]])
_PAIRS = msgspec.json.Decoder(list[tuple[Raw, str]])
_PAIR = msgspec.json.Decoder(tuple[Raw, str | float | None])
_EXPECTED = "needed is an answer of the query API, its list of series, or one list of [timestamp, value]"


def read_json(text: str, problems: InputProblems) -> list[RecordedSeries]:
    """Read every series of an answer.

    Raises
    ------
    InputError
        With the samples that cannot be read, or with the error of the server.
    """
    whole = _json_value(text.encode(), problems)
    if table := _table(whole):
        return read_csv(table, problems)
    series: list[RecordedSeries] = []
    seen: dict[tuple[tuple[str, str], ...], str] = {}
    for number, (labels, pairs) in enumerate(_series(whole, problems), 1):
        place = f"series {number} {format_labels(labels)}" if labels else f"series {number}"
        first = seen.setdefault(tuple(sorted(labels.items())), place)
        if first != place:
            problems.add(place, "the same labels as series " + first.split()[1])
        samples = _read(labels, pairs, place, problems)
        if samples is not None and len(samples.times):
            series.append(samples)
    problems.check()
    notes = _OBJECT.decode(whole).notes() if whole.startswith(b"{") else ()
    return _with_notes(series, notes) if notes and series else series


def _json_value(text: bytes, problems: InputProblems) -> bytes:
    """Return JSON; of an object on each line, as VictoriaMetrics exports series, the list of them."""
    try:
        msgspec.json.decode(text, type=Raw)
    except _BROKEN as error:
        try:
            lines = msgspec.json.Decoder(Raw).decode_lines(text)
        except _BROKEN:
            raise problems.stop(_where(text, str(error))) from None
        return b"[" + b",".join(map(bytes, lines)) + b"]"
    return text.strip()


def _where(text: bytes, error: str) -> str:
    """Return an error message for broken JSON, with line and column where the decoder names the byte."""
    byte = _BYTE.search(error)
    if byte is None:
        return f"broken JSON, perhaps cut off: {error}"
    before = text[: int(byte[1])]
    line = before.count(b"\n") + 1
    column = len(before) - before.rfind(b"\n")
    return f"broken JSON in line {line}, column {column}: {_BYTE.sub('', error)}"


def _table(whole: bytes) -> str:
    """Return a list of flat objects, such as rows of a database, as CSV; empty where it is none."""
    try:
        rows = _RECORDS.decode(whole)
    except _BROKEN:
        return ""
    if not all(rows):
        return ""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue() if rows else ""


def _with_notes(series: Sequence[RecordedSeries], notes: tuple[str, ...]) -> list[RecordedSeries]:
    """Note in the series that the server warned; what a partial answer lacks is unknown, not missing."""
    partial = incomplete(notes)
    text = f"the server warned: {notes[0]}" + ("; a series that is not there may not be missing" if partial else "")
    first = replace(series[0], warning="; ".join(filter(None, (text, series[0].warning))))
    return [replace(each, complete=not partial) for each in (first, *series[1:])]


def _series(whole: bytes, problems: InputProblems) -> list[tuple[Mapping[str, str], bytes]]:
    """Return the series: their labels, and their pairs as JSON."""
    if whole.startswith(b"{"):
        return _of_object(_object(whole, problems, ""), problems)
    if not whole.startswith(b"["):
        raise problems.stop(f"JSON, but {whole[:30].decode(errors='replace')!r}; {_EXPECTED}")
    rows = _RAWS.decode(whole)
    if not rows:
        return []
    if bytes(rows[0]).startswith(b"{"):
        objects = [_object(bytes(row), problems, f"series {number}") for number, row in enumerate(rows, 1)]
        return [
            pairs for number, each in enumerate(objects, 1) for pairs in _of_series(each, problems, f"series {number}")
        ]
    # A list of samples, or a single sample: the result of a scalar.
    return [({}, whole if bytes(rows[0]).startswith(b"[") else b"[" + whole + b"]")]


def _of_object(answer: _Object, problems: InputProblems) -> list[tuple[Mapping[str, str], bytes]]:
    if answer.status is not None and answer.status != "success":
        kind = f"{text_of(answer.errorType)}: " if answer.errorType else ""
        raise problems.stop(f"the server answered with an error: {kind}{text_of(answer.error) or answer.status}")
    if answer.data:
        return _of_object(_object(bytes(answer.data), problems, "data"), problems)
    if answer.resultType == "string":
        raise problems.stop("the expression is a string; it has no samples")
    if answer.result:
        return _series(bytes(answer.result).strip(), problems)
    return _of_series(answer, problems, "series 1")


def _of_series(answer: _Object, problems: InputProblems, place: str) -> list[tuple[Mapping[str, str], bytes]]:
    labels = {name: value for name, value in (answer.metric or {}).items() if value}
    if answer.values and answer.timestamps:
        return [(labels, _joined(bytes(answer.timestamps), bytes(answer.values), problems, place))]
    if answer.values:
        return [(labels, bytes(answer.values))]
    if answer.value:
        return [(labels, b"[" + bytes(answer.value) + b"]")]
    if answer.histograms or answer.histogram:
        problems.add(place, NATIVE_HISTOGRAM)
        return []
    raise problems.stop(f"{place}: neither values nor value; {_EXPECTED}" if answer.metric is not None else _EXPECTED)


def _joined(stamps: bytes, values: bytes, problems: InputProblems, place: str) -> bytes:
    """Return the pairs of two lists, as the export API of VictoriaMetrics writes samples."""
    try:
        first, second = _RAWS.decode(stamps), _RAWS.decode(values)
    except _BROKEN as error:
        raise problems.stop(f"{place}: {error}") from None
    if len(first) != len(second):
        raise problems.stop(f"{place}: {len(first)} timestamps and {len(second)} values")
    pairs = (b"[" + bytes(stamp) + b"," + bytes(value) + b"]" for stamp, value in zip(first, second, strict=True))
    return b"[" + b",".join(pairs) + b"]"


def _object(text: bytes, problems: InputProblems, place: str) -> _Object:
    try:
        return _OBJECT.decode(text)
    except _BROKEN as error:
        raise problems.stop(f"{place + ': ' if place else ''}{error}; {_EXPECTED}") from None


def _read(labels: Mapping[str, str], pairs: bytes, place: str, problems: InputProblems) -> RecordedSeries | None:
    numbers: list[str | float | None]
    wrong: dict[int, str] = {}
    try:
        decoded = _PAIRS.decode(pairs)
        stamps = [bytes(stamp).decode() for stamp, _ in decoded]
        numbers = [number for _, number in decoded]
    except _BROKEN:
        stamps, numbers = _pair_by_pair(pairs, wrong)
    values = [float(n) if isinstance(n, float) else parse_value("" if n is None else n) for n in numbers]
    for index, value in enumerate(values):
        if value is None:
            wrong.setdefault(index, f"not a number: {str(numbers[index])[:60]!r}")
    for index, message in sorted(wrong.items()):
        problems.add(f"{place}, sample {index + 1}", message)
    if wrong:
        return None
    good = [value for value in values if value is not None]
    return build_series(
        labels, [s.strip('"') for s in stamps], good, lambda index: f"{place}, sample {index + 1}", problems
    )


def _pair_by_pair(pairs: bytes, wrong: dict[int, str]) -> tuple[list[str], list[str | float | None]]:
    try:
        rows = _RAWS.decode(pairs)
    except _BROKEN:
        wrong[0] = f"not a list of samples: {pairs[:60].decode(errors='replace')!r}"
        return [], []
    stamps: list[str] = []
    numbers: list[str | float | None] = []
    for index, row in enumerate(rows):
        try:
            stamp, number = _PAIR.decode(row)
        except _BROKEN:
            wrong[index] = f"not a pair of timestamp and value: {bytes(row)[:60].decode(errors='replace')!r}"
            stamp, number = Raw(b""), None
        stamps.append(bytes(stamp).decode())
        numbers.append(number)
    return stamps, numbers
