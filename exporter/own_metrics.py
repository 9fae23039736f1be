"""Which metrics are this exporter's own: they must not be scored again by a query that happens to choose them."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["is_own", "is_own_name"]

_NAME = re.compile(
    r"(?:.*:)?(?:"
    r"anomaly_(?:score|votes|suppressed|detector_severity|group_score|group_load_factor|canary_.*|exporter_.*)"
    r"|expected_value(?:_lower|_upper)?|observed_value"
    r"|forecast_(?:value(?:_lower|_upper)?|time_to_limit_seconds|limit_probability)"
    r")(?::.*)?"
)
"""Names of metrics that the exporter writes, and of what the shipped rules record of them."""
_LABELS = ("query", "group")
"""Every score has one of them: a metric of somebody else may be called `observed_value`."""
_RENAMED = tuple((label, f"exported_{label}") for label in _LABELS)
"""A score whose series has such a label has both: a rule has recorded what was written of what it had recorded."""


def is_own_name(name: str) -> bool:
    """Return whether a metric is called like one that this exporter writes."""
    return _NAME.fullmatch(name) is not None


def is_own(labels: Mapping[str, str]) -> bool:
    """Return whether a series is what this exporter wrote.

    >>> is_own({"__name__": "anomaly_score", "query": "cpu"}), is_own({"__name__": "observed_value", "site": "a"})
    (True, False)
    >>> is_own({"__name__": "job:load:twice", "query": "load", "exported_query": "load"})
    True
    """
    if any(renamed in labels and label in labels for label, renamed in _RENAMED):
        return True
    name = labels.get("__name__", "")
    return is_own_name(name) and ("anomaly_exporter_" in name or any(label in labels for label in _LABELS))
