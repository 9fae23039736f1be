"""A recorded series, the checks of its samples in every format, and the problems of an input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, tzinfo

import numpy as np
import numpy.typing as npt

from exporter.detect.timestamps import parse_times
from exporter.errors import ExporterError
from exporter.hidden_text import escape_control

__all__ = [
    "NATIVE_HISTOGRAM",
    "InputError",
    "InputProblems",
    "RecordedSeries",
    "SampleList",
    "build_series",
    "format_labels",
    "parse_value",
]

FloatArray = npt.NDArray[np.float64]

NATIVE_HISTOGRAM = "native histograms cannot be scored; ask for a number, such as histogram_quantile(0.99, ...)"

_MISSING = frozenset(
    {"", "-", "--", "n/a", "na", "nan", "nil", "no data", "no value", "none", "null", "(null)", "<null>", "undefined",
     "\\n", "#n/a", "#div/0!", "#value!", "#num!", "#ref!", "#name?", "#null!"}
)  # fmt: skip
"""Also what databases and spreadsheets write for it."""
_MOST_DISORDER = 1 / 3
"""Share of samples that may be out of order: clocks are set back, but an unsorted file is a mistake."""
_HOUR = 3600.0
_TICK = 0.001
"""Seconds, the resolution of Prometheus."""
_UNSORTED = "samples must stand in the order of time; sort them first (a CSV of Unix seconds: sort -t, -k1,1n)"


_FEW = 4
"""Samples from which on their order is seen."""
_MOST_PROBLEMS = 20


class InputError(ExporterError):
    """Recorded samples that cannot be used.

    Parameters
    ----------
    source : str
        The file as the user named it.
    problems : sequence of str
        Each begins with its place where it has one.
    """

    def __init__(self, source: str, problems: list[str]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


class InputProblems:
    """Collects the problems of one input.

    Parameters
    ----------
    source : str
        The file as the user named it.
    zone : tzinfo
        Of timestamps that have none.
    """

    def __init__(self, source: str, zone: tzinfo = UTC) -> None:
        self.source = source
        self.zone = zone
        self._problems: dict[tuple[int, str], None] = {}
        self._advice = ""

    def add(self, place: str, message: str, *, line: int = 0, advice: str = "") -> None:
        """Add a problem, once; problems are sorted by `line`. The last `advice` is given once, at the end."""
        self._advice = advice or self._advice
        self._problems[line, f"{place}: {message}" if place else message] = None

    def check(self) -> None:
        """Raise `InputError` with the problems if there are any."""
        if not self._problems:
            return
        shown = [problem for _, problem in sorted(self._problems, key=lambda problem: problem[0])[:_MOST_PROBLEMS]]
        left = len(self._problems) - len(shown)
        more = [f"and {left} more problems"] if left else []
        raise InputError(self.source, [*shown, *more, *([self._advice] if self._advice else [])])

    def stop(self, message: str) -> InputError:
        """Return the error of an input that cannot be read at all."""
        return InputError(self.source, [message])


@dataclass(frozen=True, slots=True)
class RecordedSeries:
    """The samples of one series, oldest first.

    Attributes
    ----------
    labels : mapping of str to str
        Empty where the format has none; an empty value is no label.
    stamps : ndarray of bytes, shape (t,)
        Timestamps as they were written.
    times : ndarray, shape (t,), Unix seconds
        Rising, but a sample that was written twice is there twice. One that is earlier than its predecessor (a clock
        was set back) gets the time a millisecond after it.
    values : ndarray, shape (t,)
        NaN = missing.
    warning : str
        For the user, one a line; empty where there is nothing to report.
    complete : bool
        Whether the answer that it is from was whole: otherwise a series without a sample is not missing.
    """

    labels: Mapping[str, str]
    stamps: npt.NDArray[np.bytes_]
    times: FloatArray
    values: FloatArray
    warning: str = ""
    complete: bool = True


def build_series(
    labels: Mapping[str, str],
    stamps: Sequence[str],
    values: Sequence[float] | FloatArray,
    place: Callable[[int], str],
    problems: InputProblems,
    *,
    lines: Sequence[int] = (),
) -> RecordedSeries | None:
    """Check the samples of one series; None where `problems` got something.

    Parameters
    ----------
    stamps, values : sequences of length n
    place : callable
        Maps the index of a sample to its place in the input, for messages.
    lines : sequence of int
        The order of problems, where the format has lines.
    """
    times, wrong = parse_times(stamps, problems.zone)
    if len(times) >= _FEW and np.mean(np.diff(times) < 0.0) > 1.0 - _MOST_DISORDER:
        return _from_the_end(labels, stamps, values, place, problems, lines)
    numbers = np.asarray(values, np.float64)
    disorder = _out_of_order(stamps, times, numbers, place)
    messages = {**wrong, **disorder} if len(disorder) > _MOST_DISORDER * len(times) else wrong
    for index in sorted(messages):
        advice = "" if index in wrong else _UNSORTED
        problems.add(place(index), messages[index], line=lines[index] if lines else 0, advice=advice)
    if messages:
        return None
    warning = ""
    if disorder:
        first = min(disorder)
        warning = f"{place(first)}: {disorder[first]}"
        if len(disorder) > 1:
            warning += f"; so it is with {len(disorder)} samples"
        warning += ": scored in the order in which they stand"
        if times[first] - times[first - 1] >= -_HOUR and not stamps[first].strip().replace(".", "").isdigit():
            warning += "; if a clock was set back in autumn, give --timezone"
        times = _in_order(times, first)
    return RecordedSeries(labels, np.array([stamp.strip() for stamp in stamps], np.bytes_), times, numbers, warning)


class SampleList:
    """What is read of one series of a text so far."""

    def __init__(self, labels: Mapping[str, str]) -> None:
        self._labels = labels
        self._stamps: list[str] = []
        self._values: list[float] = []
        self._lines: list[int] = []

    def add(self, line: int, stamp: str, value: float) -> None:
        """Take a sample, as it stands in a line."""
        self._stamps.append(stamp)
        self._values.append(value)
        self._lines.append(line)

    def line(self, index: int) -> int:
        """Return the line of a sample."""
        return self._lines[index]

    def build(self, problems: InputProblems) -> RecordedSeries | None:
        """Check the samples; None where `problems` got something."""

        def place(index: int) -> str:
            return f"line {self._lines[index]}"

        return build_series(self._labels, self._stamps, self._values, place, problems, lines=self._lines)


def _from_the_end(
    labels: Mapping[str, str],
    stamps: Sequence[str],
    values: Sequence[float] | FloatArray,
    place: Callable[[int], str],
    problems: InputProblems,
    lines: Sequence[int],
) -> RecordedSeries | None:
    """Read samples of which the newest comes first, as logs and tables on web pages have them."""
    last = len(stamps) - 1
    series = build_series(
        labels, stamps[::-1], values[::-1], lambda index: place(last - index), problems, lines=lines[::-1]
    )
    note = f"{place(0)}: the newest sample comes first: read from the end"
    return series and replace(series, warning="\n".join(filter(None, (note, series.warning))))


def _in_order(times: FloatArray, first: int) -> FloatArray:
    """Raise the times from `first` on so that each is after its predecessor."""
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


def parse_value(text: str) -> float | None:
    """Read one value; NaN where it is missing, None where it is no number.

    >>> parse_value("1.5"), parse_value(""), parse_value("+Inf"), parse_value("1_000")
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


def format_labels(labels: Mapping[str, str]) -> str:
    """Write a label set as in PromQL, hidden and control characters as its escapes.

    >>> format_labels({"__name__": "up", "job": "node"})
    'up{job="node"}'
    """
    pairs = ", ".join(
        f'{escape_control(name)}="{_escaped(value)}"' for name, value in sorted(labels.items()) if name != "__name__"
    )
    name = escape_control(labels.get("__name__", ""))
    return name if name and not pairs else f"{name}{{{pairs}}}"


def _escaped(value: str) -> str:
    return escape_control(value.replace("\\", "\\\\").replace('"', '\\"'))
