"""Timestamps as they are written to Unix seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

__all__ = ["is_json_number", "read_time", "read_times"]

FloatArray = npt.NDArray[np.float64]

_LONGEST = 64
_PLAIN = re.compile(r"[0-9.]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_JSON_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_EARLIEST, _LATEST = -2_208_988_800.0, 1e11
"""The year 1900, and 5138: a larger number cannot be meant as seconds."""
_LATEST_MS = 1e14


def read_times(stamps: Sequence[str]) -> tuple[FloatArray, dict[int, str]]:
    """Read timestamps: Unix seconds, Unix milliseconds, or ISO 8601 (UTC where no zone is written).

    Numbers are milliseconds when all of them are beyond the year 5138 if taken as seconds.

    Parameters
    ----------
    stamps : sequence of str, length n

    Returns
    -------
    times : ndarray, shape (n,), Unix seconds
        NaN where it could not be read.
    wrong : dict of int to str
        What is wrong, by index.

    >>> read_times(["2026-03-01T00:00:00Z", "1772323200.5", "soon"])
    (array([1.7723232e+09, 1.7723232e+09,           nan]), {2: "not a timestamp: 'soon'"})
    >>> read_times(["1772323200000", "1772323260000"])[0]
    array([1.77232320e+09, 1.77232326e+09])
    """
    times, numeric = _numbers(stamps)
    wrong = {index: f"not a timestamp: {stamps[index][:60]!r}" for index in np.flatnonzero(np.isnan(times)).tolist()}
    large = numeric & (times >= _LATEST)
    if large.any():
        if (large == (numeric & ~np.isnan(times))).all():
            times = np.where(numeric, times / 1000.0, times)
        else:
            for index in np.flatnonzero(large).tolist():
                wrong[index] = f"{stamps[index]} is too large for seconds, and other rows are no milliseconds"
    strange = ~np.isnan(times) & ~((times >= _EARLIEST) & (times < _LATEST))
    for index in np.flatnonzero(strange).tolist():
        wrong.setdefault(index, f"{stamps[index]} is not a time between the years 1900 and 5138")
    return np.where(strange, np.nan, times), wrong


def read_time(stamp: str) -> float | None:
    """Read one timestamp; a number is returned as it is."""
    found = _one(stamp)[0]
    return None if math.isnan(found) else found


def is_json_number(stamp: bytes) -> bool:
    """Return whether a timestamp can stand in JSON as it is written."""
    return _JSON_NUMBER.fullmatch(stamp) is not None


def _numbers(stamps: Sequence[str]) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return what is written, and which of it are numbers."""
    # Only digits and points: float() itself takes more than a timestamp may be.
    if _PLAIN.fullmatch("".join(stamps)) and max(map(len, stamps), default=0) <= _LONGEST:
        try:
            return np.fromiter(map(float, stamps), np.float64, len(stamps)), np.ones(len(stamps), np.bool_)
        except ValueError:
            pass
    read = [_one(stamp) for stamp in stamps]
    return np.array([value for value, _ in read], np.float64), np.array([number for _, number in read], np.bool_)


def _one(stamp: str) -> tuple[float, bool]:
    text = stamp.strip()
    if len(stamp) > _LONGEST or not text.isascii():
        return math.nan, False
    if _NUMBER.fullmatch(text):
        value = float(text)
        return min(max(value, -_LATEST_MS), _LATEST_MS * 1000), True
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return math.nan, False
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), False
    except (OverflowError, ValueError):
        return math.nan, False
