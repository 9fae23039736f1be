"""`PrometheusApi` against a real VictoriaMetrics."""

from __future__ import annotations

import time

import numpy as np
import pytest

from exporter.engine.series import labels_of
from exporter.errors import PrometheusError, Reason
from exporter.prometheus.api import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.integration.servers import VictoriaMetrics

pytestmark = pytest.mark.integration


@pytest.fixture
def asked(victoria: VictoriaMetrics) -> PrometheusApi:
    return PrometheusApi(PrometheusSettings(url=victoria.url), user_agent="test/1")


def test_instant_queries_history_and_refusals(victoria: VictoriaMetrics, asked: PrometheusApi) -> None:
    # Not a multiple of the step, so that an answer moved onto such multiples would show.
    now = time.time() // 60 * 60 - 600 + 7
    times = now - 60.0 * np.arange(500)[::-1]
    victoria.push([({"__name__": "load", "zone": zone}, times, np.arange(500.0)) for zone in "ab"])

    frame = asked.instant("sort(load)", now, timeout=30)
    assert frame.values.tolist() == [499.0, 499.0]
    assert {dict(labels_of(key))["zone"] for key in frame.keys} == {"a", "b"}

    blocks = list(asked.history("load", times[0], now, 60.0, timeout=30, series=2))
    values = np.concatenate([block.values for block in blocks])
    np.testing.assert_array_equal(values[:, 0], np.arange(500.0))
    np.testing.assert_array_equal(np.concatenate([block.times for block in blocks]), times)

    assert asked.instant("0/0", now, timeout=30).values.size in (0, 1)
    assert asked.ready(timeout=30)
    with pytest.raises(PrometheusError) as caught:
        asked.instant("sum(load", now, timeout=30)
    assert caught.value.reason in (Reason.EXECUTION, Reason.BAD_DATA)
    assert "sum(load" in caught.value.message
