"""What a slot adds to the explanations of all its alerts: likely causes, and the changes before them."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.alerting.alert import Alert, AlertCandidate
from exporter.evaluation.context import Ports

__all__ = ["why_now"]

_SLACK = 60.0
"""Seconds that a change may be seen after the anomaly that follows from it, at least."""


def why_now(
    ports: Ports,
    name: str,
    at: float,
    interval: float,
    alerts: Mapping[str, Alert],
    candidates: Mapping[str, AlertCandidate],
) -> dict[str, AlertCandidate]:
    """Return the candidates of a query or group with what may be behind them.

    Parameters
    ----------
    at, interval : float
        The slot, Unix seconds, and the seconds between slots.
    alerts : mapping
        Before this slot.
    """
    explained = ports.likely_causes.explain(name, at, interval, alerts, candidates, ports.root_causes.graph)
    return ports.changes.explain(at, alerts, explained, slack=max(_SLACK, interval))
