"""An answer that has the rows of the one before it: nothing but the samples is parsed.

What is not byte for byte as it was is left to the decoder of all answers, so both say the same of every text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat

import msgspec
import numpy as np

from exporter.prometheus.frame import AnswerEnds, FloatArray

__all__ = ["answer_ends", "repeated_samples"]

_FIELD = r'"\w+":(?:"[^"\\]*"|true|false|null),'
_HEAD = re.compile(rf'\{{(?:{_FIELD})*"data":\{{"resultType":"vector","result":\[\{{"metric":'.encode())
_LONGEST_HEAD = 1024
_BETWEEN = b'"]},{"metric":'
_SAMPLE = re.compile(rb',"value":\[([0-9]+(?:\.[0-9]+)?),"')
_LAST = re.compile(rb'[0-9.]+,"[^"\\]*(?="\]\}\]\})')
_IN_NUMBERS = b"0123456789+-.eEaN,"
_NUMBERS = msgspec.json.Decoder(list[float | None])


def answer_ends(body: bytes, keys: Sequence[bytes]) -> AnswerEnds | None:
    """Return what stands before the first label set of an answer and behind its last sample.

    Parameters
    ----------
    keys : sequence of bytes, length n
        The label sets of all of its rows, as they stand there.

    Returns
    -------
    (bytes, bytes) or None
        None where the answer has no row, or is written in a way that `repeated_samples` does not know.
    """
    head = _HEAD.match(body, 0, _LONGEST_HEAD)
    if head is None or not keys or not body.startswith(keys[0], head.end()):
        return None
    opening = keys[-1] + b',"value":['
    place = body.rfind(opening)
    last = None if place < 0 else _LAST.match(body, place + len(opening))
    return None if last is None else (head[0], body[last.end() :])


def repeated_samples(body: bytes, keys: Sequence[bytes], ends: AnswerEnds) -> tuple[FloatArray, float] | None:
    """Return the values, shape (n,), and their time, Unix seconds, of an answer that differs from another in these.

    Parameters
    ----------
    keys, ends
        The label sets of the other answer, length n, and its `answer_ends`.

    Returns
    -------
    (values, time) or None
        None where it differs in anything else, or a value is not a number of JSON or ``NaN``.
    """
    head, tail = ends
    if not (body.startswith(head) and body.endswith(tail)):
        return None
    pieces = body[len(head) : -len(tail)].split(_BETWEEN, len(keys))
    if len(pieces) != len(keys):
        return None
    sample = _SAMPLE.match(pieces[0].removeprefix(keys[0]))
    if sample is None:
        return None
    # What does not begin as it did keeps its quotes, and is no number.
    texts = map(bytes.removeprefix, map(bytes.removeprefix, pieces, keys), repeat(sample[0]))
    numbers = b",".join(texts)
    if numbers.translate(None, _IN_NUMBERS):
        return None
    try:
        values = np.array(_NUMBERS.decode(b"[%b]" % numbers.replace(b"NaN", b"null")), np.float64)
    except msgspec.DecodeError:
        return None
    return (values, float(sample[1])) if len(values) == len(keys) else None
