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
from exporter.detect.scoring import ScoredGroup, ScoredSeries
from exporter.detect.timestamps import is_json_number
from exporter.hidden_text import escape_hidden_json
from exporter.json_numbers import number_or_infinity

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
_GROUP_COLUMNS = ("load_factor", "suppressed")
"""Beside these where there are groups."""
_CURRENT = 1.5
"""Steps by which the newest sample of a current series may be older than the newest of all series."""


def to_csv(scored: Sequence[ScoredSeries], groups: Sequence[ScoredGroup] = ()) -> bytes:
    """Write a row for each sample, series by series; an empty field is absent.

    With several series, the first column is ``series``, written as PromQL does. After them, each entity of a group has
    rows, too: a score and no value.
    """
    several = len(scored) > 1
    names = (("series",) if several else ()) + _COLUMNS + (_GROUP_COLUMNS if groups else ())
    lines = [",".join(names).encode()]
    for scores in scored:
        columns = [_stamps(scores.series.stamps), _fields(scores.series.values)]
        columns += [
            _fields(values) for values in (scores.score, scores.expected, scores.lower, scores.upper, scores.votes)
        ]
        if several:
            columns.insert(0, [_quoted(format_labels(scores.series.labels).encode())] * len(scores.score))
        if groups:
            held = np.zeros(len(scores.score), np.bool_) if scores.held is None else scores.held
            columns += [[b""] * len(held), _suppressed(held)]
        lines += map(b",".join, zip(*columns, strict=True))
    for entity in groups:
        empty = [b""] * len(entity.times)
        name = format_labels({"group": entity.group, **entity.labels}).encode()
        columns = [[_quoted(name)] * len(empty), _stamps(entity.stamps), empty, _fields(entity.score), *[empty] * 4]
        columns += [_fields(entity.load), _suppressed(entity.held | ~np.isnan(entity.load))]
        lines += map(b",".join, zip(*columns, strict=True))
    return b"\n".join(lines) + b"\n"


def _suppressed(held: npt.NDArray[np.bool_]) -> list[bytes]:
    return [b"load" if sample else b"" for sample in held.tolist()]


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


def to_json(
    scored: Sequence[ScoredSeries], step: float, groups: Sequence[ScoredGroup] = (), *, every: bool = False
) -> bytes:
    """Write the verdict of the newest sample; with `every`, also that of every sample, as ``rows``.

    For several series ``is_anomaly`` is whether any current series or entity of a group is anomalous, and ``results``
    has the verdicts of all in the order of the input.
    """
    verdicts = [_verdict(each, every=every) for each in scored]
    if len(scored) == 1:
        return _encoded(verdicts[0])
    last = max(scored, key=_newest)
    current = _current(scored, step)
    newest = [score for each in current if not math.isnan(score := float(each.score[-1]))]
    anomalous = sum(bool(each.anomalous[-1]) for each in current)
    answer = {
        "is_anomaly": is_anomaly_now(scored, step, groups),
        "anomaly_score": max(newest, default=None),
        "anomalous_series": anomalous,
        "timestamp": _timestamp(last.series.stamps[-1]),
        "samples": sum(_samples(each) for each in scored),
        "results": verdicts,
    }
    return _encoded(answer | ({"groups": [_entity(each) for each in groups]} if groups else {}))


def is_anomaly_now(scored: Sequence[ScoredSeries], step: float, groups: Sequence[ScoredGroup] = ()) -> bool:
    """Return whether the newest sample of any current series is anomalous, or an entity of a group."""
    newest = max(map(_newest, scored))
    entities = (each for each in groups if len(each.times) and newest - each.times[-1] <= _CURRENT * step)
    return any(each.anomalous[-1] for each in _current(scored, step)) or any(each.anomalous[-1] for each in entities)


def _current(scored: Sequence[ScoredSeries], step: float) -> list[ScoredSeries]:
    newest = max(map(_newest, scored))
    return [scores for scores in scored if newest - _newest(scores) <= _CURRENT * step]


def _newest(scores: ScoredSeries) -> float:
    return float(scores.series.times[-1])


def _verdict(scores: ScoredSeries, *, every: bool) -> dict[str, Any]:
    rows = [_row(scores, index) for index in range(len(scores.score))] if every else None
    held = {} if scores.held is None else {"suppressed": "load" if scores.held[-1] else None}
    return {
        "is_anomaly": bool(scores.anomalous[-1]),
        **_at(scores, -1),
        "quorum": scores.detection.quorum,
        "warming_up": not scores.ready[-1],
        **held,
        "detectors": _votes(scores, -1),
        "series": dict(sorted(scores.series.labels.items())),
        "samples": _samples(scores),
        "anomalies": [_at(scores, index) for index in np.flatnonzero(scores.anomalous).tolist()],
    } | ({} if rows is None else {"rows": rows})


def _row(scores: ScoredSeries, index: int) -> dict[str, Any]:
    return {
        "is_anomaly": bool(scores.anomalous[index]),
        **_at(scores, index),
        "warming_up": not scores.ready[index],
        "detectors": _votes(scores, index),
    }


def _votes(scores: ScoredSeries, index: int) -> dict[str, dict[str, float]]:
    return {
        detector.kind: {"severity": severity, "votes": detector.votes if severity >= 1.0 else 0}
        for detector, severity in zip(scores.detection.detectors, scores.severities[:, index].tolist(), strict=True)
    }


def _entity(scores: ScoredGroup) -> dict[str, Any]:
    """Return the newest verdict on an entity, and every anomaly before it."""
    entity = {"group": scores.group, "series": dict(sorted(scores.labels.items()))}
    if not len(scores.times):
        return {"is_anomaly": False, **entity, "anomalies": []}
    suppressed = bool(scores.held[-1]) or not math.isnan(scores.load[-1])
    return {
        "is_anomaly": bool(scores.anomalous[-1]),
        **_entity_at(scores, -1),
        "suppressed": "load" if suppressed else None,
        **entity,
        "anomalies": [_entity_at(scores, index) for index in np.flatnonzero(scores.anomalous).tolist()],
    }


def _entity_at(scores: ScoredGroup, index: int) -> dict[str, Any]:
    return {
        "anomaly_score": float(scores.score[index]),
        "load_factor": float(scores.load[index]),
        "shares": dict(zip(scores.queries, scores.share[index].tolist(), strict=True)),
        "timestamp": _timestamp(scores.stamps[index]),
    }


def _at(scores: ScoredSeries, index: int) -> dict[str, Any]:
    votes = float(scores.votes[index])
    return {
        "anomaly_score": float(scores.score[index]),
        "votes": None if math.isnan(votes) else int(votes),
        "observed_value": number_or_infinity(float(scores.series.values[index])),
        "expected_value": float(scores.expected[index]),
        "expected_value_lower": float(scores.lower[index]),
        "expected_value_upper": float(scores.upper[index]),
        "timestamp": _timestamp(scores.series.stamps[index]),
    }


def _samples(scores: ScoredSeries) -> int:
    return int(np.count_nonzero(~np.isnan(scores.series.values)))


def _timestamp(written: bytes) -> Raw | str:
    stamp = bytes(written)
    return Raw(stamp) if is_json_number(stamp) else stamp.decode()


def _encoded(answer: dict[str, Any]) -> bytes:
    return escape_hidden_json(msgspec.json.format(msgspec.json.encode(answer), indent=2)) + b"\n"
