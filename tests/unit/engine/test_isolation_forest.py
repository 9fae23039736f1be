from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.contract_samples import DAY, START, STEP, keys, seasonal
from exporter.engine.detectors import IsolationForest
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.isolation_trees import IsolationTrees
from exporter.engine.settings import BaselineSettings, DetectionSettings


def scores(samples: np.ndarray, contamination: float = 0.01) -> np.ndarray:
    detection = DetectionSettings(detectors=(IsolationForest(contamination=contamination),), quorum=1)
    one = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))
    times = START + STEP * np.arange(len(samples))
    return one.run(times, one.align(keys(samples.shape[1]), samples, START).samples, STEP).score


@pytest.mark.parametrize("contamination", [0.02])
def test_about_as_much_is_anomalous_as_was_asked_for(contamination: float) -> None:
    """Also where the noise has other tails than the one that the forest knows."""
    rng = np.random.default_rng(4)
    for noise in (rng.standard_normal((25 * DAY, 6)), rng.standard_t(3, (25 * DAY, 6))):
        share = np.mean(scores(100 + noise, contamination)[12 * DAY :] >= 0.5)
        assert contamination / 4 < share < 2 * contamination


def test_a_sudden_change_is_easier_to_tell_than_the_same_deviation_that_lasts() -> None:
    samples = seasonal(29, count=24)
    at = 28 * DAY + 40
    samples[at : at + 3] *= 1.3
    found = scores(samples)
    assert found[at].mean() > found[at + 1].mean()


@pytest.mark.parametrize("size", [2, 3, 400])
def test_scores_are_those_of_scikit_learn(size: int) -> None:
    from sklearn.ensemble import IsolationForest as Model

    rng = np.random.default_rng(size)
    training, vectors = rng.standard_normal((size, 3)), 2.0 * rng.standard_normal((50, 3))
    model = Model(n_estimators=20, random_state=5).fit(training)
    np.testing.assert_array_equal(IsolationTrees(training, 20, 5).scores(vectors), -model.score_samples(vectors))
