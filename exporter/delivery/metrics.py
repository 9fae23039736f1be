"""Metrics of delivery; the label ``alertmanager`` is its URL."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from exporter.errors import Reason

__all__ = ["AlertmanagerMetrics"]

_PREFIX = "anomaly_exporter_alertmanager_"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class AlertmanagerMetrics:
    """Instruments of all senders."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ["alertmanager", *labels], registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(_PREFIX + name, text, ["alertmanager"], registry=registry)

        self.sent_total = counter(_PREFIX + "sent_total", "Alerts that this Alertmanager took, repetitions included.")
        self.requests_total = counter(_PREFIX + "requests_total", "Requests to this Alertmanager.")
        self.errors_total = counter(_PREFIX + "errors_total", "Requests that failed, by reason.", "reason")
        self.suspicious_responses_total = counter(
            _PREFIX + "suspicious_responses_total",
            "Answers that say success but are an HTML page, such as a login page.",
        )
        self.invalid_total = counter(
            "anomaly_exporter_alerts_invalid_total",
            "Alerts set apart for 15 minutes because they are refused.",
        )
        self.resolved_before_delivery_total = counter(
            "anomaly_exporter_alerts_resolved_before_delivery_total",
            "Episodes that ended before this Alertmanager had confirmed that they fire.",
        )
        self.request_duration_seconds = Histogram(
            _PREFIX + "request_duration_seconds",
            "Time of a request to this Alertmanager.",
            ["alertmanager"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.dirty = gauge("dirty", "Alerts that are due to be sent.")
        self.oldest_dirty_seconds = gauge("oldest_dirty_seconds", "How long the alert that waits longest has waited.")
        self.up = gauge("up", "Whether the last request was taken; absent before the first.")
        self.last_success_timestamp_seconds = gauge(
            "last_success_timestamp_seconds", "When this Alertmanager last took a request, in Unix time."
        )
        self.clock_skew_seconds = gauge("clock_skew_seconds", "Its clock minus ours, by its last answer.")
        self._all = tuple(vars(self).values())

    def add(self, alertmanager: str, *, dirty: Callable[[], float], oldest_dirty_seconds: Callable[[], float]) -> None:
        """Show an Alertmanager; the two callables are called at every scrape and must not block.

        Every metric begins at zero, except `up`, which is absent before the first request.
        """
        self.dirty.labels(alertmanager).set_function(dirty)
        self.oldest_dirty_seconds.labels(alertmanager).set_function(oldest_dirty_seconds)
        for instrument in self._all:
            if instrument not in (self.errors_total, self.clock_skew_seconds, self.up):
                instrument.labels(alertmanager)
        for reason in Reason:
            # `increase()` sees the first error only where there was a zero before it.
            self.errors_total.labels(alertmanager, reason)

    def remove(self, alertmanager: str) -> None:
        """Remove the metrics of an Alertmanager."""
        for instrument in self._all:
            instrument.remove_by_labels({"alertmanager": alertmanager})
