"""Decode responses of the query API to arrays, without an object per label.

Well-formed responses are decoded as a whole. Only when that fails each row is decoded by itself, so that a malformed
row costs a row and not the query.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Raw, Struct

from exporter.completeness import Marks
from exporter.errors import Reason
from exporter.http_client import Fault
from exporter.own_metrics import is_own
from exporter.prometheus.frame import FloatArray
from exporter.prometheus.unread_history import UnreadSeries, unread_samples, unread_series
from exporter.prometheus.unreadable import LeftOut, left_out

__all__ = [
    "ApiResponse",
    "InstantVector",
    "LabelCheck",
    "RangeMatrix",
    "decode_matrix",
    "decode_response",
    "decode_vector",
]


class ApiResponse(Marks, kw_only=True):
    """The outer object of every response of the API."""

    status: str
    data: Raw = Raw(b"null")
    errorType: object = None  # noqa: N815 - the API's name.
    infos: object = None


class InstantVector(Struct):
    """The rows of an instant query that could be decoded; `own` counts those that this exporter wrote."""

    keys: list[bytes]
    values: FloatArray
    timestamps: FloatArray
    left_out: LeftOut
    own: int


class RangeMatrix(Struct):
    """The series of a range query that could be decoded, an array of times and of values each; and what could not."""

    keys: list[bytes]
    times: list[FloatArray]
    values: list[FloatArray]
    unread: list[UnreadSeries] = []


class _Data(Struct):
    resultType: str  # noqa: N815 - the API's name.
    result: Raw


class _Row(Struct, gc=False):
    metric: Raw
    value: Raw


class _Series(Struct, gc=False):
    metric: Raw
    values: Raw
    histograms: Raw = Raw(b"")


class _Vector(Struct):
    resultType: Literal["vector"]  # noqa: N815 - as above.
    result: list[_Row] | None


class _Matrix(Struct):
    resultType: Literal["matrix"]  # noqa: N815 - as above.
    result: list[_Series] | None


_R = TypeVar("_R", _Row, _Series)


_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ENVELOPE = msgspec.json.Decoder(ApiResponse)
_DATA = msgspec.json.Decoder(_Data)
_RAWS = msgspec.json.Decoder(list[Raw] | None)
_ROW = msgspec.json.Decoder(_Row)
_SERIES = msgspec.json.Decoder(_Series)
_VECTOR = msgspec.json.Decoder(_Vector)
_MATRIX = msgspec.json.Decoder(_Matrix)
_PAIR = msgspec.json.Decoder(tuple[float, str])
_NUMBERS = msgspec.json.Decoder(list[float | None])
_LABELS = msgspec.json.Decoder(dict[str, str])

# The numbers that the API sends; float() also takes "1_0", " 1 " and digits of other scripts.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|(?P<special>nan|[+-]?inf)", re.I | re.A)
_BOM = b"\xef\xbb\xbf"
_IN_NUMBERS = b"0123456789+-.eEaN"
_PUNCTUATION = b'[]"'


class LabelCheck:
    """Checks that label sets are objects of strings, and remembers those that are, so that each is parsed once.

    Parameters
    ----------
    limit : int
        Label sets remembered before all but those of the newest response are dropped: a source whose labels keep
        changing must not fill the memory.
    """

    def __init__(self, limit: int = 500_000) -> None:
        self._limit = limit
        self._valid: set[int] = set()
        self._own: set[int] = set()

    def bad(self, keys: Sequence[bytes]) -> list[int]:
        """Return the indexes of `keys` that are not label sets."""
        # Hashes of bytes differ from process to process, so a collision cannot be prepared.
        if self._valid.issuperset(map(hash, keys)):
            return []
        hashes = list(map(hash, keys))
        new = set(hashes) - self._valid
        wrong = []
        for index, digest in enumerate(hashes):
            if digest not in new:
                continue
            labels = _labels(keys[index])
            if labels is None:
                wrong.append(index)
            elif is_own(labels):
                self._own.add(digest)
        if len(self._valid) + len(new) > self._limit:
            self._valid.intersection_update(hashes)
            self._own.intersection_update(hashes)
        self._valid |= new.difference(hashes[index] for index in wrong)
        return wrong

    def own(self, keys: Sequence[bytes]) -> list[int]:
        """Return the indexes of the label sets of what this exporter wrote; call `bad` before."""
        if not self._own:
            return []
        return [index for index, key in enumerate(keys) if hash(key) in self._own]


def decode_response(body: bytes) -> ApiResponse:
    """Decode the outer object of any response; raises `Fault`."""
    try:
        # Some gateways mark the encoding of text.
        return _ENVELOPE.decode(body.removeprefix(_BOM))
    except _BROKEN as error:
        # A server or proxy that stopped in the middle may give all of it the next time.
        if body.lstrip()[:1] == b"{" and "truncated" in str(error):
            raise Fault(Reason.CONNECTION, "the answer ended early: cut JSON") from None
        raise Fault(Reason.MALFORMED, "not an answer of the Prometheus API") from None


def decode_vector(data: Raw, check: LabelCheck) -> InstantVector:
    """Decode ``data`` of an instant query: a vector, or a scalar as one series without labels.

    Raises
    ------
    Fault
        MALFORMED, or BAD_DATA when the expression has another type.
    """
    try:
        # In one pass where all rows are well-formed.
        rows, broken = _VECTOR.decode(data).result or [], list[Raw]()
    except _BROKEN:
        kind, result = _typed(data)
        if kind == "scalar":
            rows, broken = [_Row(Raw(b"{}"), result)], []
        elif kind == "vector":
            rows, broken = _rows(result, _ROW)
        else:
            text = f"the expression is a {kind}; an instant vector or a scalar is needed"
            raise Fault(Reason.BAD_DATA, text) from None
    keys = [bytes(row.metric) for row in rows]
    raws = [row.value for row in rows]
    times, values, wrong = _samples(b"[" + b",".join(raws) + b"]", raws)
    bad = set(check.bad(keys))
    own = set(check.own(keys)) - bad
    unread = LeftOut()
    if wrong or bad or broken:
        unread = left_out(broken, [keys[index] for index in wrong if index not in bad and index not in own], len(bad))
    if dropped := {*wrong, *bad, *own}:
        order = sorted(dropped)
        values, times = np.delete(values, order), np.delete(times, order)
        keys = [key for index, key in enumerate(keys) if index not in dropped]
    return InstantVector(keys, values, times, unread, len(own))


def decode_matrix(data: Raw, check: LabelCheck, *, with_own: bool = False) -> RangeMatrix:
    """Decode ``data`` of a range query; errors as in `decode_vector`.

    Parameters
    ----------
    with_own : bool
        Whether series that this exporter wrote are taken, too.
    """
    try:
        series, broken = _MATRIX.decode(data).result or [], list[Raw]()
    except _BROKEN:
        kind, result = _typed(data)
        if kind != "matrix":
            raise Fault(Reason.BAD_DATA, f"the range query returned a {kind}") from None
        series, broken = _rows(result, _SERIES)
    keys = [bytes(row.metric) for row in series]
    dropped = set(check.bad(keys))
    matrix = RangeMatrix([], [], [], [unread_series(row) for row in broken])
    matrix.unread += [UnreadSeries(None, None, histograms=False)] * len(dropped)
    own = set() if with_own else set(check.own(keys))
    for index, row in enumerate(series):
        if index in dropped or index in own:
            continue
        text, histograms = bytes(row.values), bytes(row.histograms)
        times, values, wrong = _samples(text)
        if wrong or histograms:
            matrix.unread.append(unread_samples(keys[index], text, histograms, wrong))
        matrix.keys.append(keys[index])
        matrix.times.append(np.delete(times, wrong) if wrong else times)
        matrix.values.append(np.delete(values, wrong) if wrong else values)
    return matrix


def _typed(data: Raw) -> tuple[str, Raw]:
    try:
        typed = _DATA.decode(data)
    except _BROKEN:
        raise Fault(Reason.MALFORMED, "an answer without data") from None
    return typed.resultType, typed.result


def _rows(result: Raw, decoder: msgspec.json.Decoder[_R]) -> tuple[list[_R], list[Raw]]:
    """Return the rows that can be decoded, and those that cannot."""
    try:
        raws = _RAWS.decode(result) or []
    except _BROKEN:
        raise Fault(Reason.MALFORMED, "the result is not a list") from None
    rows, broken = [], []
    for raw in raws:
        try:
            rows.append(decoder.decode(raw))
        except _BROKEN:
            broken.append(raw)
    return rows, broken


def _samples(text: bytes, raws: Sequence[Raw] | None = None) -> tuple[FloatArray, FloatArray, list[int]]:
    """Decode ``[[time,"value"],...]``: times, values, and the indexes of malformed pairs.

    Where there are only pairs of a number and a quoted number, the text without its punctuation is a list of numbers.
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
            # A missing time or value would shift the two columns.
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
    """Return the value; NaN for the word NaN and for text that is not a number."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return math.nan
    value = float(text)
    return value if math.isfinite(value) or match["special"] else math.nan


def _labels(key: bytes) -> dict[str, str] | None:
    """Return the labels of a label set; None where it is none, or has a name twice."""
    try:
        labels = _LABELS.decode(key)
    except _BROKEN:
        return None
    # As a server writes it, there is this mark between a name and its value; in a text only at its very end.
    if key.count(b'":"') == len(labels):
        return labels
    pairs = json.loads(key, object_pairs_hook=list)
    return labels if len(pairs) == len(labels) else None
