from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.baseline import Baseline
from exporter.engine.buckets import BUCKETS, BucketIndex, buckets_at

DAY = 86400.0
WEEK = 7 * DAY
MONDAY = 1_760_313_600.0
UTC = ZoneInfo("UTC")


@pytest.mark.parametrize(
    ("zone", "local", "hour_of_week"),
    [
        ("UTC", "2026-11-22T14:59:59", 6 * 24 + 14),
        ("UTC", "2026-11-23T00:00:00", 0),
        ("Europe/Berlin", "2026-03-29T01:59:59", 6 * 24 + 1),
        ("Europe/Berlin", "2026-03-29T03:00:00", 6 * 24 + 3),
        ("Europe/Berlin", "2026-10-25T02:30:00", 6 * 24 + 2),
        ("America/New_York", "2026-03-08T03:30:00", 6 * 24 + 3),
        ("America/New_York", "2026-11-01T01:30:00", 6 * 24 + 1),
        ("Australia/Lord_Howe", "2026-04-05T12:15:00", 6 * 24 + 12),
        ("Asia/Kathmandu", "2024-02-29T23:59:59", 3 * 24 + 23),
        ("UTC", "2026-12-31T23:00:00", 3 * 24 + 23),
    ],
)
def test_bucket_follows_the_wall_clock(zone: str, local: str, hour_of_week: int) -> None:
    at = datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone)).timestamp()
    assert buckets_at(at, ZoneInfo(zone)) == BucketIndex(hour_of_week, 168 + hour_of_week % 24, BUCKETS - 1)


@pytest.mark.parametrize("fold", [0, 1], ids=["summer", "winter"])
def test_both_hours_of_the_long_night_share_a_bucket(fold: int) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    at = datetime(2026, 10, 25, 2, 30, tzinfo=berlin, fold=fold).timestamp()
    assert buckets_at(at, berlin).week == 6 * 24 + 2


def test_every_hour_of_a_year_has_a_bucket() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    seen = {buckets_at((start + timedelta(hours=h)).timestamp(), berlin).week for h in range(366 * 24)}
    assert seen == set(range(168))


def learned(values: np.ndarray, *, step: float = 300.0, window: float = 4 * WEEK, start: float = MONDAY) -> Baseline:
    baseline = Baseline(window)
    baseline.grow(values.shape[1])
    for index, row in enumerate(values):
        baseline.learn(buckets_at(start + index * step, UTC), slice(None), row[None], step)
    return baseline


