"""Faults of one service over time, through the evaluators of the daemon: how many alerts there are, and whose."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pytest

from tests.replays import alerts_of

FloatArray = npt.NDArray[np.float64]
Way = Callable[[FloatArray], FloatArray]

START, INTERVAL, SLOTS = 1_790_000_040.0, 10.0, 80
LEVELS = {"cpu": 45.0, "latency": 120.0, "errors": 2.0}
SERVICES = [{"service": "s0"}, {"service": "s1"}]


def noise(at: FloatArray, salt: float) -> FloatArray:
    """Return a number from -0.5 to 0.5 that follows from the time."""
    x = np.sin(at * 12.9898 + 78.233 * salt) * 43758.5453
    return x - np.floor(x) - 0.5


def played(size: float, **ways: Way) -> list[tuple[str, bool]]:
    """Return the alerts of service s0 whose metrics go these ways: the query or group, and whether it fires still."""

    def value(query: str, labels: Mapping[str, str], times: FloatArray) -> FloatArray:
        salt = 1.0 + 10 * list(LEVELS).index(query) + (labels["service"] == "s1")
        calm = LEVELS[query] * (1.0 + size * noise(times, salt))
        slots = (times - START) / INTERVAL
        return calm * ways[query](slots) if query in ways and labels["service"] == "s0" else calm

    rule = {"for": "40s"}
    config = {
        "global": {"interval": "10s"},
        "baseline": {"window": "1d", "min_history": "1h"},
        "queries": [{"name": name, "expr": name, "alert": rule} for name in LEVELS],
        "groups": [{"name": "site", "by": ["service"], "queries": list(LEVELS), "alert": rule}],
    }
    alerts = alerts_of(config, SERVICES, value, START, START + SLOTS * INTERVAL)
    assert all(alert.labels["service"] == "s0" for alert in alerts)
    return sorted((alert.name, alert.resolved_at is None) for alert in alerts)


def load(slots: FloatArray) -> FloatArray:
    return np.clip(1.0 + (slots - 10.0) / 20.0, 1.0, 2.0)


def test_one_metric_that_is_off_is_one_alert_of_its_query_and_one_of_its_group() -> None:
    assert played(0.12, cpu=lambda slots: np.where(slots >= 15, 2.0, 1.0)) == [("(group) site", True), ("cpu", True)]


@pytest.mark.parametrize("jumps", [False, True])
def test_under_a_load_a_member_that_climbs_is_quiet_and_one_that_jumps_is_the_only_alert(jumps: bool) -> None:
    def beyond(slots: FloatArray) -> FloatArray:
        climb = np.clip(1.0 + 0.9 * (slots - 35.0) / 25.0, 1.0, 1.7)
        return load(slots) * (np.where(slots >= 40, 1.9, 1.0) if jumps else climb)

    assert played(0.05, cpu=load, errors=load, latency=beyond) == ([("latency", True)] if jumps else [])
