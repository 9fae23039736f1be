"""A real Prometheus scrapes the page."""

from __future__ import annotations

import math

import numpy as np
import pytest
import requests
from prometheus_client import CollectorRegistry

from exporter.exposition import Exposition, SelfMetrics, page_labels, row_prefix
from exporter.exposition.families import FAMILIES
from exporter.web import Site, WebServer, build_app
from tests.integration.dashboards import questions
from tests.integration.servers import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def exporter():
    """A server whose exposition and served Accept headers the test sees."""
    registry = CollectorRegistry()
    SelfMetrics(registry).watch("cpu")
    exposition = Exposition(registry, refresh=0.0, plain=0)
    scrapes = []

    def metrics(accept, accept_encoding):
        scrape = exposition.scrape(accept, accept_encoding)
        scrapes.append((scrape.content_type, scrape.content_encoding))
        return scrape

    server = WebServer(build_app(Site(metrics, lambda: None, str, {}, dict)), "127.0.0.1:0")
    address = f"127.0.0.1:{server.start()}"
    yield exposition, address, scrapes
    server.stop()


def rows(*values, **labels):
    prefixes = [
        row_prefix(page_labels([("instance", f"host-{i}"), ("job", "node"), *labels.items()], "query", "cpu"))
        for i in range(len(values))
    ]
    score = np.array(values, dtype=float)
    return prefixes, dict(zip(FAMILIES, [score + number for number in range(6)], strict=False))


def instant(prometheus, expr):
    answer = requests.get(prometheus.url + "/api/v1/query", params={"query": expr}, timeout=10).json()
    return {tuple(sorted(series["metric"].items())): float(series["value"][1]) for series in answer["data"]["result"]}


HONOR = {"honor_labels": True, "scrape_interval": "1s"}


def test_prometheus_takes_every_row_packed_and_as_openmetrics(exporter, run_prometheus):
    exposition, address, scrapes = exporter
    odd = 'a\r\n\0"\\}\ud800,é\u2028'
    exposition.publish("cpu", *rows(0.125, math.nan, math.inf, 1e-300, path=odd, query="mine"))
    prefix = row_prefix(page_labels([("pod", "a")], "group", "payment"))
    exposition.publish_group("payment", [prefix], np.array([0.5]), np.ones(1))
    scrape = [{"job_name": "exporter", "static_configs": [{"targets": [address]}], **HONOR}]
    prometheus = run_prometheus(config={"scrape_configs": scrape})

    def series(host, value):
        labels = {
            "__name__": "anomaly_score",
            "query": "cpu",
            "exported_query": "mine",
            "instance": host,
            "job": "node",
        }
        labels["path"] = 'a�\n�"\\}�,é\u2028'
        return tuple(sorted(labels.items())), value

    expected = dict([series("host-0", 0.125), series("host-2", math.inf), series("host-3", 1e-300)])
    assert eventually(lambda: instant(prometheus, "anomaly_score") or None, 30) == expected
    assert set(instant(prometheus, "anomaly_votes").values()) == {5.125, math.inf, 5.0}
    assert list(instant(prometheus, "anomaly_group_score").values()) == [0.5]
    for question in questions("anomalies"):
        if "anomaly_group_score" in question.expr:
            assert question.ask(prometheus, {"$__range": "1m", "$label": "service", "$value": ".*"}), question.where
    assert len(instant(prometheus, "anomaly_exporter_cycles_total")) == 1
    assert list(instant(prometheus, 'up{job="exporter"}').values()) == [1.0]
    assert ("application/openmetrics-text; version=1.0.0; charset=utf-8", "gzip") in {
        (content_type.split("; escaping")[0], encoding) for content_type, encoding in scrapes
    }
    [target] = requests.get(prometheus.url + "/api/v1/targets", timeout=10).json()["data"]["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")

    exposition.withdraw("cpu")
    # A series that is gone is marked stale by the next scrape, not after five minutes.
    eventually(lambda: not instant(prometheus, "anomaly_score"), 30)
    assert list(instant(prometheus, "anomaly_group_score").values()) == [0.5]
