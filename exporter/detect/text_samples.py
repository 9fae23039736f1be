r"""What `promtool query` prints, as recorded samples.

A range is ``name{job="a"} =>`` with a line ``value @[timestamp]`` for each sample; an instant is one line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from exporter.detect.recorded_series import NATIVE_HISTOGRAM, InputProblems, RecordedSeries, SampleList, parse_value

__all__ = ["first_fault", "labels_of", "looks_like_promtool", "read_promtool"]

_SAMPLE = r"(?P<value>\S+) @\[(?P<stamp>[^\]]+)\]"
_ROW = re.compile(_SAMPLE)
_INSTANT = re.compile(rf"(?:(?P<head>.*) =>|scalar:) {_SAMPLE}")
_HISTOGRAM = re.compile(r"(?:.* => )?\{count:.*\} @\[[^\]]+\]")
_HEAD = re.compile(r'(?P<name>[^{}"]*)(?:\{(?P<pairs>.*)\})?')
_TEXT = r'"(?:[^"\\]|\\.)*"'
_PAIR = re.compile(rf"\s*(?:(?P<name>[a-zA-Z_][a-zA-Z0-9_]*|{_TEXT})\s*=\s*)?(?P<value>{_TEXT})\s*(?:,|$)")
_ESCAPE = re.compile(r"\\(?:x(?P<x>[0-9a-f]{2})|u(?P<u>[0-9a-f]{4})|U(?P<U>[0-9a-f]{8})|(?P<plain>.))")
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ARROW = " =>"


def looks_like_promtool(line: str) -> bool:
    """Return whether the first line of a text is one that promtool prints."""
    line = line.rstrip()
    return line.endswith(_ARROW) or _INSTANT.fullmatch(line) is not None


def read_promtool(text: str, problems: InputProblems) -> list[RecordedSeries]:
    """Read every series.

    Raises
    ------
    InputError
        With the lines that cannot be read.
    """
    by_labels: dict[tuple[tuple[str, str], ...], SampleList] = {}
    headed: dict[tuple[tuple[str, str], ...], int] = {}
    current: SampleList | None = None
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r ")
        row = _ROW.fullmatch(line)
        if row is None and line:
            row = _INSTANT.fullmatch(line)
            labels = _labels_of_line(line, row)
            if labels is None:
                histogram = _HISTOGRAM.fullmatch(line)
                message = NATIVE_HISTOGRAM if histogram else f"neither a series nor a sample of one: {line[:60]!r}"
                problems.add(f"line {number}", message, line=number)
                continue
            key = tuple(sorted(labels.items()))
            if key in by_labels:
                problems.add(f"line {number}", f"the same series as in line {headed[key]}", line=number)
            headed.setdefault(key, number)
            current = by_labels.setdefault(key, SampleList(labels))
        if row is not None and current is None:
            problems.add(f"line {number}", "a sample before any series", line=number)
        elif row is not None and current is not None:
            value = parse_value(row["value"])
            if value is None:
                problems.add(f"line {number}", f"not a number: {row['value'][:60]!r}", line=number)
            else:
                current.add(number, row["stamp"], value)
    series = [samples.build(problems) for samples in by_labels.values()]
    problems.check()
    return [each for each in series if each is not None and len(each.times)]


def _labels_of_line(line: str, instant: re.Match[str] | None) -> dict[str, str] | None:
    if instant is not None:
        return labels_of(instant["head"] or "")
    return labels_of(line.removesuffix(_ARROW)) if line.endswith(_ARROW) else None


def labels_of(head: str) -> dict[str, str] | None:
    """Parse ``name{a="b", c="d"}``; None if it is something else. Names with other characters are quoted."""
    form = _HEAD.fullmatch(head)
    if form is None:
        return None
    labels = {"__name__": form["name"]} if form["name"] else {}
    pairs = form["pairs"] or ""
    at = 0
    while at < len(pairs):
        pair = _PAIR.match(pairs, at)
        if pair is None:
            return None
        labels[_unquoted(pair["name"] or "__name__")] = _unquoted(pair["value"])
        at = pair.end()
    return {name: value for name, value in labels.items() if value}


def first_fault(line: str, parts: Sequence[tuple[re.Pattern[str], str]]) -> tuple[int, str]:
    """Return where a line stops to be what it should be, from 0 on, and what is expected there.

    Parameters
    ----------
    parts : sequence of (pattern, str)
        What follows each other in a good line, and what each is called.
    """
    at = 0
    for pattern, expected in parts:
        part = pattern.match(line, at)
        if part is None:
            return at, expected
        at = part.end()
    return at, parts[-1][1]


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(_character, text[1:-1]) if text.startswith('"') else text


def _character(escape: re.Match[str]) -> str:
    code = escape["x"] or escape["u"] or escape["U"]
    if code is None:
        return _ESCAPED.get(escape["plain"], escape["plain"])
    return chr(int(code, 16)) if int(code, 16) <= 0x10FFFF else "\ufffd"
