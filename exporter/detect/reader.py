"""Bytes of a file or pipe to recorded series; detects the format."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Literal

import numpy as np

from exporter.detect.csv_samples import read_csv
from exporter.detect.exposition_samples import looks_like_exposition, read_exposition
from exporter.detect.json_samples import read_json
from exporter.detect.line_protocol import looks_like_line_protocol, read_line_protocol
from exporter.detect.recorded_series import InputError, InputProblems, RecordedSeries, format_labels
from exporter.detect.text_samples import looks_like_promtool, read_promtool
from exporter.own_metrics import is_own

__all__ = ["InputFormat", "read", "too_large"]

InputFormat = Literal["auto", "prometheus-json", "csv", "promtool", "openmetrics", "influx"]

_READERS = {
    "prometheus-json": read_json,
    "csv": read_csv,
    "promtool": read_promtool,
    "openmetrics": read_exposition,
    "influx": read_line_protocol,
}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
"""What each begins with."""
_NO_ROOM = "whole buffer"
"""What cramjam says where the array is full."""
_ZIP = b"PK\x03\x04"
_DESCRIPTION = re.compile(r"#\s+(?:HELP|TYPE|UNIT)\s")
_MOST_TITLES = 20
_FORMATS = "a Prometheus answer (JSON), CSV, OpenMetrics, line protocol or the text of promtool"


def read(
    data: bytes, form: InputFormat, *, source: str, zone: tzinfo = UTC, most: int | None = None
) -> list[RecordedSeries]:
    """Read every series that has samples.

    Parameters
    ----------
    data : bytes
    form : str
        ``auto`` looks at the first line.
    source : str
        What messages call the input.
    zone : tzinfo
        Of timestamps that have none.
    most : int, optional
        Bytes that there is room for when a compressed input is unpacked.

    Raises
    ------
    InputError
        Any sample cannot be read, or there are none: half of the samples would have other scores.
    """
    problems = InputProblems(source, zone)
    text, note = _text(data, problems, most)
    if form != "auto":
        series = _READERS[form](text, problems)
    else:
        form = _format(text)
        try:
            series = _READERS[form](text, problems)
        except InputError:
            if form == "csv" and not _looks_like_a_table(text):
                raise problems.stop(f"not {_FORMATS}: it begins with {_beginning(text)}") from None
            raise
    if not series:
        raise problems.stop(f"no samples in it (read as {form})")
    return _noted(_without_own(series, problems), note)


def too_large(most: int, what: str = "") -> str:
    """Return what is wrong with an input of more than `most` bytes."""
    size = f"{most / 2**20:,.0f} MiB" if most >= 2**20 else f"{most:,} bytes"
    return f"{what} it is larger than the {size} that fit into memory; split it by series or by time".lstrip()


def _noted(series: list[RecordedSeries], note: str) -> list[RecordedSeries]:
    warning = "\n".join(filter(None, (note, series[0].warning)))
    return [replace(series[0], warning=warning), *series[1:]]


def _without_own(series: list[RecordedSeries], problems: InputProblems) -> list[RecordedSeries]:
    """Return the series without what the exporter wrote, as slots have them: scores of scores say nothing."""
    own = [each for each in series if is_own(each.labels)]
    if not own:
        return series
    others = [each for each in series if not is_own(each.labels)]
    if not others:
        raise problems.stop(f"only series that this exporter wrote, such as {format_labels(own[0].labels)}")
    text = f"{len(own)} series that this exporter wrote are left out, such as {format_labels(own[0].labels)}"
    return _noted(others, "\n".join([*(each.warning for each in own if each.warning), text]))


def _text(data: bytes, problems: InputProblems, most: int | None) -> tuple[str, str]:
    """Return the text, and what there is to note about its encoding."""
    note = ""
    data = _unpacked(data, problems, most)
    if not data.strip():
        raise problems.stop("it is empty; did the command that should write it fail, or find nothing?")
    # Excel's "Unicode text" is UTF-16.
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"byte {error.start} is not {'UTF-16' if utf16 else 'UTF-8'}"
        text = "" if utf16 else _windows(data)
        if not text:
            raise problems.stop(f"it is not text ({where})") from None
        note = f"{where}: read as Windows-1252"
    if "\0" in text:
        raise problems.stop(f"it is not text (byte {data.index(0)} is zero)")
    return text, note


def _unpacked(data: bytes, problems: InputProblems, most: int | None) -> bytes:
    """Return what is in a compressed file, seen by its first bytes; other data stay."""
    if data.startswith(_ZIP):
        raise problems.stop("it is an archive (zip, or a spreadsheet of Excel); unpack it, or save it as CSV")
    kind = next((kind for magic, kind in _COMPRESSED.items() if data.startswith(magic)), None)
    if kind is None:
        return data
    import cramjam

    library = getattr(cramjam, kind)
    try:
        if most is None:
            return bytes(library.decompress(data))
        # A few megabytes can hold as many gigabytes. Only what is written of the array takes memory.
        room = np.empty(most, np.uint8)
        return room[: library.decompress_into(data, room)].tobytes()
    except cramjam.DecompressionError as error:
        if _NO_ROOM in str(error):
            raise problems.stop(too_large(most or 0, f"unpacked ({kind})")) from None
        raise problems.stop(f"it is compressed ({kind}) and cannot be unpacked, perhaps cut off: {error}") from None


def _windows(data: bytes) -> str:
    """Return the text of a file in the encoding that Excel writes CSV in; empty where it is none."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return ""
    return text if all(character.isprintable() or character in "\r\n\t" for character in text) else ""


def _format(text: str) -> InputFormat:
    begin = text.lstrip()
    first = next((line for line in begin.split("\n", _MOST_TITLES) if line.strip() and not line.startswith("#")), "")
    if looks_like_promtool(begin.partition("\n")[0]):
        return "promtool"
    if _DESCRIPTION.match(begin) or looks_like_exposition(first):
        return "openmetrics"
    if looks_like_line_protocol(first.rstrip("\r")):
        return "influx"
    return "prometheus-json" if begin.startswith(("{", "[")) else "csv"


def _looks_like_a_table(text: str) -> bool:
    """Return whether cells are separated near the beginning; error pages of servers begin with ``<``."""
    begin = text.lstrip().split("\n", _MOST_TITLES)[:_MOST_TITLES]
    return not begin[0].startswith("<") and any(mark in line for line in begin for mark in ",;\t|")


def _beginning(text: str) -> str:
    return repr(text.strip().partition("\n")[0][:60])
