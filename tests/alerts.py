"""Alerts, findings and rules for the tests of alerting and of the senders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from exporter.alerting.alert import Alert, AlertCandidate, AlertState, fingerprint
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.settings import AlertingSettings, AlertSettings

T0 = 1_800_000_000.0


def rule(**fields: Any) -> AlertSettings:
    """An ``alert:`` section; `for_` is in seconds, as every duration here."""
    return AlertSettings().model_copy(update=fields)


def limits(**fields: Any) -> AlertingSettings:
    return AlertingSettings().model_copy(update=fields)


def finding(series: str = "a", *, summary: str = "text", **labels: str) -> AlertCandidate:
    return AlertCandidate(
        labels={"alertname": "AnomalyDetected", "instance": series, **labels},
        explanation=Explanation({"summary": summary}),
        generator_url="http://prom.example/graph?g0.expr=m&g0.tab=1",
    )


def fp(series: str = "a") -> str:
    return fingerprint(finding(series).labels)


def found(*series: str) -> dict[str, AlertCandidate]:
    return {fp(name): finding(name) for name in series}


def alert(series: str = "a", state: AlertState = AlertState.FIRING, **fields: Any) -> Alert:
    """An alert that became active at `T0` and, unless it is pending, fired then."""
    values: dict[str, Any] = {
        "fingerprint": fp(series),
        "query": "cpu",
        "labels": finding(series).labels,
        "annotations": finding(series).explanation.annotations,
        "generator_url": finding(series).generator_url,
        "state": state,
        "episode": f"episode-{series}-1",
        "active_at": T0,
        "evaluated_at": T0,
        "fired_at": None if state is AlertState.PENDING else T0,
        "resolved_at": T0 if state is AlertState.RESOLVED else None,
    }
    return Alert(**{**values, **fields})


def table(alerts: Iterable[Alert]) -> Mapping[str, Alert]:
    return {one.fingerprint: one for one in alerts}
