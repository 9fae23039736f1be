r"""The text formats of Prometheus with timestamps: OpenMetrics, answers of `/federate`, dumps of its storage.

A sample is a line ``name{job="a"} value timestamp``; dumps have the name among the labels.
"""

from __future__ import annotations

import re
from dataclasses import replace

from exporter.detect.recorded_series import (
    NATIVE_HISTOGRAM,
    InputProblems,
    RecordedSeries,
    SampleList,
    format_labels,
    parse_value,
)
from exporter.detect.text_samples import first_fault, labels_of
from exporter.own_metrics import is_own

__all__ = ["looks_like_exposition", "read_exposition"]

_NAME = r"(?:[a-zA-Z_:][a-zA-Z0-9_:.]*)"
_LABELS = r'\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\}'
_SAMPLE = re.compile(rf"(?P<head>{_NAME}?\s*{_LABELS}|{_NAME})\s+(?P<value>\S+)(?:\s+(?P<stamp>[^\s#]+))?\s*(?:#.*)?")
_PARTS = (
    (re.compile(rf"\s*{_NAME}?\s*"), "a metric name"),
    (re.compile(rf"(?:{_LABELS})?(?:\s+|(?<=\s))"), 'labels such as {job="a"}, then a blank'),
    (re.compile(r"\S+\s+"), "a number, then a blank"),
    (re.compile(r"[^\s#]+\s*"), "a timestamp"),
    (re.compile(r"(?:#.*)?$"), "the end of the line"),
)
_TYPE = re.compile(rf"#\s+TYPE\s+(?P<name>{_NAME})\s+(?P<type>\w+)\s*")
_COUNTERS = {
    "counter": ("", "_total"),
    "histogram": ("_bucket", "_count", "_sum"),
    "summary": ("_count", "_sum"),
}
"""What a family of a type has that only rises."""
_NO_TIME = "a sample without a timestamp: a page of /metrics has the present only; record it, or ask query_range"


def looks_like_exposition(line: str) -> bool:
    """Return whether the first line of a text that is no comment is a sample with labels, or with a timestamp."""
    sample = _SAMPLE.fullmatch(line.strip())
    if sample is None or parse_value(sample["value"]) is None:
        return False
    return bool(labels_of(_head(sample))) and ("{" in line or sample["stamp"] is not None)


def read_exposition(text: str, problems: InputProblems) -> list[RecordedSeries]:
    """Read every series; several answers of `/federate` may follow each other.

    Raises
    ------
    InputError
        With the lines that cannot be read, and the column of each.
    """
    by_head: dict[str, SampleList] = {}
    by_labels: dict[tuple[tuple[str, str], ...], SampleList] = {}
    rising: set[str] = set()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            family = _TYPE.fullmatch(line)
            if family is not None:
                rising.update(family["name"] + suffix for suffix in _COUNTERS.get(family["type"], ()))
            continue
        sample = _SAMPLE.fullmatch(line.strip())
        if sample is None:
            _report(number, line, problems)
            continue
        samples = by_head.get(sample["head"])
        if samples is None:
            labels = labels_of(_head(sample))
            if not labels:
                _report(number, line, problems)
                continue
            samples = by_labels.setdefault(tuple(sorted(labels.items())), SampleList(labels))
            by_head[sample["head"]] = samples
        value = parse_value(sample["value"])
        if value is None:
            at = line.index(sample["value"], len(line) - len(line.lstrip()) + sample.start("value"))
            problems.add(f"line {number}, column {at + 1}", f"not a number: {sample['value'][:60]!r}", line=number)
        elif sample["stamp"] is None and len(by_head) == 1:
            # The first series says it for all others.
            raise problems.stop(f"line {number}: {_NO_TIME}")
        elif sample["stamp"] is None:
            problems.add(f"line {number}", _NO_TIME, line=number)
        else:
            samples.add(number, sample["stamp"], value)
    series = [samples.build(problems) for samples in by_labels.values()]
    problems.check()
    return _noted([each for each in series if each is not None and len(each.times)], rising)


def _head(sample: re.Match[str]) -> str:
    name, brace, pairs = sample["head"].partition("{")
    return f"{name.rstrip()}{brace}{pairs}"


def _report(number: int, line: str, problems: InputProblems) -> None:
    if "{count:" in line:
        problems.add(f"line {number}", NATIVE_HISTOGRAM, line=number)
        return
    sample = _SAMPLE.fullmatch(line.strip())
    at, expected = (0, 'a series such as up{job="a"}') if sample else first_fault(line, _PARTS)
    problems.add(f"line {number}, column {at + 1}", f"expected {expected}: {line[at : at + 60]!r}", line=number)


def _noted(series: list[RecordedSeries], rising: set[str]) -> list[RecordedSeries]:
    """Note in the first series how many are counters: a counter is normal while it rises, whatever happens."""
    foreign = [each.labels for each in series if not is_own(each.labels)]
    counters = [labels for labels in foreign if _is_counter(labels.get("__name__", ""), rising)]
    if not counters:
        return series
    note = (
        f"{len(counters)} of {len(foreign)} series are counters, such as {format_labels(counters[0])}: their "
        "values only rise; what can be judged is their rate: ask query_range for rate(...)"
    )
    return [replace(series[0], warning="\n".join(filter(None, (series[0].warning, note)))), *series[1:]]


def _is_counter(name: str, rising: set[str]) -> bool:
    return name in rising or name.endswith("_total")
