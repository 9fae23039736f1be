"""An outage that lasts is one anomaly, however long it takes until the series is used to it."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.config.engine_settings import engine_settings
from exporter.config.model import Config, QuerySettings
from exporter.engine.engine import Engine

MONDAY, DAY, HOUR = 1_760_313_600.0, 86400.0, 3600.0
FACTORS = np.array([1.0, 1.5, 4.0, 0.5])


def shape(times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    day = 1.0 + 0.3 * np.sin(2.0 * np.pi * times / DAY)
    return 100.0 * day[:, None] * (1.0 + 0.03 * rng.standard_normal((len(times), len(FACTORS))))


@pytest.mark.parametrize(("interval", "direction"), [(60.0, "both"), (60.0, "above")])
def test_it_is_anomalous_from_its_first_to_its_last_sample(interval: float, direction: str) -> None:
    every = f"{interval:.0f}s"  # Of the samples that are learned, too.
    query = {"name": "q", "expr": "q", "interval": every, "direction": direction, "baseline": {"backfill_step": every}}
    engine = Engine(engine_settings(Config(queries=(QuerySettings.model_validate(query),)).plans()[0]))
    rng, keys = np.random.default_rng(5), [b'{"s":"%d"}' % number for number in range(len(FACTORS))]
    begun = MONDAY + 22 * DAY + 7 * HOUR
    history = np.arange(begun - 22 * DAY, begun, 300.0)
    engine.run(history, engine.align(keys, shape(history, rng), history[0]).samples, 300.0)
    times = begun + interval * np.arange(int(8 * HOUR / interval))
    verdicts = engine.run(times, engine.align(keys, FACTORS * shape(times, rng), begun).samples, interval)
    share = (verdicts.score >= 0.5).mean(axis=0).tolist()
    assert share == [0.0, 1.0, 1.0, 1.0 if direction == "both" else 0.0]
