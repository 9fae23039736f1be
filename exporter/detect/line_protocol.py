r"""InfluxDB's line protocol: ``cpu,host=a usage=0.5,load=3i 1772323200000000000``; each field is a series."""

from __future__ import annotations

import re
from dataclasses import replace

from exporter.detect.recorded_series import InputProblems, RecordedSeries, SampleList, parse_value
from exporter.detect.text_samples import first_fault

__all__ = ["looks_like_line_protocol", "read_line_protocol"]

_MEASUREMENT = r"(?:[^,\s\\]|\\.)+"
_KEY = r"(?:[^,=\s\\]|\\.)+"
_TEXT = r'"(?:[^"\\]|\\.)*"'
_FIELD = rf'{_KEY}=(?:{_TEXT}|[^,\s"]+)'
_LINE = re.compile(
    rf"(?P<measurement>{_MEASUREMENT})(?P<tags>(?:,{_KEY}={_KEY})*) +"
    rf"(?P<fields>{_FIELD}(?:,{_FIELD})*)(?: +(?P<stamp>-?\d+))?\s*"
)
_PARTS = (
    (re.compile(_MEASUREMENT), "a measurement"),
    (re.compile(rf"(?:,{_KEY}={_KEY})* +"), "tags such as ,host=a, then a blank"),
    (re.compile(_FIELD), "a field such as load=1.5"),
    (re.compile(rf"(?:,{_FIELD})*(?=\s|$) *"), "another field, then a blank"),
    (re.compile(r"-?\d+"), "a timestamp of whole nanoseconds, micro-, milliseconds or seconds"),
    (re.compile(r"\s*$"), "the end of the line"),
)
_PAIR = re.compile(rf"(?P<key>{_KEY})=(?P<value>{_TEXT}|[^,\s\"]+)(?:,|$)")
_TAG = re.compile(rf",(?P<key>{_KEY})=(?P<value>{_KEY})")
_ESCAPED = re.compile(r"\\([,= ])")
_WHOLE = re.compile(r"(-?\d+)[iu]")
_TRUE, _FALSE = frozenset({"t", "T", "true", "True", "TRUE"}), frozenset({"f", "F", "false", "False", "FALSE"})
_STATEMENT = "CREATE DATABASE"
"""What `influx_inspect export` writes before the samples."""


def looks_like_line_protocol(line: str) -> bool:
    """Return whether the first line of a text that is no comment is one of the line protocol, with a timestamp."""
    form = _LINE.fullmatch(line)
    return line.startswith(_STATEMENT) or (form is not None and form["stamp"] is not None)


def read_line_protocol(text: str, problems: InputProblems) -> list[RecordedSeries]:
    """Read every field that has numbers; it is called ``measurement_field``, or as the measurement if it is ``value``.

    Tags are labels, true is 1 and false 0. Fields of text are left out, which the warning of the first series says.

    Raises
    ------
    InputError
        With the lines that cannot be read, and the column of each.
    """
    by_field: dict[tuple[str, str, str], SampleList] = {}
    texts: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith(("#", _STATEMENT)):
            continue
        form = _LINE.fullmatch(line)
        if form is None:
            at, expected = first_fault(line, _PARTS)
            problems.add(f"line {number}, column {at + 1}", f"expected {expected}: {line[at : at + 60]!r}", line=number)
            continue
        if form["stamp"] is None:
            problems.add(f"line {number}", "a point without a timestamp: nobody knows when it was", line=number)
            continue
        for pair in _PAIR.finditer(line, *form.span("fields")):
            if pair["value"].startswith('"'):
                texts[_plain(pair["key"])] = None
                continue
            value = _number(pair["value"])
            if value is None:
                place = f"line {number}, column {pair.start('value') + 1}"
                problems.add(place, f"not a number: {pair['value'][:60]!r}", line=number)
                continue
            key = form["measurement"], form["tags"], pair["key"]
            if key not in by_field:
                by_field[key] = SampleList(_labels(*key))
            by_field[key].add(number, form["stamp"], value)
    series = [samples.build(problems) for samples in by_field.values()]
    problems.check()
    whole = [each for each in series if each is not None]
    if texts and whole:
        note = f"fields of text are left out: {', '.join(texts)}"
        whole[0] = replace(whole[0], warning="\n".join(filter(None, (whole[0].warning, note))))
    return whole


def _number(text: str) -> float | None:
    if text in _TRUE or text in _FALSE:
        return float(text in _TRUE)
    whole = _WHOLE.fullmatch(text)
    return parse_value(whole[1] if whole else text)


def _labels(measurement: str, tags: str, field: str) -> dict[str, str]:
    name = _plain(measurement) if field == "value" else f"{_plain(measurement)}_{_plain(field)}"
    return {"__name__": name} | {_plain(tag["key"]): _plain(tag["value"]) for tag in _TAG.finditer(tags)}


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
