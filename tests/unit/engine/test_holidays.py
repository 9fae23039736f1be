from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.config.data_checks import check_holidays
from exporter.config.engine_settings import holidays_of
from exporter.engine.buckets import Holidays, buckets_at
from exporter.engine.contract_samples import DAY, START, STEP, keys, seasonal
from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings

MONDAY = date(2025, 11, 10)
AT = 28 * DAY
assert datetime.fromtimestamp(START + STEP * AT, UTC).date() == MONDAY


def run(holidays: Holidays | None, samples: np.ndarray) -> np.ndarray:
    detection = DetectionSettings(detectors=(ZScore(), Iqr(multiplier=2.5)), quorum=2)
    one = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection, holidays=holidays))
    times = START + STEP * np.arange(len(samples))
    return one.run(times, one.align(keys(samples.shape[1]), samples, START).samples, STEP).score >= 0.5


def test_a_holiday_is_like_a_sunday_and_does_not_teach_the_next_monday() -> None:
    samples = seasonal(36)
    samples[AT : AT + DAY] = samples[AT - DAY : AT]
    with_them = run(Holidays("X", 6, MONDAY.__eq__), samples)
    without = run(None, samples)
    assert with_them[AT : AT + DAY].mean() < 0.02
    assert without[AT : AT + DAY].mean() > 0.3
    assert with_them[AT + DAY :].mean() < 0.03


def test_work_on_a_holiday_stands_out() -> None:
    samples = seasonal(29)
    assert run(Holidays("X", 6, MONDAY.__eq__), samples)[AT:].mean() > 0.3


@pytest.mark.parametrize(
    ("at", "zone", "region", "week"),
    [
        ("2026-12-24T22:59:00+00:00", "Europe/Berlin", "DE", 3 * 24 + 23),
        ("2026-12-24T23:00:00+00:00", "Europe/Berlin", "DE", 6 * 24 + 0),
        ("2026-04-06T00:30:00+00:00", "Europe/Berlin", "DE", 6 * 24 + 2),  # Easter Monday, a week after the clocks.
        ("2026-06-04T10:00:00+00:00", "Europe/Berlin", "DE", 3 * 24 + 12),  # Corpus Christi: not everywhere,
        ("2026-06-04T10:00:00+00:00", "Europe/Berlin", "DE-BY", 6 * 24 + 12),  # but in Bavaria.
        ("2026-11-26T20:00:00+00:00", "America/Los_Angeles", "US-CA", 6 * 24 + 12),
        ("2026-09-23T09:00:00+00:00", "Asia/Riyadh", "SA", 5 * 24 + 12),  # There the weekend ends on Saturday.
    ],
)
def test_days_are_those_of_the_region_and_of_the_zone(at: str, zone: str, region: str, week: int) -> None:
    assert buckets_at(datetime.fromisoformat(at).timestamp(), ZoneInfo(zone), holidays_of(region)).week == week


def test_a_region_that_nobody_knows_is_a_problem() -> None:
    regions = ["DE-BY", "XX", "US-ZZ"]
    queries = [{"baseline": {"holidays": region}} for region in regions]
    unknown, part = check_holidays({"baseline": {"holidays": "DE"}, "queries": queries})
    assert (unknown.loc[1], part.loc[1]) == (1, 2)
    assert "'XX'" in unknown.message
    assert "'US-ZZ'" in part.message
