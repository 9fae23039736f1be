"""Dependencies that a query says: when it is asked, and what holds while it fails."""

from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry

from exporter.alerting.settings import DependencySettings
from exporter.correlation.root_causes import RootCauses
from exporter.errors import PrometheusError, Reason
from exporter.evaluation.dependency_queries import DependencyQueries
from exporter.exposition import SelfMetrics
from exporter.prometheus import Frame

WRITTEN = DependencySettings(caller={"service": "shop"}, callee={"service": "mail"})
QUERIED = DependencySettings(preset="tempo")


class Source:
    """Answers with pairs of client and server, or fails."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] | None = []
        self.asked: list[tuple[str, float]] = []

    def instant(self, expr: str, at: float, *, timeout: float) -> Frame:
        self.asked.append((expr, at))
        if self.pairs is None:
            raise PrometheusError("http://prometheus", Reason.TIMEOUT, "too slow")
        keys = [f'{{"client":"{client}","server":"{server}"}}'.encode() for client, server in self.pairs]
        return Frame(at, keys, np.ones(len(keys)), np.full(len(keys), at))


class Refresh:
    def __init__(self, *settings: DependencySettings) -> None:
        self.source, self.causes = Source(), RootCauses()
        self.causes.configure(settings, ())
        self.metrics = SelfMetrics(CollectorRegistry())
        self.queries = DependencyQueries(self.causes, self.metrics, self.source, timeout=5.0, query_offset=10.0)

    def edges(self) -> list[tuple[str, str]]:
        return sorted((caller[0], callee[0]) for caller, callee in self.causes.graph.pairs(["service"]))


def test_what_a_query_says_is_merged_with_what_the_file_says() -> None:
    refresh = Refresh(WRITTEN, QUERIED)
    refresh.source.pairs = [("shop", "cart"), ("shop", "mail"), ("cart", "cart"), ("", "cart")]
    refresh.queries.run(1000.0)
    assert refresh.source.asked == [(QUERIED.from_query, 990.0)]
    assert refresh.edges() == [("shop", "cart"), ("shop", "mail")]
    assert refresh.metrics.registry.get_sample_value("anomaly_exporter_dependencies") == 2.0


def test_it_is_asked_again_when_it_is_due_and_follows_what_changes() -> None:
    refresh = Refresh(QUERIED)
    refresh.source.pairs = [("shop", "cart")]
    for at in (1000.0, 1015.0, 1299.0):
        refresh.queries.run(at)
    assert len(refresh.source.asked) == 1
    refresh.source.pairs = [("shop", "basket")]
    refresh.queries.run(1300.0)
    assert refresh.edges() == [("shop", "basket")]


def test_while_it_fails_the_last_answer_holds_and_it_is_asked_sooner() -> None:
    refresh = Refresh(QUERIED)
    refresh.source.pairs = [("shop", "cart")]
    refresh.queries.run(1000.0)
    refresh.source.pairs = None
    refresh.queries.run(1300.0)
    assert refresh.edges() == [("shop", "cart")]
    failed = refresh.metrics.registry.get_sample_value("anomaly_exporter_dependency_queries_failed_total")
    assert failed == 1.0
    refresh.source.pairs = [("shop", "basket")]
    refresh.queries.run(1331.0)
    assert refresh.edges() == [("shop", "basket")]


def test_a_clock_that_was_set_back_does_not_stop_it() -> None:
    refresh = Refresh(QUERIED)
    refresh.queries.run(1_000_000.0)
    refresh.queries.run(1000.0)
    assert len(refresh.source.asked) == 2


def test_a_reload_keeps_what_the_same_query_said_and_forgets_another() -> None:
    refresh = Refresh(QUERIED)
    refresh.source.pairs = [("shop", "cart")]
    refresh.queries.run(1000.0)
    refresh.causes.configure([WRITTEN, QUERIED], ())
    assert refresh.edges() == [("shop", "cart"), ("shop", "mail")]
    refresh.causes.configure([WRITTEN], ())
    assert refresh.edges() == [("shop", "mail")]


def test_labels_of_both_sides_and_values_that_are_no_calls() -> None:
    settings = DependencySettings(
        from_query="calls", caller={"service": "a", "zone": "za"}, callee={"service": "b"}, equal=["cluster"]
    )
    causes = RootCauses()
    causes.configure([settings], ())

    class Answer:
        def instant(self, expr: str, at: float, *, timeout: float) -> Frame:
            keys = [b'{"a":"shop","za":"1","b":"cart"}', b'{"a":"x","za":"1","b":"y"}', b'{"a":"x","b":"z"}']
            return Frame(at, keys, np.array([1.0, 0.0, 5.0]), np.zeros(3))

    DependencyQueries(causes, SelfMetrics(CollectorRegistry()), Answer(), timeout=1.0, query_offset=0.0).run(0.0)
    assert causes.graph.mentions({"service": "shop", "zone": "1", "cluster": "c"})
    assert not causes.graph.mentions({"service": "y"})
    assert not causes.graph.mentions({"service": "z"})
