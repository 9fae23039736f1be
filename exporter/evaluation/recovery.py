"""What a series is like when its alert ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from exporter.alerting.alert import AuditEvent, Step
from exporter.alerting.explanation.registry import RECOVERED, build
from exporter.evaluation.slot_result import ExplanationRequest, Rows, SlotResult

__all__ = ["with_recovery"]


def with_recovery(step: Step, slot: SlotResult, rows_of: Callable[[str], Rows]) -> Step:
    """Return a step whose alerts that end because their series is normal again say what it is now.

    Parameters
    ----------
    rows_of : callable
        Returns the rows of an alert by its fingerprint. One that several series have says nothing of them.
    """
    ended = {
        change.fingerprint: rows
        for change in step.transitions
        if change.event is AuditEvent.RESOLVED and change.why == "normal"
        if len(rows := rows_of(change.fingerprint)) == 1
    }
    if not ended:
        return step
    candidates = slot.explain([ExplanationRequest(int(row), recovered=True) for (row,) in ended.values()])
    alerts = dict(step.alerts)
    for identity, candidate in zip(ended, candidates, strict=True):
        texts = {name: text for name, text in build(RECOVERED, candidate.explanation.texts).items() if text}
        alerts[identity] = replace(alerts[identity], annotations={**alerts[identity].annotations, **texts})
    return replace(step, alerts=alerts)
