"""One line of the log for each transition of an alert, so that a night can be read from the log alone."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from exporter.alerting.alert import Alert, AlertTransition, AuditEvent

__all__ = ["log_transitions"]

log = logging.getLogger(__name__)

_MESSAGES = {
    AuditEvent.OPEN: "alert pending",
    AuditEvent.FIRING: "alert firing",
    AuditEvent.RESOLVED: "alert resolved",
    AuditEvent.DROPPED: "alert inactive, it was pending",
    AuditEvent.EXPIRED_SOURCE_DOWN: "alert expired, its query has failed for too long",
    AuditEvent.EXPIRED: "alert expired while the exporter was down",
}
_NUMBERS = ("observed", "expected", "lower", "upper", "score")
_MOST_LINES = 100
"""Of a slot: more than that is not read one by one."""


def log_transitions(transitions: Sequence[AlertTransition], alerts: Mapping[str, Alert]) -> None:
    """Write a line for each transition.

    Parameters
    ----------
    alerts : mapping
        The alerts by fingerprint, where they are still there: for their labels and the worst sample so far.
    """
    for transition in transitions[:_MOST_LINES]:
        alert = alerts.get(transition.fingerprint)
        more: dict[str, object] = {"query": transition.query, "episode": transition.episode, "why": transition.why}
        if alert is not None:
            more["labels"] = _text(alert.labels)
            worst = alert.worst
            numbers = {} if worst is None else {name: getattr(worst, name) for name in _NUMBERS}
            more |= {name: f"{number:.6g}" for name, number in numbers.items() if number is not None}
        log.info(_MESSAGES.get(transition.event, f"alert {transition.event}"), extra=more)
    if len(transitions) > _MOST_LINES:
        more = {"query": transitions[0].query, "transitions": len(transitions) - _MOST_LINES}
        log.info("more alerts changed in this slot; GET /api/v1/anomalies lists them", extra=more)


def _text(labels: Mapping[str, str]) -> str:
    """Write labels as PromQL does.

    >>> _text({"job": "a", "alertname": "X"})
    '{alertname="X", job="a"}'
    """
    pairs = (f'{name}="{value}"' for name, value in sorted(labels.items()) if name != "query")
    return "{" + ", ".join(pairs) + "}"
