"""Queries that are worth learning on a server: those of presets, and what metadata and names say of the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporter.presets import preset, preset_names
from exporter.prometheus.inventory import MetricMetadata

__all__ = ["Candidate", "LabelsOf", "candidates"]

LabelsOf = Callable[[str], Sequence[str]]
"""Returns the names of the labels of a metric."""

_OF_LIBRARIES = re.compile(
    r"(go|process|python|promhttp|prometheus|scrape|net_conntrack|grpc_client|rest_client|workqueue|jvm|ALERTS|"
    r"anomaly|expected_value|observed_value|forecast|alertmanager|up)(_|$)"
)
"""Metrics that nearly every process has about itself, and our own: not what a service is there for."""
_REQUESTS = re.compile(
    r"(request|requests|query|queries|message|messages|call|calls|job|jobs|task|tasks|event|events|"
    r"order|orders|login|logins|payment|payments|transaction|transactions|operation|operations|handled)"
    r"(_\w+)?_total"
)
_ERRORS = re.compile(
    r"\w*(error|errors|failure|failures|failed|exceptions|dropped|rejected|timeouts|retries)(_\w+)?_total"
)
_FAILED = {
    **dict.fromkeys(
        ("code", "status", "status_code", "response_code", "http_status_code", "http_response_status_code"), "5.."
    ),
    "grpc_code": "Unknown|DeadlineExceeded|ResourceExhausted|Internal|Unavailable|DataLoss",
}
"""Labels that hold the status of a request, and which of them are faults of the server."""
_LATENCY = re.compile(r"\w*(latency|duration|response_time|_p9\d|_p50)(_\w*)?")
_RATE = re.compile(r"\w*(_per_second|_per_sec|_rps|_qps|_rate\d*[smh]?)")
_FAULTS = re.compile(r"\w*(error|errors|failure|failures|failed)(_\w*)?")
_NO_SIGNAL = re.compile(r"\w*(_info|_timestamp_seconds|_limit|_max|_bucket(_\w*)?)")
_LOAD = re.compile(
    r"\w*(queue|backlog|pending|lag|in_flight|inflight|in_progress|active|connections|sessions|pool|waiting|threads|"
    r"utilisation|utilization|usage|used|size|depth|temperature)\w*"
)
_KEEP = ("job", "namespace", "service")
"""Labels that tell services apart; those that a metric has are kept in sums."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A query that might be written.

    Attributes
    ----------
    fields : mapping
        As they are written in the configuration file.
    source : str
        The preset, or ``other``.
    why : str
    rank : int
        Lower is written first, and survives longer where there are too many.
    """

    fields: Mapping[str, Any]
    source: str
    why: str
    rank: int = 0
    group: Mapping[str, Any] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The name of the query."""
        return str(self.fields["name"])


def candidates(
    names: Iterable[str],
    metadata: Mapping[str, MetricMetadata],
    labels_of: LabelsOf,
    *,
    presets: Sequence[str] | None = None,
    most_others: int = 30,
) -> list[Candidate]:
    """Return the queries for what a server has.

    Parameters
    ----------
    names : iterable of str
        Of all metrics.
    metadata : mapping of str to MetricMetadata
        By the name of the family.
    labels_of : callable
        Is called for the metrics that no preset covers and that look like a signal.
    presets : sequence of str, optional
        Only these, and nothing that no preset covers.
    most_others : int
        How many queries are proposed of metrics that no preset covers.
    """
    have = frozenset(names)
    result = list(_of_presets(have, preset_names() if presets is None else presets))
    if presets is None:
        covered = {metric for name in preset_names() for metric in _metrics_of(name)}
        prefixes = tuple(sorted({metric.split("_")[0] + "_" for metric in covered}))
        rest = {name for name in have if not name.startswith(prefixes) and not _OF_LIBRARIES.match(name)}
        others = sorted(_others(rest, metadata, labels_of), key=lambda candidate: (candidate.rank, candidate.name))
        result += others[:most_others]
    return result


def _metrics_of(name: str) -> Iterator[str]:
    chosen = preset(name)
    yield from chosen.recognised_by
    for query in chosen.queries:
        yield from query.needs


def _of_presets(have: frozenset[str], names: Sequence[str]) -> Iterator[Candidate]:
    for name in names:
        chosen = preset(name)
        if not have.intersection(chosen.recognised_by):
            continue
        for query in chosen.queries:
            if have.issuperset(query.needs):
                rank = 0 if "alert" in query.fields else 1
                yield Candidate(query.fields, name, query.why, rank, chosen.group)


def _others(names: set[str], metadata: Mapping[str, MetricMetadata], labels_of: LabelsOf) -> Iterator[Candidate]:
    """Yield queries for metrics that no preset covers: requests, errors and durations first, then what is used up."""
    for name in sorted(names):
        kind = _kind(name, names, metadata)
        if kind == "histogram" and _is_duration(name):
            yield from _histogram(name, labels_of)
        elif kind == "summary" and _is_duration(f"{name}_"):
            yield from _summary(name, labels_of)
        elif kind == "counter" and _ERRORS.fullmatch(name):
            yield _rate(name, labels_of, 12, "Errors, usually few.", direction="above")
        elif kind == "counter" and _REQUESTS.search(name):
            yield from _requests(name, labels_of)
        elif kind == "gauge":
            yield from _gauges(name, labels_of)


