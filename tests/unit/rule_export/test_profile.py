"""The profile that rules are made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import yaml

from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.engine.seconds import DAY, HOUR, WEEK
from exporter.rule_export import Profile, as_rules, profile_of
from exporter.rule_export.render import steps

STEP, END = 300.0, 1_796_000_400.0


def plan_of(**fields: Any) -> QueryPlan:
    query = {"name": "requests", "expr": "sum by (job) (requests)", "alert": {"for": "10m"}, **fields}
    (plan,) = Config.model_validate({"queries": [query]}).plans()
    return plan


def history(days: float, level: float = 100.0) -> npt.NDArray[np.float32]:
    times = END - STEP * np.arange(days * DAY / STEP - 1.0, -1.0, -1.0)
    noise = np.random.default_rng(1).normal(0.0, 1.0, len(times))
    night = times % DAY < 6 * HOUR
    return (np.where(night, 0.3 * level, level) + noise)[:, None].astype(np.float32)


def profile(values: npt.NDArray[np.float32], **fields: Any) -> Profile:
    result = profile_of(plan_of(**fields), [{"job": "api"}], values, end=END, step=STEP)
    assert result is not None
    return result


def test_the_band_follows_the_hours_of_the_day() -> None:
    result = profile(history(15.0))
    middle = (result.lower + result.upper)[0] / 2.0
    night = np.arange(168) % 24 < 6
    assert middle[night] == pytest.approx(30.0, abs=1.5)
    assert middle[~night] == pytest.approx(100.0, abs=4.0)
    assert np.median(result.upper - result.lower) == pytest.approx(2 * result.width, rel=0.2)


def test_an_alert_that_the_exporter_has_is_one_of_the_rules_too() -> None:
    values = history(15.0)
    values[-600:-570] = 20.0
    seen = profile(values).comparison
    assert seen is not None
    assert seen.both == seen.exporter >= 1
    assert seen.days == pytest.approx(4.5, abs=0.1)


def test_sides_and_smallest_deviations_are_those_of_the_query() -> None:
    above = profile(history(8.0), direction="above", min_deviation=50.0)
    assert np.isneginf(above.lower).all()
    assert above.upper.min() >= 79.0
    rules = yaml.safe_load(as_rules([above]))["groups"][0]["rules"]
    assert [rule["record"] for rule in rules if "record" in rule] == [
        "anomaly_rule:observed_value",
        "anomaly_rule:expected_upper",
    ]


def test_too_little_history_has_no_profile() -> None:
    assert profile_of(plan_of(), [{"job": "api"}], history(2.0), end=END, step=STEP) is None
    assert profile(history(4.0)).comparison is None


def value_at(expr: str, at: float) -> float:
    """What PromQL makes of steps, in Python: comparisons are numbers there, too."""
    return float(eval(expr.replace("bool ", ""), {"time": lambda: at}))  # noqa: S307 - The expression is ours.


@pytest.mark.parametrize("weekend", [1.0, 0.4])
def test_steps_are_the_edge_at_every_hour(weekend: float) -> None:
    edge = 50.0 + 40.0 * np.sin(np.arange(168) / 24.0 * 2.0 * np.pi)
    # Unix time counts weeks from Thursday on.
    edge[48:96] *= weekend
    expr = steps(edge, half=2.0)
    for hour, expected in enumerate(edge):
        assert value_at(expr, 40 * WEEK + hour * HOUR + 1800.0) == pytest.approx(expected, abs=0.25)
    assert expr.count("bool") <= (23 if weekend == 1.0 else 2 * 23 + 6)


@pytest.mark.parametrize("always", [False, True])
def test_rules_alert_where_no_exporter_judges(always: bool) -> None:
    rules = yaml.safe_load(as_rules([profile(history(8.0))], always=always))["groups"][0]["rules"]
    (alert,) = (rule for rule in rules if rule.get("alert") == "AnomalyDetected")
    assert alert["for"] == "600s"
    assert ("unless" in alert["expr"]) is not always
