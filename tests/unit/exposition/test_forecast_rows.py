from __future__ import annotations

import numpy as np
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from exporter.engine.forecast.forecast import Forecast
from exporter.engine.forecast.settings import LimitSettings
from exporter.engine.verdict import Verdicts
from exporter.exposition import Exposition, scores_of
from exporter.exposition.labels import page_labels, row_prefix, with_label


def test_forecasts_are_on_the_page_by_horizon_and_times_by_quantile() -> None:
    verdict = Verdicts(np.array([60.0]), np.array([[0.5, 0.7]]), 1)[0]
    forecast = Forecast(
        60.0,
        np.array([3600.0, 86400.0]),
        np.array([[1.0, 2.0], [3.0, np.nan]]),
        np.zeros((2, 2)),
        np.full((2, 2), 9.0),
        np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]) * [3600.0, np.inf],
        np.array([0.75, 0.0]),
        limit=LimitSettings(above=0.9),
    )
    object.__setattr__(verdict, "forecast", forecast)
    exposition = Exposition(CollectorRegistry())
    labels = [[("disk", "a"), ("quantile", "own")], [("disk", "b"), ("horizon", 'x,quantile="')]]
    prefixes = [row_prefix(page_labels(each, "query", "disk")) for each in labels]
    exposition.publish("disk", prefixes, scores_of(verdict))
    text = b"".join(exposition.scrape().body).decode()
    rows = {
        (sample.name, *(sample.labels.get(name) for name in ("disk", "horizon", "quantile"))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert rows["forecast_value", "a", "1h", None] == 1.0
    assert rows["forecast_value", "b", "1h", None] == 2.0
    assert rows["forecast_value", "a", "1d", None] == 3.0
    assert ("forecast_value", "b", "1d", None) not in rows
    assert rows["forecast_value_upper", "b", "1d", None] == 9.0
    assert rows["forecast_time_to_limit_seconds", "a", None, "0.5"] == 3 * 3600.0
    assert rows["forecast_time_to_limit_seconds", "a", None, "0.9"] == 5 * 3600.0
    assert rows["forecast_time_to_limit_seconds", "b", 'x,quantile="', "0.1"] == np.inf
    assert rows["forecast_limit_probability", "a", None, None] == 0.75
    assert text.count("# TYPE forecast_value gauge") == 1


def test_a_label_of_the_same_name_is_renamed_and_nothing_else() -> None:
    prefix = b'query="q",a="x,quantile=\\"1\\"",exported_quantile="2",quantile="3"'
    expected = b'query="q",a="x,quantile=\\"1\\"",exported_quantile="2",exported_exported_quantile="3",quantile="0.5"'
    assert with_label(prefix, b',quantile="0.5"') == expected
    assert with_label(b'query="q",a="x,quantile="', b',quantile="0.5"') == b'query="q",a="x,quantile=",quantile="0.5"'
