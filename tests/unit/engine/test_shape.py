"""Shapes of anomalies, from the samples and the hours before them."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from exporter.engine.contract_samples import DAY, START, STEP, keys, seasonal
from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.recent import HOURS
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.shape import shape_of

QUIET = 0.1 * np.array([1, -2, 3, 0, -1, 2, -3, 1, 0, 2, -2, 1, 0, -1, 3, -1], float)
"""Deviations in half-widths of the band of a series that is well."""
CALM = np.tile(QUIET, 3) / 3.0


def kind(last: Sequence[float], hours: np.ndarray = CALM, *, adds_up: bool = False) -> str | None:
    samples = np.append(QUIET, last)[-len(QUIET) :]
    shape = shape_of(samples, samples, hours, adds_up=adds_up)
    return None if shape is None else shape.kind


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([3.0], "jump"),
        ([0.8, 3.0, 3.1, 2.9], "jump"),
        ([0.4, 0.8, 1.2, 1.6, 2.0, 2.4], "build-up"),
        ([-3.0], "drop"),
        ([-0.5, -1.0, -1.5, -2.0], "drop"),
        ([2.0, -1.8, 1.5, -2.2, 2.1, -1.7, 1.9, -2.0], "noisier"),
        ([0.2] * 8, "frozen"),
        # A constant far outside has jumped there.
        ([4.0] * 8, "jump"),
    ],
)
def test_the_newest_samples_say_how_it_came_about(last: list[float], expected: str) -> None:
    assert kind(last) == expected


REACH = st.floats(-3.0, 3.0) | st.just(np.nan) | st.sampled_from([0.45, 0.5, -0.45, -0.5, 0.0])


@given(arrays(float, 16, elements=REACH), arrays(float, HOURS, elements=REACH), st.booleans())
def test_whatever_the_samples_were_there_is_a_shape_or_none(last: np.ndarray, hours: np.ndarray, adds_up: bool) -> None:
    shape = shape_of(last, last, hours, adds_up=adds_up)
    assert shape is None or shape.kind in {"jump", "build-up", "drop", "drift", "frozen", "noisier"}


def test_a_sample_that_barely_left_the_band_has_no_shape() -> None:
    # The last one inside is nearly as far out as those after it.
    assert kind([0.0, 0.48, 0.5, 0.52]) is None


def ramp(hours: int, to: float) -> np.ndarray:
    """Return the deviations of hours that were usual and have moved since `hours` ago."""
    return CALM + to * np.clip((np.arange(HOURS) - (HOURS - 1 - hours)) / hours, 0.0, None)


@pytest.mark.parametrize("to", [0.8, 2.5, -1.5])
@pytest.mark.parametrize("begun", [8, 20, 40])
def test_a_drift_is_told_from_what_to_what_and_since_when(begun: int, to: float) -> None:
    hours = ramp(begun, to)
    shape = shape_of(QUIET + to, QUIET + to, hours, adds_up=False)
    assert shape is not None
    assert shape.kind == "drift"
    assert shape.hours == pytest.approx(begun, abs=2)
    assert (shape.before, shape.after) == (pytest.approx(0.0, abs=0.1), pytest.approx(to, abs=0.1))


@pytest.mark.parametrize("adds_up", [False, True])
def test_a_step_is_no_drift(adds_up: bool) -> None:
    hours = CALM + np.where(np.arange(HOURS) >= HOURS - 20, 2.0, 0.0)
    assert kind([2.0] * 16, hours, adds_up=adds_up) != "drift"
    assert kind([0.1] * 16, CALM, adds_up=adds_up) != "drift"


def test_a_way_that_is_older_than_the_samples_is_seen_by_the_hours() -> None:
    outside = list(2.0 + QUIET)
    assert kind(outside, np.append(CALM[2:], [2.0, 2.0])) == "jump"
    assert kind(outside, np.append(CALM[3:], [0.8, 1.4, 2.0])) == "build-up"
    assert kind(outside, np.full(HOURS, 2.0)) is None


def test_without_samples_nothing_is_said() -> None:
    none = np.full(16, np.nan)
    assert shape_of(none, none, np.full(HOURS, np.nan), adds_up=True) is None


def engine() -> Engine:
    detection = DetectionSettings(detectors=(ZScore(), Iqr()), quorum=2)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))


def test_the_engine_knows_a_drift_of_a_day_in_source_units_also_after_a_restart() -> None:
    samples = 1000.0 * seasonal(20, count=2)
    hours = np.arange(len(samples)) * STEP / 3600.0
    width = 0.2 * samples[:, 0].mean()
    samples[:, 1] += width * np.clip((hours - hours[-1] + 20.0) / 20.0, 0.0, None)
    times = START + STEP * np.arange(len(samples))
    first = engine()
    verdicts = first.run(times, first.align(keys(2), samples, times[0]).samples, STEP)
    half = float(verdicts.upper[-1, 1] - verdicts.lower[-1, 1]) / 2.0
    found = first.details(np.array([1])).shape_of(1, half, adds_up=True)
    assert found is not None
    shape, level = found
    assert shape.kind == "drift"
    assert shape.hours == pytest.approx(20, abs=3)
    assert half * (shape.after - shape.before) == pytest.approx(width, rel=0.3)
    assert level == pytest.approx(samples[: -2 * DAY, 1].mean(), rel=0.1)
    restored, checkpoint = engine(), first.checkpoint()
    assert restored.restore(checkpoint.at, checkpoint.parts, checkpoint.series)
    assert restored.details(np.array([1])).shape_of(1, half, adds_up=True) == found


def test_samples_one_by_one_leave_what_all_at_once_leave() -> None:
    samples = seasonal(3, count=2)
    samples[5:200:7, 1] = np.nan
    times = START + STEP * np.arange(len(samples))
    together, apart = engine(), engine()
    together.run(times, together.align(keys(2), samples, times[0]).samples, STEP)
    for index, at in enumerate(times):
        apart.run(times[[index]], apart.align(keys(2), samples[[index]], at).samples, STEP)
    for row in range(2):
        ours, theirs = (one._state.recent.of(row) for one in (together, apart))
        for left, right in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(left, right)
