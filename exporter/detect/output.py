"""What was said of recorded samples, as CSV or JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Raw

from exporter.detect.recorded_series import name_of
from exporter.detect.run import Judged
from exporter.detect.timestamps import is_json_number
from exporter.engine.settings import DetectionSettings

__all__ = ["is_anomaly_now", "to_csv", "to_json"]

FloatArray = npt.NDArray[np.float64]

_COLUMNS = (
    "timestamp",
    "value",
    "anomaly_score",
    "expected_value",
    "expected_value_lower",
    "expected_value_upper",
    "votes",
)
_STILL_THERE = 1.5
"""Steps that the newest sample of a series may be older than the newest of all."""


def to_csv(judged: Sequence[Judged]) -> bytes:
    """Write a row a sample, series by series, as many as there were; an empty field is absent.

    With several series, the first column is ``series``, written as PromQL does.
    """
    several = len(judged) > 1
    lines = [",".join(("series", *_COLUMNS) if several else _COLUMNS).encode()]
    for one in judged:
        columns = [_stamps(one.series.stamps), _fields(one.series.values)]
        columns += [_fields(values) for values in (one.score, one.expected, one.lower, one.upper, one.votes)]
        if several:
            columns.insert(0, [_quoted(name_of(one.series.labels).encode())] * len(one.score))
        lines += map(b",".join, zip(*columns, strict=True))
    return b"\n".join(lines) + b"\n"


def _stamps(stamps: npt.NDArray[np.bytes_]) -> list[bytes]:
    # ISO 8601 allows a comma before the fraction of a second.
    return [_quoted(stamp) if b"," in stamp else stamp for stamp in stamps.tolist()]


def _quoted(text: bytes) -> bytes:
    return b'"' + text.replace(b'"', b'""') + b'"' if b'"' in text or b"," in text else text


def _fields(values: FloatArray) -> list[bytes]:
    """Write numbers so that they read back as the same bits; NaN is empty, as are the ends of no band."""
    if not len(values):
        return []
    fields = msgspec.json.encode(values.tolist())[1:-1].split(b",")
    fields = [b"" if field == b"null" else field.removesuffix(b".0") for field in fields]
    for index in np.flatnonzero(np.isinf(values)).tolist():
        fields[index] = b"+Inf" if values[index] > 0 else b"-Inf"
    return fields


def to_json(judged: Sequence[Judged], detection: DetectionSettings, step: float) -> bytes:
    """Write the verdict on the newest sample.

    For several series ``is_anomaly`` says whether any is anomalous that is still there, ``results`` has the verdicts of
    all in the order of the input.
    """
    verdicts = [_verdict(one, detection) for one in judged]
    if len(judged) == 1:
        return _encoded(verdicts[0])
    last = max(judged, key=_newest)
    current = _current(judged, step)
    scores = [score for one in current if not math.isnan(score := float(one.score[-1]))]
    anomalous = sum(bool(one.anomalous[-1]) for one in current)
    return _encoded(
        {
            "is_anomaly": anomalous > 0,
            "anomaly_score": max(scores, default=None),
            "anomalous_series": anomalous,
            "timestamp": _timestamp(last, -1),
            "samples": sum(_samples(one) for one in judged),
            "results": verdicts,
        }
    )


def is_anomaly_now(judged: Sequence[Judged], step: float) -> bool:
    """Return whether the newest sample of any series that is still there is anomalous."""
    return any(one.anomalous[-1] for one in _current(judged, step))


def _current(judged: Sequence[Judged], step: float) -> list[Judged]:
    newest = max(map(_newest, judged))
    return [one for one in judged if newest - _newest(one) <= _STILL_THERE * step]


def _newest(one: Judged) -> float:
    return float(one.series.times[-1])


def _verdict(one: Judged, detection: DetectionSettings) -> dict[str, Any]:
    names = [detector.kind for detector in detection.detectors]
    severities = one.severities[:, -1].tolist()
    return {
        "is_anomaly": bool(one.anomalous[-1]),
        **_said(one, -1),
        "quorum": detection.quorum,
        "warming_up": not one.ready[-1],
        "detectors": {
            name: {"severity": severity, "votes": detector.votes if severity >= 1.0 else 0}
            for name, detector, severity in zip(names, detection.detectors, severities, strict=True)
        },
        "series": dict(sorted(one.series.labels.items())),
        "samples": _samples(one),
        "anomalies": [_said(one, index) for index in np.flatnonzero(one.anomalous).tolist()],
    }


def _said(one: Judged, index: int) -> dict[str, Any]:
    votes = float(one.votes[index])
    return {
        "anomaly_score": float(one.score[index]),
        "votes": None if math.isnan(votes) else int(votes),
        "observed_value": _number(float(one.series.values[index])),
        "expected_value": float(one.expected[index]),
        "expected_value_lower": float(one.lower[index]),
        "expected_value_upper": float(one.upper[index]),
        "timestamp": _timestamp(one, index),
    }


def _samples(one: Judged) -> int:
    return int(np.count_nonzero(~np.isnan(one.series.values)))


def _timestamp(one: Judged, index: int) -> Raw | str:
    stamp = bytes(one.series.stamps[index])
    return Raw(stamp) if is_json_number(stamp) else stamp.decode()


def _number(value: float) -> float | str:
    # JSON has no infinities; Prometheus writes them like this.
    return value if not math.isinf(value) else "+Inf" if value > 0 else "-Inf"


def _encoded(answer: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"
