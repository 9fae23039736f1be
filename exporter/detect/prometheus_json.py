"""Samples as JSON: an answer of the query API, or parts of one as `promtool` and `jq` print them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from exporter.detect.input_errors import Faults
from exporter.detect.recorded_series import NATIVE_HISTOGRAM, Recorded, name_of, read_value, recorded

__all__ = ["read_answer"]


_ABSENT = Raw()


class _Object(Struct):
    """Any object that may come: the envelope, its ``data``, or one series."""

    status: str | None = None
    errorType: str | None = None  # noqa: N815 - the API's name.
    error: str | None = None
    data: Raw = _ABSENT
    resultType: str | None = None  # noqa: N815 - the API's name.
    result: Raw = _ABSENT
    metric: dict[str, str] | None = None
    values: Raw = _ABSENT
    value: Raw = _ABSENT
    histograms: Raw = _ABSENT
    histogram: Raw = _ABSENT


_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_OBJECT = msgspec.json.Decoder(_Object)
_RAWS = msgspec.json.Decoder(list[Raw])
_PAIRS = msgspec.json.Decoder(list[tuple[Raw, str]])
_PAIR = msgspec.json.Decoder(tuple[Raw, str | float | None])
_WANTED = "needed is an answer of the query API, its list of series, or one list of [timestamp, value]"


def read_answer(text: str, faults: Faults) -> list[Recorded]:
    """Read every series of an answer.

    Raises
    ------
    InputError
        With the samples that cannot be read; or with what the server said, where it is an error.
    """
    whole = text.strip().encode()
    try:
        msgspec.json.decode(whole, type=Raw)
    except _BROKEN as error:
        raise faults.stop(f"broken JSON, perhaps cut off: {error}") from None
    series: list[Recorded] = []
    seen: dict[tuple[tuple[str, str], ...], str] = {}
    for number, (labels, pairs) in enumerate(_series(whole, faults), 1):
        place = f"series {number} {name_of(labels)}" if labels else f"series {number}"
        first = seen.setdefault(tuple(sorted(labels.items())), place)
        if first != place:
            faults.add(place, "the same labels as series " + first.split()[1])
        one = _read(labels, pairs, place, faults)
        if one is not None and len(one.times):
            series.append(one)
    faults.check()
    return series


def _series(whole: bytes, faults: Faults) -> list[tuple[Mapping[str, str], bytes]]:
    """Find the series: their labels, and their pairs as JSON."""
    if whole.startswith(b"{"):
        return _of_object(_object(whole, faults, ""), faults)
    if not whole.startswith(b"["):
        raise faults.stop(f"JSON, but {whole[:30].decode(errors='replace')!r}; {_WANTED}")
    rows = _RAWS.decode(whole)
    if not rows:
        return []
    if bytes(rows[0]).startswith(b"{"):
        found = [_object(bytes(row), faults, f"series {number}") for number, row in enumerate(rows, 1)]
        return [pairs for number, one in enumerate(found, 1) for pairs in _of_series(one, faults, f"series {number}")]
    # A list of samples, or one sample alone: the result of a scalar.
    return [({}, whole if bytes(rows[0]).startswith(b"[") else b"[" + whole + b"]")]


def _of_object(found: _Object, faults: Faults) -> list[tuple[Mapping[str, str], bytes]]:
    if found.status is not None and found.status != "success":
        kind = f"{found.errorType}: " if found.errorType else ""
        raise faults.stop(f"the server answered with an error: {kind}{found.error or found.status}")
    if found.data:
        return _of_object(_object(bytes(found.data), faults, "data"), faults)
    if found.resultType == "string":
        raise faults.stop("the expression is a string; it has no samples")
    if found.result:
        return _series(bytes(found.result).strip(), faults)
    return _of_series(found, faults, "series 1")


def _of_series(found: _Object, faults: Faults, place: str) -> list[tuple[Mapping[str, str], bytes]]:
    labels = {name: value for name, value in (found.metric or {}).items() if value}
    if found.values:
        return [(labels, bytes(found.values))]
    if found.value:
        return [(labels, b"[" + bytes(found.value) + b"]")]
    if found.histograms or found.histogram:
        faults.add(place, NATIVE_HISTOGRAM)
        return []
    raise faults.stop(f"{place}: neither values nor value; {_WANTED}" if found.metric is not None else _WANTED)


def _object(text: bytes, faults: Faults, place: str) -> _Object:
    try:
        return _OBJECT.decode(text)
    except _BROKEN as error:
        raise faults.stop(f"{place + ': ' if place else ''}{error}; {_WANTED}") from None


def _read(labels: Mapping[str, str], pairs: bytes, place: str, faults: Faults) -> Recorded | None:
    numbers: list[str | float | None]
    wrong: dict[int, str] = {}
    try:
        decoded = _PAIRS.decode(pairs)
        stamps = [bytes(stamp).decode() for stamp, _ in decoded]
        numbers = [number for _, number in decoded]
    except _BROKEN:
        stamps, numbers = _one_by_one(pairs, wrong)
    values = [float(n) if isinstance(n, float) else read_value("" if n is None else n) for n in numbers]
    for index, value in enumerate(values):
        if value is None:
            wrong.setdefault(index, f"not a number: {str(numbers[index])[:60]!r}")
    for index, message in sorted(wrong.items()):
        faults.add(f"{place}, sample {index + 1}", message)
    if wrong:
        return None
    good = [value for value in values if value is not None]
    return recorded(labels, [s.strip('"') for s in stamps], good, lambda index: f"{place}, sample {index + 1}", faults)


def _one_by_one(pairs: bytes, wrong: dict[int, str]) -> tuple[list[str], list[str | float | None]]:
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
