"""What carries a change, from the values before it and in it."""

from __future__ import annotations

import numpy as np
import pytest

from exporter.alerting.explanation.why_input import DrillDownInput
from exporter.evaluation.drill_down import compared
from exporter.evaluation.inquiries import FiringAlert
from exporter.promql.drill_down import DrillDownQuery

TIMES = np.arange(10.0) * 60.0
BEGIN = 300.0


def split(before: dict[str, float], now: dict[str, float], *, observed: float, expected: float) -> DrillDownInput:
    alert = FiringAlert({}, {}, since=BEGIN, at=540.0, observed=observed, expected=expected)
    values = {
        f'{{"version":"{name}"}}'.encode(): [(TIMES, np.where(TIMES < BEGIN, before[name], now[name]))] for name in now
    }
    return compared(DrillDownQuery("", ratio=False), ("version",), values, alert, during=BEGIN, unit=None)


def test_one_version_carries_the_change() -> None:
    result = split({"v1": 140.0, "v2": 140.0}, {"v1": 140.0, "v2": 340.0}, observed=480.0, expected=280.0)
    assert [carrier.values for carrier in result.carriers] == [{"version": "v2"}]


def test_all_versions_carry_the_change() -> None:
    result = split({"v1": 140.0, "v2": 140.0}, {"v1": 240.0, "v2": 240.0}, observed=480.0, expected=280.0)
    assert (result.failed, result.carriers, result.leaves) == ("", (), 2)


@pytest.mark.parametrize(("value", "expected"), [(340.0, 280.0), (10.0, 280.0)], ids=["above", "below"])
def test_an_anomaly_that_is_older_than_its_alert_is_spread_over_nothing(value: float, expected: float) -> None:
    same = {"v1": 140.0, "v2": value}
    result = split(same, same, observed=140.0 + value, expected=expected)
    assert result.failed == "the values compared with are already as they are now"
