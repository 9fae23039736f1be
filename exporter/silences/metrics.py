"""Metrics of silences and of alert status; the label ``alertmanager`` is its URL."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from exporter.errors import Reason

__all__ = ["SilenceMetrics"]

_PREFIX = "anomaly_exporter_alertmanager_"


class SilenceMetrics:
    """Instruments of reading and reconciling silences."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, label: str) -> Counter:
            return Counter(_PREFIX + name, text, ["alertmanager", label], registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(_PREFIX + name, text, ["alertmanager", *labels], registry=registry)

        self.errors_total = counter("silence_errors_total", "Failed requests about silences, by reason.", "reason")
        self.changes_total = counter(
            "silence_changes_total", "Silences of the calendar that were made (or renewed) and ended.", "change"
        )
        self.silences = gauge("silences", "Silences that are not over.")
        self.not_understood = gauge("silences_not_understood", "Silences that could not be understood.")
        self.read_timestamp_seconds = gauge(
            "silences_read_timestamp_seconds", "When the silences were read last, in Unix time."
        )
        self.alerts = gauge(
            "alerts",
            "Alerts that it has under the names of ours, by whether people are told of them: active, suppressed (by a "
            "silence or another alert) or unprocessed. Absent while that is not known.",
            "state",
        )
        self._all = tuple(vars(self).values())

    def add(self, alertmanager: str) -> None:
        """Show an Alertmanager, its counters at zero."""
        for change in ("make", "end"):
            self.changes_total.labels(alertmanager, change)
        for reason in Reason:
            self.errors_total.labels(alertmanager, reason)

    def read(self, alertmanager: str, *, at: float, silences: int, not_understood: int) -> None:
        """Note a list of silences that was read."""
        self.silences.labels(alertmanager).set(silences)
        self.not_understood.labels(alertmanager).set(not_understood)
        self.read_timestamp_seconds.labels(alertmanager).set(at)

    def alert_states(self, alertmanager: str, states: Mapping[str, int] | None) -> None:
        """Note how many of our alerts it has in each state; None where they could not be read."""
        if states is None:
            self.alerts.remove_by_labels({"alertmanager": alertmanager})
        else:
            for state, count in states.items():
                self.alerts.labels(alertmanager, state).set(count)

    def remove(self, alertmanager: str) -> None:
        """Remove the metrics of an Alertmanager."""
        for instrument in self._all:
            instrument.remove_by_labels({"alertmanager": alertmanager})