def test_statistics_of_a_bucket_are_those_of_what_was_learned() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(10.0, 2.0, (12 * 24 * 7 * 3, 50))
    stats = learned(values).stats(buckets_at(MONDAY, UTC), slice(None))
    bucket = values[[week * 2016 + i for week in range(3) for i in range(12)]]
    np.testing.assert_allclose(stats.mean, bucket.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(stats.std, bucket.std(axis=0), rtol=1e-4)
    exact = np.subtract(*np.quantile(bucket, [0.75, 0.25], axis=0))
    assert 0.9 < np.median((stats.q3 - stats.q1) / exact) < 1.1
    np.testing.assert_allclose(stats.weight, 3 * 3600.0)


@pytest.mark.parametrize(
    ("days", "weight_in_hours"),
    [(0.5, 12.0), (2, 48.0), (3, 3.0), (6, 6.0), (7, 7.0), (14, 2.0), (21, 3.0)],
    ids=["all", "all-2d", "hour-of-day", "hour-of-day-6", "hour-of-day-7", "hour-of-week", "hour-of-week-3"],
)
def test_the_finest_bucket_that_has_seen_enough_is_used(days: float, weight_in_hours: float) -> None:
    baseline = learned(np.ones((int(days * 288), 1)))
    stats = baseline.stats(buckets_at(MONDAY + 12 * 3600 if days < 1 else MONDAY, UTC), slice(None))
    assert stats.weight[0] == pytest.approx(weight_in_hours * 3600)


def test_memory_is_the_window() -> None:
    """After the level moved, the mean has followed by the time the window has passed."""
    values = np.concatenate([np.zeros((2016 * 8, 1)), np.ones((2016 * 8, 1))])
    stats = learned(values, window=4 * WEEK).stats(buckets_at(MONDAY, UTC), slice(None))
    assert 0.8 < stats.mean[0] < 0.95  # 1 - e^-2: two windows


def test_backfill_and_live_samples_weigh_by_time() -> None:
    coarse = learned(np.full((2016 * 3, 1), 4.0), step=300.0)
    fine = learned(np.full((2016 * 15, 1), 4.0), step=60.0)
    place = buckets_at(MONDAY, UTC)
    assert coarse.stats(place, slice(None)).weight[0] == fine.stats(place, slice(None)).weight[0]


def test_samples_learned_together_count_like_samples_learned_one_by_one() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(10.0, 2.0, (2016 * 3, 30))
    place = buckets_at(MONDAY, UTC)
    one, many = learned(values), Baseline(4 * WEEK)
    many.grow(30)
    for index in range(0, len(values), 12):
        many.learn(buckets_at(MONDAY + index * 300.0, UTC), slice(None), values[index : index + 12], 300.0)
    a, b = one.stats(place, slice(None)), many.stats(place, slice(None))
    np.testing.assert_allclose(b.mean, a.mean, rtol=1e-5)
    np.testing.assert_allclose(b.std, a.std, rtol=1e-4)
    np.testing.assert_allclose(b.weight, a.weight)
    assert 0.8 < np.median((b.q3 - b.q1) / (a.q3 - a.q1)) < 1.25


def test_missing_samples_change_nothing() -> None:
    baseline = learned(np.arange(2016.0 * 3)[:, None])
    place = buckets_at(MONDAY, UTC)
    before = baseline.bucket(place.week, 1).copy()
    baseline.learn(place, slice(None), np.array([[np.nan]]), 300.0)
    assert np.array_equal(before, baseline.bucket(place.week, 1))


def test_only_touched_buckets_are_written() -> None:
    baseline = learned(np.ones((12, 1)))
    assert baseline.touched == set(buckets_at(MONDAY, UTC))


def test_forgotten_rows_start_anew() -> None:
    baseline = learned(np.ones((2016 * 3, 2)))
    baseline.forget(np.array([1]))
    stats = baseline.stats(buckets_at(MONDAY, UTC), slice(None))
    assert stats.weight[0] > 0
    assert np.isnan(stats.mean[1])
    assert sum(baseline.bucket(index, 2)[:, 1].sum() for index in range(BUCKETS)) == 0


@pytest.mark.parametrize("week", [0, 1])
@pytest.mark.parametrize("factor", [3.0, 0.2])
def test_an_incident_while_the_hours_of_the_week_are_learned_leaves_no_trace(week: int, factor: float) -> None:
    """Weekends are at half: they are as far from the hour of the day as an incident, and are learned."""
    baseline, rows, step = Baseline(30 * DAY), slice(0, 1), 900.0
    baseline.grow(1)
    times = MONDAY + step * np.arange(3 * 7 * 96)
    days = np.arange(len(times)) // 96
    level = 100.0 * np.where(days % 7 >= 5, 0.5, 1.0) + np.random.default_rng(3).standard_normal(len(times))
    incident = slice((7 * week + 2) * 96 + 48, (7 * week + 2) * 96 + 60)
    level[incident] *= factor
    for begin in range(0, len(times), 4):
        place = buckets_at(float(times[begin]), UTC)
        baseline.learn(place, rows, level[begin : begin + 4, None], step)
    for day, hour, expected in ((2, 13, 100.0), (5, 13, 50.0)):
        stats = baseline.stats(buckets_at(MONDAY + day * DAY + hour * 3600, UTC), rows)
        assert stats.fine is not None
        assert stats.fine.all()
        assert stats.mean[0] == pytest.approx(expected, rel=0.02)
        assert stats.std[0] < 3.0
