"""Bytes of a file or pipe to recorded series, whatever the format."""

from __future__ import annotations

from typing import Literal

from exporter.detect.csv_samples import read_csv
from exporter.detect.input_errors import Faults, InputError
from exporter.detect.prometheus_json import read_answer
from exporter.detect.promtool_text import looks_like_promtool, read_promtool
from exporter.detect.recorded_series import Recorded

__all__ = ["Format", "read"]

Format = Literal["auto", "prometheus-json", "csv", "promtool"]

_READERS = {"prometheus-json": read_answer, "csv": read_csv, "promtool": read_promtool}
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
}
_FORMATS = "a Prometheus answer (JSON), CSV or the text of promtool"


def read(data: bytes, form: Format, *, source: str) -> list[Recorded]:
    """Read every series that has samples.

    Parameters
    ----------
    data : bytes
    form : str
        ``auto`` looks at the first line.
    source : str
        What messages call the input.

    Raises
    ------
    InputError
        Where anything cannot be read, or there are no samples: a score of half of the samples would be another score.
    """
    faults = Faults(source)
    text = _text(data, faults)
    if form != "auto":
        series = _READERS[form](text, faults)
    else:
        form = _format(text)
        try:
            series = _READERS[form](text, faults)
        except InputError:
            if form == "csv" and not any(mark in text.lstrip().partition("\n")[0] for mark in ",;\t"):
                raise faults.stop(f"not {_FORMATS}: it begins with {_beginning(text)}") from None
            raise
    if not series:
        raise faults.stop(f"no samples in it (read as {form})")
    return series


def _text(data: bytes, faults: Faults) -> str:
    if not data.strip():
        raise faults.stop("it is empty; did the command that should write it fail, or find nothing?")
    for magic, kind in _COMPRESSED.items():
        if data.startswith(magic):
            raise faults.stop(f"it is compressed ({kind}); unpack it first")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        what = "it is UTF-16; save it as UTF-8" if utf16 else f"it is not text (byte {error.start} is not UTF-8)"
        raise faults.stop(what) from None
    if "\0" in text:
        raise faults.stop(f"it is not text (byte {data.index(0)} is zero)")
    return text


def _format(text: str) -> Format:
    begin = text.lstrip()
    if looks_like_promtool(begin.partition("\n")[0]):
        return "promtool"
    return "prometheus-json" if begin.startswith(("{", "[")) else "csv"


def _beginning(text: str) -> str:
    return repr(text.strip().partition("\n")[0][:60])
