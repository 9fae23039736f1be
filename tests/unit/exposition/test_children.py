from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from exporter.exposition import Children


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
