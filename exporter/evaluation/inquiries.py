"""Inquiries: queries that run once, when an alert fires, and whose answers stay in its annotations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

from exporter.alerting.alert import Alert, AlertCandidate, AuditEvent, Step
from exporter.engine.series import Labels
from exporter.prometheus import PrometheusApi

__all__ = ["FiringAlert", "Inquiries", "Inquiry"]

log = logging.getLogger(__name__)

_MOST = 10
"""Alerts of one slot that are asked about; the others go without."""
_TOGETHER = 4
"""Queries that are under way together."""
_LONGEST = 5.0
"""Seconds that an alert waits for answers at most,"""
_SHARE = 0.25
"""or this share of the interval."""


@dataclass(frozen=True, slots=True)
class FiringAlert:
    """An alert in the slot in which it fires.

    Attributes
    ----------
    labels : mapping
        Of the alert.
    series : mapping
        The labels of its series; empty where it is about several.
    since, at : float, Unix seconds
        The beginning of the anomaly, and the slot.
    observed, expected : float or None
        Source units; None where unknown.
    """

    labels: Mapping[str, str]
    series: Mapping[str, str]
    since: float
    at: float
    observed: float | None = None
    expected: float | None = None


class Inquiry(Protocol):
    """Something to ask when an alert fires."""

    @property
    def names(self) -> tuple[str, ...]:
        """The annotations that it may give."""

    def ask(self, api: PrometheusApi, alert: FiringAlert, timeout: float) -> dict[str, str]:
        """Return annotations by name. The text reports a query that fails; it is never an error."""


class Inquiries:
    """The inquiries of one query or group.

    Parameters
    ----------
    api : PrometheusApi or None
        None where nobody can be asked.
    interval : float, seconds
        Between slots.
    """

    def __init__(self, inquiries: Sequence[Inquiry], api: PrometheusApi | None, *, interval: float) -> None:
        self._inquiries = tuple(inquiries) if api is not None else ()
        self._api = api
        self._timeout = min(_LONGEST, _SHARE * interval)
        self._names = frozenset(name for inquiry in inquiries for name in inquiry.names)

    def carried(
        self, alerts: Mapping[str, Alert], candidates: Mapping[str, AlertCandidate]
    ) -> dict[str, AlertCandidate]:
        """Return the candidates with the annotations of when their alerts fired."""
        result = dict(candidates)
        for identity, candidate in candidates.items():
            alert = alerts.get(identity)
            if self._names and alert is not None and alert.is_open and alert.fired_at is not None:
                kept = {name: text for name, text in alert.annotations.items() if name in self._names}
                result[identity] = _with(candidate, kept)
        return result

    def complete(
        self, step: Step, candidates: Mapping[str, AlertCandidate], series_of: Callable[[str], Labels]
    ) -> Step:
        """Return the step with what Prometheus says about the alerts that fire in it.

        Parameters
        ----------
        series_of : callable
            Returns the labels of the series of an alert, by its fingerprint.
        """
        firing = [
            transition.fingerprint
            for transition in step.transitions
            if transition.event is AuditEvent.FIRING and transition.fingerprint in candidates
        ][:_MOST]
        if self._api is None or not self._inquiries or not firing:
            return step
        described = {
            identity: _described(step.alerts[identity], candidates[identity], dict(series_of(identity)))
            for identity in firing
        }
        jobs = [(identity, inquiry) for identity in firing for inquiry in self._inquiries]
        # An alert waits for what it says, but not for long.
        timeout = self._timeout / -(-len(jobs) // _TOGETHER)
        texts: dict[str, dict[str, str]] = {identity: {} for identity in firing}
        with ThreadPoolExecutor(min(len(jobs), _TOGETHER), thread_name_prefix="inquiry") as pool:
            answers = [
                pool.submit(_ask, inquiry, self._api, described[identity], timeout) for identity, inquiry in jobs
            ]
            for (identity, _), answer in zip(jobs, answers, strict=True):
                texts[identity] |= answer.result()
        alerts, transitions = dict(step.alerts), []
        for identity, answered in texts.items():
            annotations = _with(candidates[identity], answered).explanation.annotations
            alerts[identity] = replace(alerts[identity], annotations=annotations)
        for transition in step.transitions:
            if transition.event is AuditEvent.FIRING and transition.fingerprint in texts:
                whole = alerts[transition.fingerprint].annotations
                more = {name: text for name, text in whole.items() if name in self._names}
                details = {**transition.details, **more}
                transitions.append(replace(transition, details=details))
            else:
                transitions.append(transition)
        return replace(step, alerts=alerts, transitions=tuple(transitions))


def _ask(inquiry: Inquiry, api: PrometheusApi, alert: FiringAlert, timeout: float) -> dict[str, str]:
    try:
        return inquiry.ask(api, alert, timeout)
    except Exception:
        # Whatever it is: the alert matters more than what it says.
        log.exception("what was to be asked about an alert failed", extra={"annotations": ",".join(inquiry.names)})
        return {}


def _described(alert: Alert, candidate: AlertCandidate, series: Mapping[str, str]) -> FiringAlert:
    observation = candidate.observation
    return FiringAlert(
        alert.labels,
        series,
        alert.active_at,
        alert.evaluated_at,
        None if observation is None else observation.observed,
        None if observation is None else observation.expected,
    )


def _with(candidate: AlertCandidate, texts: Mapping[str, str]) -> AlertCandidate:
    explanation = candidate.explanation
    return replace(candidate, explanation=replace(explanation, added={**explanation.added, **texts}))
