"""Bytes of the query API to arrays, without an object per label.

Well-formed answers, which is all of them on a good day, are decoded as a whole. Only when that fails each
row is looked at by itself, so that one odd row costs a row and not the query.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Raw, Struct

from exporter.errors import Reason
from exporter.prometheus.frame import FloatArray

__all__ = ["Envelope", "LabelCheck", "Matrix", "Unusable", "Vector", "read_envelope", "read_matrix", "read_vector"]


class Unusable(Exception):  # noqa: N818 - becomes a PrometheusError where the URL is known.
    """An answer without a result in it, and why."""

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason = reason
        self.message = message
        super().__init__(message)


class Envelope(Struct):
    """The outer object of every answer of the API."""

    status: str
    data: Raw = Raw(b"null")
    errorType: str | None = None  # noqa: N815 - the API's name.
    error: str | None = None
    warnings: list[str] | None = None
    infos: list[str] | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """Warnings and infos."""
        return (*(self.warnings or ()), *(self.infos or ()))


class Vector(Struct):
    """The rows of an instant query that could be read."""

    keys: list[bytes]
    values: FloatArray
    timestamps: FloatArray
    rejected: int


class Matrix(Struct):
    """The series of a range query that could be read: one array of times and of values each."""

    keys: list[bytes]
    times: list[FloatArray]
    values: list[FloatArray]
    rejected: int


class _Data(Struct):
    resultType: str  # noqa: N815 - the API's name.
    result: Raw


class _Row(Struct, gc=False):
    metric: Raw
    value: Raw


class _Series(Struct, gc=False):
    metric: Raw
    values: Raw


class _Vector(Struct):
    resultType: Literal["vector"]  # noqa: N815 - as above.
    result: list[_Row] | None


class _Matrix(Struct):
    resultType: Literal["matrix"]  # noqa: N815 - as above.
    result: list[_Series] | None


_R = TypeVar("_R", _Row, _Series)


_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ENVELOPE = msgspec.json.Decoder(Envelope)
_DATA = msgspec.json.Decoder(_Data)
_RAWS = msgspec.json.Decoder(list[Raw] | None)
_ROW = msgspec.json.Decoder(_Row)
_SERIES = msgspec.json.Decoder(_Series)
_VECTOR = msgspec.json.Decoder(_Vector)
_MATRIX = msgspec.json.Decoder(_Matrix)
_PAIR = msgspec.json.Decoder(tuple[float, str])
_NUMBERS = msgspec.json.Decoder(list[float | None])
_LABELS = msgspec.json.Decoder(dict[str, str])

# What strconv.ParseFloat takes and the API sends; float() would take "1_0", " 1 " and other digits too.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|(?P<special>nan|[+-]?inf)", re.I | re.A)
_IN_NUMBERS = b"0123456789+-.eEaN"
_PUNCTUATION = b'[]"'


class LabelCheck:
    """Remembers which label sets were found to be objects of strings, so that each is parsed once.

    Parameters
    ----------
    limit : int
        Forgets all but those of the newest answer when it knows this many: a source that changes its labels all the
        time must not fill the memory.
    """

    def __init__(self, limit: int = 500_000) -> None:
        self._limit = limit
        self._known: set[int] = set()

    def bad(self, keys: Sequence[bytes]) -> list[int]:
        """Return the indexes of `keys` that are no label sets."""
        hashes = list(map(hash, keys))
        # Hashes of bytes differ from process to process, so nobody can prepare one that is known already.
        new = set(hashes) - self._known
        if not new:
            return []
        wrong = []
        for index, digest in enumerate(hashes):
            if digest in new and not _are_labels(keys[index]):
                wrong.append(index)
        if len(self._known) + len(new) > self._limit:
            self._known.intersection_update(hashes)
        self._known |= new.difference(hashes[index] for index in wrong)
        return wrong


def read_envelope(body: bytes) -> Envelope:
    """Read the outer object of any answer; raise `Unusable` if it is not one."""
    try:
        return _ENVELOPE.decode(body)
    except _BROKEN:
        raise Unusable(Reason.MALFORMED, "not an answer of the Prometheus API: broken or cut JSON") from None


def read_vector(data: Raw, check: LabelCheck) -> Vector:
    """Read ``data`` of an instant query: a vector, or a scalar as one series without labels.

    Raises
    ------
    Unusable
        MALFORMED, or BAD_DATA when the expression has another type.
    """
    try:
        # In one pass, where all is as it should be.
        rows, rejected = _VECTOR.decode(data).result or [], 0
    except _BROKEN:
        kind, result = _typed(data)
        if kind == "scalar":
            rows, rejected = [_Row(Raw(b"{}"), result)], 0
        elif kind == "vector":
            rows, rejected = _rows(result, _ROW)
        else:
            text = f"the expression is a {kind}; an instant vector or a scalar is needed"
            raise Unusable(Reason.BAD_DATA, text) from None
    keys = [bytes(row.metric) for row in rows]
    times, values, wrong = _samples(b"[" + b",".join([row.value for row in rows]) + b"]", [row.value for row in rows])
    wrong = sorted({*wrong, *check.bad(keys)})
    if wrong:
        values, times = np.delete(values, wrong), np.delete(times, wrong)
        dropped = set(wrong)
        keys = [key for index, key in enumerate(keys) if index not in dropped]
    return Vector(keys, values, times, rejected + len(wrong))


def read_matrix(data: Raw, check: LabelCheck) -> Matrix:
    """Read ``data`` of a range query; errors as in `read_vector`."""
    try:
        series, rejected = _MATRIX.decode(data).result or [], 0
    except _BROKEN:
        kind, result = _typed(data)
        if kind != "matrix":
            raise Unusable(Reason.BAD_DATA, f"the range query returned a {kind}") from None
        series, rejected = _rows(result, _SERIES)
    keys = [bytes(one.metric) for one in series]
    dropped = set(check.bad(keys))
    found = Matrix([], [], [], rejected + len(dropped))
    for index, one in enumerate(series):
        if index in dropped:
            continue
        times, values, wrong = _samples(bytes(one.values))
        found.keys.append(keys[index])
        found.times.append(np.delete(times, wrong) if wrong else times)
        found.values.append(np.delete(values, wrong) if wrong else values)
        found.rejected += len(wrong)
    return found


def _typed(data: Raw) -> tuple[str, Raw]:
    try:
        typed = _DATA.decode(data)
    except _BROKEN:
        raise Unusable(Reason.MALFORMED, "an answer without data") from None
    return typed.resultType, typed.result


def _rows(result: Raw, one: msgspec.json.Decoder[_R]) -> tuple[list[_R], int]:
    """Return the rows that can be read, and how many could not be."""
    try:
        raws = _RAWS.decode(result) or []
    except _BROKEN:
        raise Unusable(Reason.MALFORMED, "the result is not a list") from None
    rows = []
    for raw in raws:
        try:
            rows.append(one.decode(raw))
        except _BROKEN:
            continue
    return rows, len(raws) - len(rows)


def _samples(text: bytes, raws: Sequence[Raw] | None = None) -> tuple[FloatArray, FloatArray, list[int]]:
    """Read ``[[time,"value"],...]``: times, values, and the indexes of pairs that are none.

    With nothing in it but pairs of a number and a quoted number, the punctuation says nothing any more, and
    what is left is one list of numbers.
    """
    bare = text.translate(None, _IN_NUMBERS)
    count = (len(bare) - 1) // 6
    if bare == b"[" + b'[,""],' * (count - 1) + b'[,""]' * (count > 0) + b"]":
        numbers = text.replace(b'"NaN"', b"null").translate(None, _PUNCTUATION)
        try:
            flat = np.array(_NUMBERS.decode(b"[" + numbers + b"]"), np.float64)
        except _BROKEN:
            pass
        else:
            # A missing time or value would have let the two columns slip.
            if len(flat) == 2 * count and not np.isnan(flat[0::2]).any():
                return flat[0::2], flat[1::2], []
    if raws is None:
        try:
            raws = _RAWS.decode(text) or []
        except _BROKEN:
            return np.empty(1), np.empty(1), [0]
    times, values, wrong = np.zeros(len(raws)), np.zeros(len(raws)), []
    for index, raw in enumerate(raws):
        try:
            times[index], number = _PAIR.decode(raw)
        except _BROKEN:
            wrong.append(index)
            continue
        values[index] = _number(number)
        if math.isnan(values[index]) and number.lower() != "nan":
            wrong.append(index)
    return times, values, wrong


def _number(text: str) -> float:
    """Return the value, NaN for the word and for what is no number."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        return math.nan
    value = float(text)
    return value if math.isfinite(value) or found["special"] else math.nan


def _are_labels(key: bytes) -> bool:
    try:
        _LABELS.decode(key)
    except _BROKEN:
        return False
    return True
