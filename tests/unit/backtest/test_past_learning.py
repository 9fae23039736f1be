"""Where the queries of a backtest learn: together where one call for all of them saves more than another process."""

from __future__ import annotations

import pytest

from exporter.backtest.past_learning import is_sooner_together
from exporter.config.model import Config


@pytest.mark.parametrize(
    ("series", "workers", "expected"),
    [
        ([1] * 10, 1, True),
        ([1] * 10, 2, True),
        ([1] * 10, 16, True),
        ([6] * 45, 4, True),
        ([1], 4, True),
        ([500, 500], 2, False),
        ([100] * 10, 4, False),
        ([5000, 1, 1], 2, True),
    ],
)
def test_queries_learn_together_where_that_is_sooner(series: list[int], workers: int, expected: bool) -> None:
    queries = [{"name": f"q{number}", "expr": "up"} for number in range(len(series))]
    plans = Config.model_validate({"queries": queries}).plans()
    assert is_sooner_together(plans, series, workers) == expected


def test_queries_with_other_instants_share_no_call() -> None:
    queries = [{"name": f"q{seconds}", "expr": "up", "interval": f"{seconds}s"} for seconds in (10, 20, 60, 120)]
    plans = Config.model_validate({"queries": queries}).plans()
    assert not is_sooner_together(plans, [10] * 4, 4)
    assert not is_sooner_together(plans, [10] * 4, 2)