def _kind(name: str, names: set[str], metadata: Mapping[str, MetricMetadata]) -> str:
    """Return the type of a metric: by the metadata of its target, or by its name."""
    if name.endswith("_bucket") and name.removesuffix("_bucket") + "_count" in names:
        return "histogram"
    if name.endswith(("_count", "_sum", "_bucket", "_created")):
        return ""
    if ":" in name:
        return "gauge"  # What a recording rule writes; no target describes it.
    described = metadata.get(name) or metadata.get(name.removesuffix("_total"))
    if described is not None and described.type and described.type != "unknown":
        return described.type
    return "counter" if name.endswith("_total") else "gauge" if not metadata else ""


def _is_duration(name: str) -> bool:
    return any(word in name for word in ("_seconds_", "_duration_", "_latency_", "_milliseconds_", "_time_"))


def _by(metric: str, labels_of: LabelsOf, *more: str) -> str:
    kept = [label for label in _KEEP if label in labels_of(metric)]
    return f"({', '.join([*more, *kept])})"


def _requests(name: str, labels_of: LabelsOf) -> Iterator[Candidate]:
    yield _rate(name, labels_of, 10, "Work that arrives: too much and too little both alert.", direction="both")
    status = next((label for label in _FAILED if label in labels_of(name)), None)
    if status is not None:
        by, failed = _by(name, labels_of), f'{name}{{{status}=~"{_FAILED[status]}"}}'
        fields = {
            "name": f"{name.removesuffix('_total')}_error_ratio",
            "expr": f"sum by {by} (rate({failed}[5m])) / (sum by {by} (rate({name}[5m])) > 0.1)",
            "direction": "above",
            "min_deviation": 0.01,
            "valid_range": [0, 1],
            "unit": "ratio",
            "alert": _alert("5m"),
        }
        yield Candidate(fields, "other", "The share that failed, where there is any to speak of.", 9)


def _rate(name: str, labels_of: LabelsOf, rank: int, why: str, *, direction: str) -> Candidate:
    fields = {
        "name": f"{name.removesuffix('_total')}_rate",
        "expr": f"sum by {_by(name, labels_of)} (rate({name}[5m]))",
        "direction": direction,
        "min_relative_deviation": 0.3,
        "valid_range": [0, None],
        "unit": "per_second",
        "alert": _alert("10m"),
    }
    return Candidate(fields, "other", why, rank)


def _histogram(bucket: str, labels_of: LabelsOf) -> Iterator[Candidate]:
    family = bucket.removesuffix("_bucket")
    by = _by(bucket, labels_of)
    scale = " / 1000" if "millisecond" in family or family.endswith("_ms") else ""
    fields = {
        "name": f"{family}_p99",
        "expr": f"histogram_quantile(0.99, sum by {_by(bucket, labels_of, 'le')} (rate({bucket}[5m]))){scale} "
        f"and on {by} (sum by {by} (rate({family}_count[5m])) > 0.02)",
        "direction": "above",
        "min_relative_deviation": 0.2,
        "valid_range": [0, None],
        "unit": "seconds",
        "alert": _alert("10m"),
    }
    yield Candidate(fields, "other", "What callers wait for, where there are any to speak of.", 8)
    if not family.endswith(("requests", "request")):
        yield _rate(f"{family}_count", labels_of, 11, "How often it is done.", direction="both")


def _summary(name: str, labels_of: LabelsOf) -> Iterator[Candidate]:
    if "quantile" in labels_of(name):
        # Quantiles of several targets cannot be put together; the slowest one is what callers notice.
        yield _latency(name, f'max by {_by(name, labels_of)} ({name}{{quantile=~"0.9.*"}})', "_quantile")
    yield _rate(f"{name}_count", labels_of, 11, "How often it is done.", direction="both")


def _gauges(name: str, labels_of: LabelsOf) -> Iterator[Candidate]:
    """Yield what the name of a gauge, or of a recording rule, says that it is."""
    words = name.replace(":", "_")
    by = _by(name, labels_of)
    if _NO_SIGNAL.fullmatch(words):
        return
    fields: dict[str, Any] = {"name": name, "min_relative_deviation": 0.2}
    if _LATENCY.fullmatch(words):
        yield _latency(name, f"max by {by} ({name})")
    elif _FAULTS.fullmatch(words):
        fields |= {"expr": f"sum by {by} ({name})", "direction": "above", "alert": _alert("10m")}
        if words.endswith("_ratio"):
            fields["expr"] = f"max by {by} ({name})"
            fields |= {"min_deviation": 0.01, "valid_range": [0, 1], "unit": "ratio"}
            del fields["min_relative_deviation"]
        yield Candidate(fields, "other", "Errors, usually few.", 12)
    elif _RATE.fullmatch(words) and "ratio" not in words:
        fields |= {"expr": f"sum by {by} ({name})", "direction": "both", "min_relative_deviation": 0.3}
        fields |= {"valid_range": [0, None], "alert": _alert("10m")}
        if "bytes" not in words:
            fields["unit"] = "per_second"
        yield Candidate(fields, "other", "Work that arrives: too much and too little both alert.", 10)
    elif _LOAD.fullmatch(words):
        fields |= {"expr": f"sum by {by} ({name})", "direction": "above"}
        if words.endswith(("_ratio", "_percent")):
            fields["expr"] = f"max by {by} ({name})"
        yield Candidate(fields, "other", "Something that is used up, or waits.", 13)


def _latency(name: str, expr: str, suffix: str = "") -> Candidate:
    fields = {
        "name": f"{name}{suffix}",
        "expr": expr,
        "direction": "above",
        "min_relative_deviation": 0.2,
        "valid_range": [0, None],
        "alert": _alert("10m"),
    }
    if "_seconds" in name:
        fields["unit"] = "seconds"
    return Candidate(fields, "other", "What callers wait for.", 8)


def _alert(after: str) -> dict[str, Any]:
    return {"for": after, "labels": {"severity": "warning"}}
