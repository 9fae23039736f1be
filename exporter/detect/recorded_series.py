"""One recorded series, and the checks that hold for every format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.detect.input_errors import Faults
from exporter.detect.timestamps import read_times

__all__ = ["NATIVE_HISTOGRAM", "Recorded", "name_of", "read_value", "recorded"]

FloatArray = npt.NDArray[np.float64]

NATIVE_HISTOGRAM = "native histograms cannot be scored; ask for a number, such as histogram_quantile(0.99, ...)"

_MISSING = frozenset({"", "nan", "null"})
_MOST_DISORDER = 1 / 3
"""Share of samples that may stand out of order: clocks are set back, but a file that is not sorted is a mistake."""
_TICK = 0.001
"""Seconds, the resolution of Prometheus."""
_UNSORTED = "samples must stand in the order of time; sort them first (a CSV of Unix seconds: sort -t, -k1,1n)"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The samples of one series, oldest first.

    Attributes
    ----------
    labels : mapping of str to str
        Empty where the format has none; an empty value is no label.
    stamps : ndarray of bytes, shape (t,)
        Timestamps as they were written.
    times : ndarray, shape (t,), Unix seconds
        Rising; a sample that was written twice stands twice. One that does not come after the one before it
        (a clock was set back) is taken to come a millisecond after.
    values : ndarray, shape (t,)
        NaN = missing.
    warning : str
        What is odd about them, for the user; empty where nothing is.
    """

    labels: Mapping[str, str]
    stamps: npt.NDArray[np.bytes_]
    times: FloatArray
    values: FloatArray
    warning: str = ""


def recorded(
    labels: Mapping[str, str],
    stamps: Sequence[str],
    values: Sequence[float] | FloatArray,
    place: Callable[[int], str],
    faults: Faults,
    *,
    lines: Sequence[int] = (),
) -> Recorded | None:
    """Check the samples of one series; None where `faults` got something.

    Parameters
    ----------
    stamps, values : sequences of length n
    place : callable
        Says where a sample stands, by its index, for messages.
    lines : sequence of int
        The order of problems, where the format has lines.
    """
    times, wrong = read_times(stamps)
    numbers = np.asarray(values, np.float64)
    disorder = _out_of_order(stamps, times, numbers, place)
    messages = {**wrong, **disorder} if len(disorder) > _MOST_DISORDER * len(times) else wrong
    for index in sorted(messages):
        advice = "" if index in wrong else _UNSORTED
        faults.add(place(index), messages[index], line=lines[index] if lines else 0, advice=advice)
    if messages:
        return None
    warning = ""
    if disorder:
        first = min(disorder)
        warning = f"{place(first)}: {disorder[first]}"
        if len(disorder) > 1:
            warning += f"; so it is with {len(disorder)} samples"
        warning += ": scored in the order in which they stand"
        times = _in_order(times, first)
    return Recorded(labels, np.array([stamp.strip() for stamp in stamps], np.bytes_), times, numbers, warning)


def _in_order(times: FloatArray, first: int) -> FloatArray:
    """Let every sample from `first` on come after the one before it."""
    rising = times.copy()
    for index in range(first, len(times)):
        rising[index] = max(times[index], rising[index - 1] + _TICK)
    return rising


def _out_of_order(
    stamps: Sequence[str], times: FloatArray, values: FloatArray, place: Callable[[int], str]
) -> dict[int, str]:
    good = np.flatnonzero(~np.isnan(times))
    steps = np.diff(times[good])
    messages = {}
    for before, index in zip(good[:-1][steps < 0].tolist(), good[1:][steps < 0].tolist(), strict=True):
        messages[index] = f"{stamps[index]} is earlier than {stamps[before]} ({place(before)})"
    for before, index in zip(good[:-1][steps == 0].tolist(), good[1:][steps == 0].tolist(), strict=True):
        if not np.array_equal(values[before], values[index], equal_nan=True):
            messages[index] = f"{stamps[index]} has another value than before ({place(before)})"
    return messages


def read_value(text: str) -> float | None:
    """Read one value; NaN where it is missing, None where it is no number.

    >>> read_value("1.5"), read_value(""), read_value("+Inf"), read_value("1_000")
    (1.5, nan, inf, None)
    """
    try:
        value = float(text)
    except ValueError:
        return math.nan if text.strip().lower() in _MISSING else None
    # float() takes underscores and the digits of every script, and lets large numbers become infinite.
    if "_" in text or not text.isascii() or (math.isinf(value) and "n" not in text.lower()):
        return None
    return value


def name_of(labels: Mapping[str, str]) -> str:
    """Write a label set as PromQL does.

    >>> name_of({"__name__": "up", "job": "node"})
    'up{job="node"}'
    """
    pairs = ", ".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()) if name != "__name__")
    name = labels.get("__name__", "")
    return name if name and not pairs else f"{name}{{{pairs}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
