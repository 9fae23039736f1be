"""Recording rules of promql-anomaly-detection: the series that they mark become queries."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from exporter.config.foreign import rule_groups, rules_of
from exporter.migrate.conversion import Conversion, query_name

__all__ = ["convert"]

_MARKS = ("anomaly_name", "anomaly_type", "anomaly_strategy")
_DIRECTIONS = {"latency": "above", "errors": "above"}
"""By `anomaly_type`; of requests and resources both directions count."""


def convert(data: Mapping[str, Any], *, prometheus: str, alertmanager: str) -> Conversion:
    """Return the configuration."""
    result = Conversion("promql-anomaly-detection")
    result.note("prometheus.url, alertmanagers", "rule files do not name servers; check both")
    alert: dict[str, Any] = {"for": "5m"}
    queries: list[dict[str, Any]] = []
    by_name: dict[str, list[Any]] = {}
    names: set[str] = set()
    framework = 0
    for group in rule_groups(data):
        for rule in rules_of(group):
            place = f"groups[{group.get('name', '?')}] {rule.get('record') or rule.get('alert') or '?'}"
            marks = rule.get("labels")
            labels: Mapping[str, Any] = marks if isinstance(marks, Mapping) else {}
            if "alert" in rule:
                alert |= _alert(rule, place, result)
            elif "anomaly_name" in labels:
                name, expr = str(labels["anomaly_name"]), str(rule.get("expr", "")).strip()
                if expr in by_name.setdefault(name, []):
                    result.note(place, f"{name} is recorded for another strategy, too; one query does for both")
                    continue
                if by_name[name]:
                    result.note(place, f"{name} has several expressions; each is a query of its own")
                by_name[name].append(expr)
                queries.append(_query(query_name(name, names), expr, labels))
                _note_rest(labels, place, result)
            elif str(rule.get("record", "")).startswith("anomaly:"):
                framework += 1
            else:
                result.note(place, "has no label anomaly_name: it stays in Prometheus")
    if framework:
        result.note("rules", f"{framework} that compute the bands are not needed; delete them when nothing reads them")
    for query in queries:
        query["alert"] = copy.deepcopy(alert)
    result.sections = {
        "prometheus": {"url": prometheus},
        "alertmanagers": [{"url": alertmanager}],
        "queries": queries,
    }
    return result


def _query(name: str, expr: str, labels: Mapping[str, Any]) -> dict[str, Any]:
    query: dict[str, Any] = {"name": name, "expr": expr}
    direction = _DIRECTIONS.get(str(labels.get("anomaly_type")))
    # Those rules take only what is above zero.
    return query | ({"direction": direction} if direction else {}) | {"valid_range": [0, None]}


def _note_rest(labels: Mapping[str, Any], place: str, result: Conversion) -> None:
    kind = labels.get("anomaly_type")
    if kind is not None and kind not in ("requests", "latency", "errors", "resource"):
        result.note(place, f"anomaly_type {kind} has thresholds of its own there; both directions count here")
    more = sorted(str(label) for label in labels if label not in _MARKS)
    if more:
        result.note(place, f"labels {', '.join(more)} are not on the scores; alert.labels puts labels on alerts")


def _alert(rule: Mapping[str, Any], place: str, result: Conversion) -> dict[str, Any]:
    """Return the `alert` section that an alerting rule on the bands stands for."""
    if "anomaly:" not in str(rule.get("expr", "")):
        result.note(place, "is no alert on the bands: it stays in Prometheus")
        return {}
    section: dict[str, Any] = {}
    if rule.get("for"):
        section["for"] = str(rule["for"])
    if rule.get("keep_firing_for"):
        section["keep_firing_for"] = str(rule["keep_firing_for"])
    if isinstance(rule.get("labels"), Mapping):
        section["labels"] = {str(name): str(value) for name, value in rule["labels"].items()}
    if rule.get("annotations"):
        result.note(place, "its annotations are not taken: alerts have explanations of their own")
    return section
