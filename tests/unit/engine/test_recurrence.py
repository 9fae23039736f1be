from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.recurrence import BEYOND, Runs
from exporter.engine.settings import BaselineSettings, DetectionSettings

ROWS = slice(0, 3)
DAY = 24


def noted(*days: int, severity: float = 4.0, below: bool = False) -> Runs:
    """Runs of the first of three series, from 20:00 to 22:00 of some days."""
    runs = Runs()
    runs.grow(3)
    for day in days:
        for hour in range(DAY * day + 20, DAY * day + 23):
            runs.normal(ROWS, hour)
            sides = np.array([[severity, 0.5, np.nan]]), np.array([[0.0, 0.5, np.nan]])
            runs.note(ROWS, hour, *(sides[::-1] if below else sides))
    return runs


@pytest.mark.parametrize("day", [90, 92])
def test_what_came_at_the_ends_of_two_months_is_normal_at_the_end_of_the_third(day: int) -> None:
    above, below = noted(30, 61).normal(ROWS, DAY * day + 20).tolist()
    assert above == pytest.approx([4.0 * BEYOND, 1.0, 1.0])
    assert below == [1.0, 1.0, 1.0]  # An outage at the end of the month is one.


@pytest.mark.parametrize(("hour", "normal"), [(20, True), (23, True), (24 + 2, True), (24 + 10, False), (17, False)])
def test_a_run_that_ended_early_in_a_month_is_as_long_as_that_of_the_other(hour: int, normal: bool) -> None:
    runs = noted(30)
    for each in (*range(DAY * 30 + 23, DAY * 31 + 3), DAY * 61 + 20, DAY * 61 + 21):
        runs.note(ROWS, each, np.array([[4.0, 0.0, 0.0]]), np.zeros((1, 3)))
    assert bool(runs.normal(ROWS, DAY * 91 + hour)[0, 0] > 1.0) is normal


def test_what_fell_at_the_ends_of_two_months_may_fall_again() -> None:
    above, below = noted(30, 61, below=True).normal(ROWS, DAY * 91 + 20).tolist()
    assert below == pytest.approx([4.0 * BEYOND, 1.0, 1.0])
    assert above == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("dates", "date", "normal"),
    [
        (("2027-01-29", "2027-02-26"), "2027-03-31", True),  # The last working days, 28 and 33 days apart.
        (("2026-09-30", "2026-10-30"), "2026-11-30", True),
        (("2027-01-29", "2027-02-26"), "2027-03-30", False),  # The day before.
        (("2026-12-01", "2027-01-01"), "2027-02-01", True),  # The first ones.
        (("2027-03-01", "2027-04-01"), "2027-05-03", True),
        (("2027-03-01", "2027-04-01"), "2027-05-04", False),
    ],
)
def test_first_and_last_working_days_are_compared_as_such(dates: tuple[str, ...], date: str, normal: bool) -> None:
    days = [int(np.datetime64(each, "D").astype(int)) for each in (*dates, date)]
    assert bool(noted(*days[:-1]).normal(ROWS, DAY * days[-1] + 20)[0, 0] > 1.0) is normal


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
    assert noted(*days).normal(ROWS, hour).tolist() == [[1.0, 1.0, 1.0]] * 2


def test_an_incident_a_week_does_not_push_out_the_month_before() -> None:
    assert noted(30, 37, 44, 51, 58, 61, 68, 75, 82).normal(ROWS, DAY * 91 + 21)[0, 0] > 4.0


def test_a_series_whose_row_is_given_away_takes_its_runs_with_it() -> None:
    runs = noted(30, 61)
    runs.forget(np.array([0]))
    assert runs.normal(ROWS, DAY * 91 + 20)[0, 0] == 1.0


def test_a_batch_of_the_last_working_day_is_quiet_from_the_third_on_and_an_outage_with_it_is_found() -> None:
    """Replays 112 days, with samples of an hour."""
    step = 3600.0
    begin = np.datetime64("2027-01-10", "s").astype(float)
    times = begin + step * np.arange(112 * 24)
    rng = np.random.default_rng(4)
    hour = times % 86400.0 / 3600.0
    samples = ((100.0 + 30.0 * np.sin(2.0 * np.pi * hour / 24.0))[:, None]) * (
        1.0 + 0.03 * rng.standard_normal((len(times), 3))
    )
    ends = ["2027-01-29", "2027-02-26", "2027-03-31", "2027-04-30"]
    batches = [int((np.datetime64(end, "s").astype(float) - begin) / step) + 20 for end in ends]
    for number, first in enumerate(batches):
        samples[first : first + 3, 0] *= 4.0
        samples[first : first + 3, 1] *= 4.0 if number < 3 else 0.02
    detection = DetectionSettings(detectors=(ZScore(), Iqr(multiplier=2.5)), quorum=2)
    engine = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))
    keys = [b'{"series":"%d"}' % index for index in range(3)]
    score = engine.run(times, engine.align(keys, samples, times[0]).samples, step).score
    batch = np.array([score[first : first + 3] for first in batches])
    assert (batch[1, :, :2].max(axis=0) >= 0.5).all()  # The second time it is news still.
    assert (batch[2, :, :2] < 0.5).all()
    assert (batch[3, :, 0] < 0.5).all()
    assert batch[3, :, 1].max() >= 0.5


def test_of_equally_severe_samples_of_an_hour_the_first_one_says_the_side_however_many_come_together() -> None:
    above = np.array([[0.0, 7e4, 2.0], [9e4, 0.0, 3.0]])
    below = np.array([[7e4, 0.0, 0.0], [0.0, 9e4, 1.0]])
    together, each = Runs(), Runs()
    for runs, parts in ((together, [slice(0, 2)]), (each, [slice(0, 1), slice(1, 2)])):
        runs.grow(3)
        for part in parts:
            runs.note(ROWS, 20, above[part], below[part])
        assert np.sign(runs.arrays()["run_sizes"][0]).tolist() == [-1.0, 1.0, 1.0]
    assert np.array_equal(together.arrays()["run_sizes"], each.arrays()["run_sizes"])
