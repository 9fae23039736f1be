"""An answer with more rows than there is memory for: only the rows of series that are learned are decoded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

__all__ = ["count_rows", "thinned"]

# In a string a quote has a backslash before it, so these are never inside of a label value.
_FIRST = re.compile(rb'"result"\s*:\s*\[\s*\{\s*"metric"\s*:\s*')
_NEXT = re.compile(rb'\]\s*\}\s*,\s*\{\s*"metric"\s*:\s*')
_ROW = b'"metric"'


def count_rows(body: bytes) -> int:
    """Return about how many rows an answer has, without decoding any."""
    return body.count(_ROW)


def thinned(body: bytes, is_learned: Callable[[bytes], bool]) -> tuple[bytes, int]:
    """Return the answer with the rows of some series only, and how many rows these are.

    Parameters
    ----------
    is_learned : callable
        From a label set as a JSON object.
    """
    first = _FIRST.search(body)
    if first is None:
        return body, 0
    rows, start = [], first.end()
    for boundary in _NEXT.finditer(body, start):
        row = b'{"metric":%b]}' % body[start : boundary.start()]
        if _belongs(row, is_learned):
            rows.append(row)
        start = boundary.end()
    rest = b'{"metric":' + body[start:]
    try:
        # As characters of a byte each, so that the end is an index of bytes.
        end = json.JSONDecoder().raw_decode(rest.decode("latin-1"))[1]
    except (ValueError, RecursionError):
        return body, 0
    if _belongs(rest[:end], is_learned):
        rows.append(rest[:end])
    opening = body.rfind(b"{", 0, first.end())
    return b"%b%b%b" % (body[:opening], b",".join(rows), rest[end:]), len(rows)


def _belongs(row: bytes, is_learned: Callable[[bytes], bool]) -> bool:
    """Return whether a row is of a series that is learned."""
    labels, sample, _ = row.rpartition(b'"value"')
    if not sample:
        labels, sample, _ = row.rpartition(b'"histogram"')
    return bool(sample) and is_learned(labels.partition(b":")[2].strip(b", \t\r\n"))
