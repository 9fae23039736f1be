"""How many of the alerts that were counted are false: what a curve of alerts over thresholds says of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from exporter.engine.calibration import GRID, LEVELS, Budget, Calibration, calibrate, with_false_rate
from exporter.engine.false_alerts import FalseRate, JudgedAlerts
from exporter.engine.seconds import DAY, WEEK

NOBODY = JudgedAlerts()
NOISE = np.exp(-(GRID - GRID[0]) / 0.1).astype(np.float64)
"""Alerts left at each threshold, where the noise has an exponential tail."""
INCIDENTS = np.exp(-np.maximum(GRID - 1.0, 0.0) / 1.5).astype(np.float64)
"""Of all sizes."""


def rate_of(curve: np.ndarray, weeks: float = 4.0, judged: JudgedAlerts = NOBODY) -> FalseRate:
    """Return the false alerts a week of a query without a budget."""
    before = calibrate(curve, weeks * WEEK, weeks * WEEK, Budget(None, 1, 1, 300.0))
    assert (before.threshold, before.fitted) == (1.0, False)
    found = with_false_rate(before, curve, weeks * WEEK, np.ones(LEVELS), judged, 1.0).false
    return FalseRate(found.expected * WEEK, found.lower * WEEK, found.upper * WEEK)


@pytest.mark.parametrize("peaks", [4000.0, 40_000.0])
def test_where_there_is_only_noise_nearly_every_alert_is_false(peaks: float) -> None:
    true = peaks / 4.0 * math.exp(-(1.0 - float(GRID[0])) / 0.1)
    found = rate_of(peaks * NOISE)
    assert found.expected == pytest.approx(true, rel=0.25)
    assert found.lower < true < found.upper


def test_a_heavy_tail_is_noise_too() -> None:
    curve = 1600.0 * (1.0 + 0.3 * (GRID.astype(np.float64) - 0.3) / 0.2) ** (-1.0 / 0.3)
    counted = float(np.interp(1.0, GRID, curve)) / 4.0
    assert counted / 2.0 < rate_of(curve).expected <= counted


def test_incidents_are_no_false_alerts_but_might_be() -> None:
    quiet = rate_of(4000.0 * NOISE)
    loud = rate_of(4000.0 * NOISE + 12.0 * INCIDENTS)
    assert loud.expected < 1.0 + quiet.expected
    assert loud.upper > 3.0 > loud.expected


@pytest.mark.parametrize("height", [3.0, 10.0, 25.0])
def test_outages_that_are_far_from_all_noise_are_no_false_alerts(height: float) -> None:
    outages = np.where(height >= GRID, 8.0, 0.0)
    assert rate_of(4000.0 * NOISE + outages).expected < 1.0 + rate_of(4000.0 * NOISE).expected


def test_where_little_was_seen_below_the_threshold_an_alert_counts_as_a_false_one() -> None:
    """A series of one sample an hour has a handful of peaks: what is noise cannot be seen."""
    assert rate_of(4.0 * INCIDENTS).expected == pytest.approx(0.8, abs=0.2)
    assert rate_of(4.0 * INCIDENTS + 400.0 * NOISE).expected < 0.5


def test_a_quiet_query_has_a_rate_that_falls_with_its_history() -> None:
    nothing = np.zeros(LEVELS)
    short, long = rate_of(nothing, weeks=1.0), rate_of(nothing, weeks=10.0)
    assert 0.0 < long.expected < short.expected < 0.2
    assert long.upper == pytest.approx(0.3, rel=0.01)  # Three over the number of weeks: the rule of three.


def test_what_people_said_counts_for_more_than_what_severities_look_like() -> None:
    curve = 4000.0 * NOISE + 12.0 * INCIDENTS
    neutral = rate_of(curve).expected
    confirmed, useless = (rate_of(curve, judged=each).expected for each in (JudgedAlerts(0, 12), JudgedAlerts(12, 0)))
    assert confirmed < 0.6 * neutral
    assert useless > 1.5 * neutral
    assert useless <= rate_of(curve).upper


def test_clumps_make_the_interval_wider() -> None:
    curve = 4000.0 * NOISE
    before = Calibration(history=4 * WEEK)
    alone, clumped = (
        with_false_rate(before, curve, 4 * WEEK, np.full(LEVELS, clumps), NOBODY, 1.0).false for clumps in (1.0, 3.0)
    )
    assert clumped.expected == alone.expected
    assert clumped.lower < alone.lower < alone.upper < clumped.upper


def test_no_rate_is_stated_before_three_days() -> None:
    few, enough = (Calibration(history=days * DAY) for days in (2.9, 3.1))
    rates = [with_false_rate(each, NOISE, 3 * DAY, np.ones(LEVELS), NOBODY, 1.0).false for each in (few, enough)]
    assert [math.isnan(rate.expected) for rate in rates] == [True, False]


@pytest.mark.parametrize("curve", [np.full(LEVELS, 100.0), np.where(GRID < 1.0, 100.0, 0.0), np.zeros(LEVELS)])
def test_odd_curves_give_finite_rates(curve: np.ndarray) -> None:
    found = rate_of(curve)
    assert 0.0 <= found.lower <= found.expected <= found.upper < 100.0
