"""Life, board and senders with the real client, as the daemon has them, on a rule and slots in the test's hand."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from prometheus_client import CollectorRegistry

from exporter.alerting.alert import Alert, AlertState, EvaluatedSlot
from exporter.alerting.state_machine import evaluate, hold
from exporter.delivery import AlertmanagerSettings, AlertSnapshots, Senders
from exporter.store import Delivery
from tests.alerts import finding, fp, limits, rule

__all__ = ["Delivering", "DeliveryRecorder"]


class DeliveryRecorder:
    """What the store keeps of deliveries, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Delivery]] = {}

    def record(self, am_key: str, items: Iterable[tuple[str, str, AlertState]], at: float) -> None:
        rows = self.kept.setdefault(am_key, {})
        rows.update({identity: Delivery(identity, episode, state, at) for identity, episode, state in items})

    def load(self, am_key: str) -> Mapping[str, Delivery]:
        return dict(self.kept.get(am_key, {}))

    def forget(self, am_key: str) -> None:
        self.kept.pop(am_key, None)


class Delivering:
    """Publishes slots of one query to the given Alertmanagers. Everything in it is what the daemon runs."""

    def __init__(
        self,
        *urls: str,
        interval: float = 1.0,
        deliveries: DeliveryRecorder | None = None,
        alerts: Mapping[str, Alert] | None = None,
        rule_fields: Mapping[str, Any] | None = None,
        am_fields: Mapping[str, Any] | None = None,
        **limit_fields: Any,
    ) -> None:
        self.registry = CollectorRegistry()
        self.limits = limits(**limit_fields)
        self.rule = rule(**(rule_fields or {}))
        self.interval = interval
        self.alerts: Mapping[str, Alert] = alerts or {}
        self.alert_snapshots = AlertSnapshots()
        self.deliveries = deliveries or DeliveryRecorder()
        self.senders = Senders(self.alert_snapshots, self.deliveries, clock=time.time, registry=self.registry)
        self.settings = [AlertmanagerSettings(url=url, **(am_fields or {})) for url in urls]
        self._at = 0.0
        self._good = time.time()

    def __enter__(self) -> Self:
        self.senders.apply(self.settings, self.limits)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.senders.close()

    def slot(self, *anomalous: str, at: float | None = None, failed: bool = False) -> None:
        """Evaluate these series as anomalous and all others as normal, or fail, at `at` or now; publish."""
        # Two slots never have the same instant.
        self._at = max(time.time() if at is None else at, self._at + 0.001)
        if failed:
            step = hold(self.limits, "cpu", self.alerts, at=self._at, since=self._good, interval=self.interval)
        else:
            self._good = self._at
            found = {fp(name): finding(name) for name in anomalous}
            step = evaluate(self.rule, self.limits, "cpu", self.alerts, EvaluatedSlot(self._at, found))
        self.alerts = step.alerts
        self.alert_snapshots.publish("cpu", step.alerts, interval=self.interval)

    def metric(self, name: str, **labels: str) -> float:
        """The value of ``anomaly_exporter_<name>``; of the first Alertmanager unless told otherwise."""
        labels = {"alertmanager": self.settings[0].url, **labels}
        return self.registry.get_sample_value(f"anomaly_exporter_{name}", labels) or 0.0
