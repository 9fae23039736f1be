from __future__ import annotations

import numpy as np
import pytest

from exporter.engine.recurrence import BEYOND, Runs

ROWS = slice(0, 3)
DAY = 24


def noted(*days: int, severity: float = 4.0) -> Runs:
    """Runs of the first of three series, from 20:00 to 22:00 of some days."""
    runs = Runs()
    runs.grow(3)
    for day in days:
        for hour in range(DAY * day + 20, DAY * day + 23):
            runs.normal(ROWS, hour)
            runs.note(ROWS, hour, np.array([[severity, 0.5, np.nan]]))
    return runs


@pytest.mark.parametrize("day", [90, 92])
def test_what_came_at_the_ends_of_two_months_is_normal_at_the_end_of_the_third(day: int) -> None:
    assert noted(30, 61).normal(ROWS, DAY * day + 20).tolist() == pytest.approx([4.0 * BEYOND, 1.0, 1.0])


@pytest.mark.parametrize(
    ("days", "hour"),
    [
        ((61,), DAY * 91 + 20),  # Once is no habit.
        ((30, 61), DAY * 91 + 12),  # Another time of the day.
        ((30, 61), DAY * 85 + 20),  # Another day of the month.
        ((30, 40, 61), DAY * 71 + 20),  # A month and three weeks ago.
    ],
)
def test_other_anomalies_are_not_normal(days: tuple[int, ...], hour: int) -> None:
    assert noted(*days).normal(ROWS, hour).tolist() == [1.0, 1.0, 1.0]


def test_an_incident_a_week_does_not_push_out_the_month_before() -> None:
    assert noted(30, 37, 44, 51, 58, 61, 68, 75, 82).normal(ROWS, DAY * 91 + 21)[0] > 4.0


def test_a_series_whose_row_is_given_away_takes_its_runs_with_it() -> None:
    runs = noted(30, 61)
    runs.forget(np.array([0]))
    assert runs.normal(ROWS, DAY * 91 + 20)[0] == 1.0
