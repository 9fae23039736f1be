"""Timestamps in text to Unix seconds."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from datetime import UTC, timedelta, tzinfo

import numpy as np
import numpy.typing as npt

from exporter.detect.local_times import WallClock

__all__ = ["is_json_number", "parse_time", "parse_times"]

FloatArray = npt.NDArray[np.float64]

_LONGEST = 64
_PLAIN = re.compile(r"[0-9.]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_ISO_STAMP = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?Z?"
_ISO = re.compile(rf"{_ISO_STAMP}(?:\n{_ISO_STAMP})*", re.ASCII)
_JSON_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_EARLIEST, _LATEST = -2_208_988_800.0, 1e11
"""The year 1900, and 5138: a larger number cannot be meant as seconds."""
_SCALES = {1e11: 1e3, 1e14: 1e6, 1e17: 1e9}
"""Smallest number that is milliseconds, micro- and nanoseconds (each is 1973), to how many of them are a second."""
_LARGEST = 1e20


def parse_times(stamps: Sequence[str], zone: tzinfo = UTC) -> tuple[FloatArray, dict[int, str]]:
    """Read timestamps: Unix seconds, milli-, micro- or nanoseconds, ISO 8601, or dates such as 31.12.2026 14:05.

    Numbers are milliseconds when all of them are beyond the year 5138 if taken as seconds, and so on.

    Parameters
    ----------
    stamps : sequence of str, length n
    zone : tzinfo
        Of those without a zone.

    Returns
    -------
    times : ndarray, shape (n,), Unix seconds
        NaN where it could not be read.
    messages : dict of int to str
        What is wrong, by index.

    >>> parse_times(["2026-03-01T00:00:00Z", "1772323200.5", "soon"])
    (array([1.7723232e+09, 1.7723232e+09,           nan]), {2: "not a timestamp: 'soon'"})
    >>> parse_times(["1772323200000", "1772323260000"])[0]
    array([1.77232320e+09, 1.77232326e+09])
    """
    times, numeric, messages = _numbers(stamps, zone)
    large = numeric & (times >= _LATEST)
    if large.any():
        digits = np.searchsorted(list(_SCALES), times, side="right")
        if len(set(digits[numeric & ~np.isnan(times)].tolist())) == 1:
            scale = list(_SCALES.values())[int(digits[large][0]) - 1]
            times = np.where(numeric, times / scale, times)
        else:
            for index in np.flatnonzero(large).tolist():
                messages[index] = f"{stamps[index]} is too large for seconds, and other rows are no milliseconds"
    strange = ~np.isnan(times) & ~((times >= _EARLIEST) & (times < _LATEST))
    for index in np.flatnonzero(strange).tolist():
        messages.setdefault(index, f"{stamps[index]} is not a time between the years 1900 and 5138")
    return np.where(strange, np.nan, times), messages


def parse_time(stamp: str) -> float | None:
    """Read one timestamp; a number is returned as it is, and of days and months the day comes first."""
    value = _parse(stamp, WallClock(["31/12/2026"]))[0]
    return None if math.isnan(value) else value


def is_json_number(stamp: bytes) -> bool:
    """Return whether a timestamp is valid JSON as it is written."""
    return _JSON_NUMBER.fullmatch(stamp) is not None


def _numbers(stamps: Sequence[str], zone: tzinfo) -> tuple[FloatArray, npt.NDArray[np.bool_], dict[int, str]]:
    """Return the parsed values, which of them were written as numbers, and what is wrong with others."""
    # Only digits and points: float() itself takes more than a timestamp may be.
    if _PLAIN.fullmatch("".join(stamps)) and max(map(len, stamps), default=0) <= _LONGEST:
        try:
            return np.fromiter(map(float, stamps), np.float64, len(stamps)), np.ones(len(stamps), np.bool_), {}
        except ValueError:
            pass
    if zone.utcoffset(None) == timedelta(0) and _ISO.fullmatch(text := "\n".join(stamps)):
        with contextlib.suppress(ValueError):  # Such as the 30th of February.
            instants = np.array(text.replace("Z", "").split("\n"), "datetime64[us]")
            return instants.astype(np.float64) / 1e6, np.zeros(len(stamps), np.bool_), {}
    clock = WallClock(stamps, zone)
    read = [_parse(stamp, clock) for stamp in stamps]
    messages = {
        index: message or f"not a timestamp: {stamps[index][:60]!r}"
        for index, (value, _, message) in enumerate(read)
        if math.isnan(value)
    }
    values = np.array([value for value, _, _ in read], np.float64)
    return values, np.array([number for _, number, _ in read], np.bool_), messages


def _parse(stamp: str, clock: WallClock) -> tuple[float, bool, str]:
    text = stamp.strip()
    if len(stamp) > _LONGEST or not text.isascii():
        return math.nan, False, ""
    if _NUMBER.fullmatch(text):
        value = float(text)
        return min(max(value, -_LARGEST), _LARGEST), True, ""
    value, message = clock.read(text)
    return value, False, message
