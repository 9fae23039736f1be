from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from exporter.exposition import SelfMetrics
from exporter.exposition.registry_writer import RegistryWriter


def filled():
    disable_created_metrics()
    registry = CollectorRegistry()
    asked = Counter("asked", 'How often "it" was\nasked, \\ and more.', ["query", "a"], registry=registry)
    asked.labels('C:\\ "x"\n', "é\ud7ff").inc(1e21)
    asked.labels("plain", "").inc(0.1)
    Gauge("seconds_ago", "Nothing.", registry=registry).set(float("nan"))
    level = Gauge("level", "How high.", ["b", "a"], registry=registry, unit="bytes")
    for value in (float("inf"), float("-inf"), -0.0, 1e-7, 123456789.0):
        level.labels(repr(value), "x").set(value)
    took = Histogram("took", "How long.", ["phase"], buckets=(0.001, 10_000_000.0), registry=registry)
    took.labels("fetch").observe(0.2)
    Info("build", "What it is.", registry=registry).info({"version": "1", "branch": "main"})
    return registry


def everything():
    metrics = SelfMetrics(CollectorRegistry())
    for query in ("cpu", "memory"):
        metrics.watch(query)
        metrics.cycle_duration_seconds.labels(query, "fetch").observe(0.2)
    return metrics.registry


class Still(CollectorRegistry):
    """A registry that gives the same every time it is asked, also where it measures the process."""

    def __init__(self, registry):
        super().__init__()
        self._metrics = list(registry.collect())

    def collect(self):
        return iter(self._metrics)


@pytest.mark.parametrize("registry", [filled(), everything()], ids=["odd ones", "our own"])
def test_it_is_what_prometheus_client_writes(registry):
    registry, writer = Still(registry), RegistryWriter()
    for _ in range(2):  # The second time by what was kept.
        assert writer.write(registry, openmetrics=False) == generate_latest(registry)
        assert writer.write(registry, openmetrics=True) == generate_openmetrics(registry)


def test_labels_that_are_gone_are_forgotten():
    registry, writer = filled(), RegistryWriter()
    before = writer.write(registry, openmetrics=False)
    assert b'asked_total{a="",query="plain"} 0.1\n' in before
    registry = CollectorRegistry()
    assert writer.write(registry, openmetrics=True) == b"# EOF\n"
    assert not writer._openings
