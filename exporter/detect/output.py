"""Scores of recorded samples as CSV or JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Raw

from exporter.detect.recorded_series import format_labels
from exporter.detect.scoring import ScoredSeries
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
_CURRENT = 1.5
"""Steps by which the newest sample of a current series may be older than the newest of all series."""


def to_csv(scored: Sequence[ScoredSeries]) -> bytes:
    """Write a row for each sample, series by series; an empty field is absent.

    With several series, the first column is ``series``, written as PromQL does.
    """
    several = len(scored) > 1
    lines = [",".join(("series", *_COLUMNS) if several else _COLUMNS).encode()]
    for scores in scored:
        columns = [_stamps(scores.series.stamps), _fields(scores.series.values)]
        columns += [
            _fields(values) for values in (scores.score, scores.expected, scores.lower, scores.upper, scores.votes)
        ]
        if several:
            columns.insert(0, [_quoted(format_labels(scores.series.labels).encode())] * len(scores.score))
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


def to_json(scored: Sequence[ScoredSeries], detection: DetectionSettings, step: float, *, every: bool = False) -> bytes:
    """Write the verdict of the newest sample; with `every`, also that of every sample, as ``rows``.

    For several series ``is_anomaly`` is whether any current series is anomalous, and ``results`` has the verdicts of
    all in the order of the input.
    """
    verdicts = [_verdict(each, detection, every=every) for each in scored]
    if len(scored) == 1:
        return _encoded(verdicts[0])
    last = max(scored, key=_newest)
    current = _current(scored, step)
    newest = [score for each in current if not math.isnan(score := float(each.score[-1]))]
    anomalous = sum(bool(each.anomalous[-1]) for each in current)
    return _encoded(
        {
            "is_anomaly": anomalous > 0,
            "anomaly_score": max(newest, default=None),
            "anomalous_series": anomalous,
            "timestamp": _timestamp(last, -1),
            "samples": sum(_samples(each) for each in scored),
            "results": verdicts,
        }
    )


def is_anomaly_now(scored: Sequence[ScoredSeries], step: float) -> bool:
    """Return whether the newest sample of any current series is anomalous."""
    return any(scores.anomalous[-1] for scores in _current(scored, step))


def _current(scored: Sequence[ScoredSeries], step: float) -> list[ScoredSeries]:
    newest = max(map(_newest, scored))
    return [scores for scores in scored if newest - _newest(scores) <= _CURRENT * step]


def _newest(scores: ScoredSeries) -> float:
    return float(scores.series.times[-1])


def _verdict(scores: ScoredSeries, detection: DetectionSettings, *, every: bool) -> dict[str, Any]:
    rows = [_row(scores, index, detection) for index in range(len(scores.score))] if every else None
    return {
        "is_anomaly": bool(scores.anomalous[-1]),
        **_at(scores, -1),
        "quorum": detection.quorum,
        "warming_up": not scores.ready[-1],
        "detectors": _votes(scores, -1, detection),
        "series": dict(sorted(scores.series.labels.items())),
        "samples": _samples(scores),
        "anomalies": [_at(scores, index) for index in np.flatnonzero(scores.anomalous).tolist()],
    } | ({} if rows is None else {"rows": rows})


def _row(scores: ScoredSeries, index: int, detection: DetectionSettings) -> dict[str, Any]:
    return {
        "is_anomaly": bool(scores.anomalous[index]),
        **_at(scores, index),
        "warming_up": not scores.ready[index],
        "detectors": _votes(scores, index, detection),
    }


def _votes(scores: ScoredSeries, index: int, detection: DetectionSettings) -> dict[str, dict[str, float]]:
    return {
        detector.kind: {"severity": severity, "votes": detector.votes if severity >= 1.0 else 0}
        for detector, severity in zip(detection.detectors, scores.severities[:, index].tolist(), strict=True)
    }


def _at(scores: ScoredSeries, index: int) -> dict[str, Any]:
    votes = float(scores.votes[index])
    return {
        "anomaly_score": float(scores.score[index]),
        "votes": None if math.isnan(votes) else int(votes),
        "observed_value": _number(float(scores.series.values[index])),
        "expected_value": float(scores.expected[index]),
        "expected_value_lower": float(scores.lower[index]),
        "expected_value_upper": float(scores.upper[index]),
        "timestamp": _timestamp(scores, index),
    }


def _samples(scores: ScoredSeries) -> int:
    return int(np.count_nonzero(~np.isnan(scores.series.values)))


def _timestamp(scores: ScoredSeries, index: int) -> Raw | str:
    stamp = bytes(scores.series.stamps[index])
    return Raw(stamp) if is_json_number(stamp) else stamp.decode()


def _number(value: float) -> float | str:
    # JSON has no infinities; Prometheus writes them like this.
    return value if not math.isinf(value) else "+Inf" if value > 0 else "-Inf"


def _encoded(answer: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(answer), indent=2) + b"\n"
