from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from exporter.exposition import Children, SelfMetrics


def test_a_child_is_looked_up_once_and_gone_until_it_is_asked_for_again() -> None:
    registry = CollectorRegistry()
    gauge, states = (
        Gauge("a", "a", ["query"], registry=registry),
        Gauge("b", "b", ["query", "state"], registry=registry),
    )
    children = Children(query="q")
    children.of(gauge).set(1)
    children.of(states, state="x").set(2)
    children.of(states, state="y").set(3)
    assert children.of(gauge) is children.of(gauge)
    assert children.of(states, state="x") is not children.of(states, state="y")
    assert registry.get_sample_value("b", {"query": "q", "state": "y"}) == 3
    children.remove(gauge)
    children.remove(gauge)
    assert registry.get_sample_value("a", {"query": "q"}) is None
    assert registry.get_sample_value("b", {"query": "q", "state": "x"}) == 2
    children.of(gauge).set(4)
    assert registry.get_sample_value("a", {"query": "q"}) == 4
    children.remove(gauge)
    assert registry.get_sample_value("a", {"query": "q"}) is None


def test_a_child_of_an_earlier_run_is_removed_too() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("a", "a", ["query"], registry=registry)
    gauge.labels(query="q").set(1)
    Children(query="q").remove(gauge)
    assert registry.get_sample_value("a", {"query": "q"}) is None


def test_children_that_nobody_reads_keep_nothing() -> None:
    registry = CollectorRegistry()
    metrics = SelfMetrics(registry, read=False)
    children = metrics.children(query="q")
    children.of(metrics.judged_ratio).set(1)
    children.of(metrics.cycles_total).inc()
    children.of(metrics.cycle_duration_seconds, phase="score").observe(1.0)
    children.remove(metrics.judged_ratio)
    assert registry.get_sample_value("anomaly_exporter_judged_ratio", {"query": "q"}) is None
