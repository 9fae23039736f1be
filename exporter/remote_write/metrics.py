"""Metrics of remote writes; the label ``url`` is that of the store."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from exporter.errors import Reason
from exporter.remote_write.queue import Queue

__all__ = ["RemoteWriteMetrics"]

_PREFIX = "anomaly_exporter_remote_write_"


class RemoteWriteMetrics:
    """Instruments of all stores."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(_PREFIX + name, text, ["url", *labels], registry=registry)

        self.samples_total = counter("samples_total", "Samples that the store took.")
        self.samples_dropped_total = counter(
            "samples_dropped_total",
            "Samples that the store will never have: it refused them, or they waited beyond the room for them.",
            "reason",
        )
        self.errors_total = counter("errors_total", "Requests that failed and are tried again, by reason.", "reason")
        self.pending_bytes = Gauge(
            _PREFIX + "pending_bytes", "Bytes that wait on disk to be sent.", ["url"], registry=registry
        )
        self._dropped: dict[str, int] = {}

    def sent(self, url: str, samples: int) -> None:
        """Count what a store took."""
        self.samples_total.labels(url=url).inc(samples)

    def refused(self, url: str, samples: int) -> None:
        """Count what a store refused for good."""
        self.samples_dropped_total.labels(url=url, reason="refused").inc(samples)

    def failed(self, url: str, reason: Reason) -> None:
        """Count a request that is tried again."""
        self.errors_total.labels(url=url, reason=str(reason)).inc()

    def pending(self, url: str, queue: Queue) -> None:
        """Show what waits, and count what was dropped for want of room."""
        self.pending_bytes.labels(url=url).set(queue.size)
        dropped = queue.dropped
        self.samples_dropped_total.labels(url=url, reason="full").inc(dropped - self._dropped.get(url, 0))
        self._dropped[url] = dropped

    def forget(self, url: str) -> None:
        """Show nothing of a store any more."""
        for metric in (self.samples_total, self.pending_bytes):
            metric.remove(url)
        self._dropped.pop(url, None)
