"""What a slot adds to all its alerts: likely causes, the changes before them, and verdicts on others like them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from exporter.alerting.alert import Alert, AlertCandidate
from exporter.alerting.explanation.registry import VERDICTS
from exporter.correlation.root_causes import DIGEST
from exporter.evaluation.context import Ports
from exporter.feedback.episodes import EpisodeFeedback

__all__ = ["why_now"]

_ENOUGH = 5
"""Verdicts from which a share says something."""
_SLACK = 60.0
"""Seconds that a change may be seen after the anomaly that follows from it, at least."""


def why_now(
    ports: Ports,
    name: str,
    at: float,
    interval: float,
    alerts: Mapping[str, Alert],
    candidates: Mapping[str, AlertCandidate],
    *,
    store: str,
    digest_below: float | None,
) -> dict[str, AlertCandidate]:
    """Return the candidates of a query or group with what may be behind them.

    Parameters
    ----------
    at, interval : float
        The slot, Unix seconds, and the seconds between slots.
    alerts : mapping
        Before this slot.
    store : str
        The name under which its alerts are stored.
    digest_below : float or None
        Share of real alerts below which alerts like those are for a digest.
    """

    def with_verdicts(candidates: Mapping[str, AlertCandidate]) -> dict[str, AlertCandidate]:
        return {
            identity: _judged(ports.feedback, store, identity, candidate, digest_below)
            for identity, candidate in candidates.items()
        }

    def with_causes(candidates: Mapping[str, AlertCandidate]) -> dict[str, AlertCandidate]:
        return ports.likely_causes.explain(name, at, interval, alerts, candidates, ports.root_causes.graph)

    def with_changes(candidates: Mapping[str, AlertCandidate]) -> dict[str, AlertCandidate]:
        return ports.changes.explain(at, alerts, candidates, slack=max(_SLACK, interval))

    explained = dict(candidates)
    for part, add in (("verdicts", with_verdicts), ("likely causes", with_causes), ("changes", with_changes)):
        explained = ports.containment.run(part, store, partial(add, explained), explained)
    return explained


def _judged(
    feedback: EpisodeFeedback | None, store: str, identity: str, candidate: AlertCandidate, digest_below: float | None
) -> AlertCandidate:
    """Return a candidate with the feedback on others like it."""
    verdicts = None if feedback is None else feedback.verdicts(store, identity)
    if verdicts is None or not verdicts.total:
        return candidate
    labels = candidate.firing_labels
    if digest_below is not None and verdicts.total >= _ENOUGH and verdicts.share < digest_below:
        labels = {**labels, DIGEST: "digest"}
    return replace(candidate, explanation=candidate.explanation.add(VERDICTS, verdicts), firing_labels=labels)
