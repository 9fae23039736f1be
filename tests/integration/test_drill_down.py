"""A drill-down in a real Prometheus: which version carries the failures of a shop."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from exporter.evaluation.drill_down import DrillDown
from exporter.evaluation.inquiries import FiringAlert
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

NOW = float(int(time.time() // 60) * 60)
AT = np.arange(NOW - 3600.0, NOW + 1.0, 15.0)
BEGAN = NOW - 300.0
VERSIONS, INSTANCES = ("1.4.1", "1.4.2"), [f"host{number}" for number in range(6)]


def counter(rate: np.ndarray) -> np.ndarray:
    return np.cumsum(rate * 15.0)


@pytest.fixture
def shop(prometheus: Prometheus) -> PrometheusApi:
    """Two services. Of the shop, version 1.4.2 loses nine tenths of its requests, and a fifth of the rest fails."""
    late = AT >= BEGAN
    series = []
    for service in ("shop", "mail"):
        for version in VERSIONS:
            bad = service == "shop" and version == "1.4.2"
            for number, instance in enumerate(INSTANCES):
                requests = np.where(late & bad, 0.1, 1.0) * (5.0 + number)
                failures = requests * np.where(late & bad, 0.2, 0.01)
                labels = {"service": service, "version": version, "instance": instance}
                series.append(({"__name__": "requests_total", **labels}, AT, counter(requests)))
                series.append(({"__name__": "failures_total", **labels}, AT, counter(failures)))
    prometheus.push(series)
    return PrometheusApi(PrometheusSettings(url=prometheus.url))


def text(api: PrometheusApi, expr: str, unit: str | None = None, **observed: float) -> list[str]:
    drill_down = DrillDown(expr, ["version", "instance"], unit, interval=60.0, query_offset=0.0)
    alert = FiringAlert({}, {"service": "shop"}, BEGAN, NOW, **observed)
    return drill_down.ask(api, alert, 10.0)["drill_down"].splitlines()


def test_the_version_that_loses_requests_is_named_and_what_is_left(shop: PrometheusApi) -> None:
    lines = text(shop, "sum by (service) (rate(requests_total[1m]))", "per_second")
    assert lines[0].startswith("version=1.4.2 carries 100 % of the change: ")
    assert lines[0].endswith(" of the 45/s expected")
    assert lines[1:] == ["without it 45/s of the 45/s expected"]


def test_the_version_with_failures_is_named_of_a_ratio(shop: PrometheusApi) -> None:
    ratio = "sum by (service) (rate(failures_total[1m])) / sum by (service) (rate(requests_total[1m]))"
    lines = text(shop, ratio, "ratio")
    assert lines[0].startswith("version=1.4.2 carries 100 % of the change: ")
    assert " instead of 1" in lines[0]
    assert lines[1].startswith("without it 1")


def test_an_anomaly_that_is_older_than_what_is_compared_says_so(shop: PrometheusApi) -> None:
    lines = text(shop, "sum by (service) (rate(requests_total{version='1.4.1'}[1m]))", observed=40.0, expected=80.0)
    assert lines == ["not known: the values compared with are already as they are now"]


def test_a_query_that_fails_is_said(shop: PrometheusApi, stack: ExitStack, tmp_path: Path) -> None:
    (line,) = text(shop, "sum by (service) (rate(requests_total[1m]) * on (version) group_left (x) requests_total)")
    assert line.startswith("not known: ")
    nobody = PrometheusApi(PrometheusSettings(url="http://127.0.0.1:9"))
    (line,) = text(nobody, "sum by (service) (rate(requests_total[1m]))")
    assert line.startswith("not known: ")
    assert text(shop, "sum by (service) (rate(nothing[1m]))") == ["not known: the query gives no series"]
