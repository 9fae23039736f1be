"""Times in which a real Prometheus had chosen alerts are not learned, and alert as ever."""

from __future__ import annotations

import time

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from exporter.calendar import Occurrence
from exporter.config.model import Config
from exporter.correlation.settings import IncidentSettings
from exporter.engine.series import SeriesTable, key_of
from exporter.errors import PrometheusError
from exporter.evaluation.incidents import Incidents
from exporter.exposition import SelfMetrics
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

NOW = float(int(time.time() // 300) * 300)
SLO = IncidentSettings(
    name="slo", expr='ALERTS{alertstate="firing", alertname="SLOBurn"}', equal=["service"], match=['query="cpu"']
)
HOUR = 3600.0


class Scene:
    def __init__(self, url: str, *settings: IncidentSettings) -> None:
        self.events = ActiveEvents()
        self.events.configure([], "UTC")
        self.metrics = SelfMetrics(CollectorRegistry())
        api = PrometheusApi(PrometheusSettings(url=url))
        self.incidents = Incidents(settings or (SLO,), self.metrics, api, self.unlearn, timeout=10.0, query_offset=0.0)
        self.masks = SampleMasks(self.events, {})
        self.table = SeriesTable(10)
        self.table.find([key_of((("service", name),)) for name in ("shop", "mail")])

    def unlearn(self, found: list[Occurrence]) -> None:
        self.events.unlearn(found)

    def learned(self, *ages: float, query: str = "cpu") -> list[list[bool]]:
        """Whether each service is learned, so many seconds ago, the oldest first."""
        plan = Config.model_validate({"queries": [{"name": query, "expr": "up"}]}).plans()[0]
        mask = self.masks.sample_mask(plan, self.table, NOW - np.array(ages))
        return [[True, True]] * len(ages) if mask is None else mask.learn.tolist()


@pytest.fixture
def alerts(prometheus: Prometheus) -> Prometheus:
    """The shop burned its budget for an hour, two days ago, and does so again since ten minutes."""
    at = np.concatenate(
        [np.arange(NOW - 48 * HOUR, NOW - 47 * HOUR + 1, 60.0), np.arange(NOW - 600.0, NOW + 301.0, 15.0)]
    )
    labels = {"__name__": "ALERTS", "alertname": "SLOBurn", "alertstate": "firing", "service": "shop"}
    other = {**labels, "alertname": "Other", "service": "mail"}
    prometheus.push([(labels, at, np.ones(len(at))), (other, at, np.ones(len(at)))])
    return prometheus


def test_the_past_is_known_before_it_is_learned(alerts: Prometheus) -> None:
    scene = Scene(alerts.url)
    assert scene.learned(47.5 * HOUR, 60.0) == [[True, True], [True, True]]
    scene.incidents.cover(NOW - 72 * HOUR, NOW)
    assert scene.learned(50 * HOUR, 47.5 * HOUR, 40 * HOUR, 60.0) == [
        [True, True],
        [False, True],
        [True, True],
        [False, True],
    ]
    assert scene.learned(47.5 * HOUR, 60.0, query="memory") == [[True, True], [True, True]]


def test_the_present_is_followed_and_alerts_as_ever(alerts: Prometheus) -> None:
    scene = Scene(alerts.url)
    scene.incidents.run(NOW)
    assert scene.learned(60.0, 30.0) == [[False, True], [False, True]]
    mask = scene.masks.row_mask("query", "cpu", None, scene.table, NOW - 30.0)
    assert mask is not None
    assert not mask.ignored.any()
    assert not mask.silenced.any()


def test_a_server_that_does_not_answer_keeps_history_from_being_learned_and_the_present_as_it_was() -> None:
    scene = Scene("http://127.0.0.1:9")
    with pytest.raises(PrometheusError):
        scene.incidents.cover(NOW - HOUR, NOW)
    scene.incidents.run(NOW)
    assert scene.metrics.registry.get_sample_value("anomaly_exporter_incident_queries_failed_total") == 1.0
