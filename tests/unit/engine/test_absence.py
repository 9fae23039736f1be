from __future__ import annotations

import copy
import json
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.engine.contract_samples import DAY, START, STEP, seasonal
from exporter.engine.detectors import Iqr, ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.verdict import Verdict

MONDAY = 28 * DAY


def engine(direction: str = "both", **detection: bool) -> Engine:
    settings = DetectionSettings(detectors=(ZScore(), Iqr(multiplier=2.5)), quorum=2, **detection)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), settings, direction=direction))


def pods(*names: str) -> list[bytes]:
    return [json.dumps({"job": "api", "pod": name}).encode() for name in names]


def run(
    one: Engine, samples: np.ndarray, names: tuple[str, ...], first: int = 0, complete: bool = True
) -> list[Verdict]:
    """Run samples, one by one where it matters that every answer was complete."""
    verdicts = []
    for index, row in enumerate(samples, start=first):
        at = START + STEP * index
        verdicts.append(one.step(at, one.align(pods(*names), row, at).samples, STEP, complete=complete))
    return verdicts


def history(one: Engine, samples: np.ndarray, names: tuple[str, ...], first: int = 0) -> list[Verdict]:
    times = START + STEP * np.arange(first, first + len(samples))
    verdicts = one.run(times, one.align(pods(*names), samples, times[0]).samples, STEP)
    return [verdicts[index] for index in range(len(verdicts))]


def gone(samples: np.ndarray, *columns: int) -> np.ndarray:
    samples = samples.copy()
    samples[:, columns] = np.nan
    return samples


NAMES = ("payments", "checkout", "search")


@pytest.fixture(scope="module")
def four_weeks() -> Engine:
    """An engine that has learned the first four weeks of `seasonal`; `learned` is a copy for one test."""
    one = engine()
    history(one, seasonal(28), NAMES)
    return one


@pytest.fixture
def learned(four_weeks: Engine) -> Engine:
    return copy.deepcopy(four_weeks)


def test_a_series_that_should_be_there_is_missed_and_one_that_is_back_is_not(learned: Engine) -> None:
    samples = seasonal(30)
    one = learned
    assert one.at == START + STEP * (MONDAY - 1)
    found = run(one, gone(samples[MONDAY : MONDAY + 8], 0), NAMES, MONDAY)
    assert [bool(verdict.absent[0]) for verdict in found] == [False, False, True, True, True, True, True, True]
    assert all(verdict.missing_since[0] == one.at - 8 * STEP for verdict in found)
    last = found[-1]
    assert last.score[0] == pytest.approx(1 - 2 ** -(8 / 3))
    assert last.ready[0]
    assert np.isnan(last.observed[0])
    assert last.lower[0] < samples[MONDAY + 7, 0] < last.upper[0]
    assert not last.absent[1:].any()
    (back,) = run(one, samples[MONDAY + 8 : MONDAY + 9], NAMES, MONDAY + 8)
    assert not back.absent.any()
    assert np.isnan(back.missing_since).all()
    assert (back.score < 0.5).all()


def test_an_answer_that_is_not_complete_says_of_no_series_that_it_is_away(learned: Engine) -> None:
    samples = seasonal(30)
    one = learned
    found = run(one, gone(samples[MONDAY : MONDAY + 8], 0), NAMES, MONDAY, complete=False)
    assert all(np.isnan(verdict.missing_since).all() for verdict in found)


def test_an_empty_answer_counts_and_a_gap_in_history_does_not(four_weeks: Engine) -> None:
    for live in (True, False):
        one = copy.deepcopy(four_weeks)
        nothing = np.full((8, 3), np.nan)
        found = (run if live else history)(one, nothing, NAMES, MONDAY)
        assert bool(found[-1].absent.all()) is live
        assert bool(found[-1].absent.any()) is live


def test_working_hours_are_learned() -> None:
    """From 8 to 18 on weekdays; away in the night is usual, away at noon is not."""
    samples = seasonal(34, count=1)
    hour = np.arange(len(samples)) % DAY / (DAY / 24)
    day = np.arange(len(samples)) // DAY % 7
    samples[(hour < 8) | (hour >= 18) | (day >= 5)] = np.nan
    noon = slice(MONDAY + DAY // 2, MONDAY + DAY // 2 + 8)
    other = seasonal(34, count=1)
    both = np.hstack([samples, other])
    both[noon, 0] = np.nan
    found = np.array([verdict.absent for verdict in history(engine(), both, ("office", "other"))])
    assert found[noon, 0].sum() == 6
    assert found.sum() == 6


def test_a_rolling_deploy_misses_nobody() -> None:
    names = tuple(f"web-7d9f8b6c5-{letter}2x7k" for letter in "abcde")
    new = tuple(f"web-5c8d9f7b4-{letter}9q4z" for letter in "fghij")
    samples = seasonal(30, count=10)
    samples[MONDAY + 4 :, :5] = np.nan
    samples[: MONDAY + 2, 5:] = np.nan
    one = engine()
    found = history(one, samples, names + new)
    assert not any(verdict.absent.any() for verdict in found)
    assert np.isnan(found[-1].score[:5]).all()


def test_a_replacement_that_comes_late_ends_it() -> None:
    samples = seasonal(30, count=2)
    samples[MONDAY + 4 :, 0] = np.nan
    samples[: MONDAY + 20, 1] = np.nan
    one = engine()
    names = ("db-0", "other-1")
    history(one, np.hstack([samples[:MONDAY, :1], seasonal(28, count=1)]), (names[0], "else"))
    late = samples[MONDAY:]
    found = run(one, late, (names[0], "db-1"), MONDAY)
    said = [bool(verdict.absent[0]) for verdict in found]
    assert said[6:20] == [True] * 14
    assert not any(said[20:])


def test_one_that_comes_and_goes_by_habit_is_not_missed() -> None:
    samples = seasonal(42, count=2)
    for day in range(28, 42):
        samples[day * DAY + 40 : day * DAY + 48, 0] = np.nan
    found = np.array([verdict.absent[0] for verdict in history(engine(), samples, ("a", "b"))])
    by_day = found.reshape(-1, DAY).any(axis=1)
    assert by_day[28:32].sum() >= 3
    assert not by_day[33:].any()


def test_what_is_away_for_a_day_is_gone_and_what_is_said_to_be_gone_at_once(learned: Engine) -> None:
    samples = seasonal(32, count=3)
    samples[MONDAY:, :2] = np.nan
    one = learned
    run(one, samples[MONDAY : MONDAY + 10], NAMES, MONDAY)
    one.accept(np.array([1]), one.at)
    found = np.array([verdict.absent for verdict in run(one, samples[MONDAY + 10 :], NAMES, MONDAY + 10)])
    assert found[: DAY - 12, 0].all()
    assert not found[DAY:, 0].any()
    assert not found[:, 1:].any()


@pytest.mark.parametrize("switch", ["missing_series", "never_zero"])
def test_each_has_its_switch(switch: str) -> None:
    samples = lognormal(30)
    samples[MONDAY + 10 :, 0] = np.nan if switch == "missing_series" else 0.0
    for on in (True, False):
        one = engine(**{switch: on})
        history(one, samples[:MONDAY], NAMES)
        found = run(one, samples[MONDAY : MONDAY + 20], NAMES, MONDAY)
        assert any(verdict.absent[0] or verdict.zero[0] for verdict in found) is on
        if not on:
            assert all(np.isnan(verdict.missing_since).all() for verdict in found)


def lognormal(days: int) -> np.ndarray:
    """Values that vary so much that zero is within two standard deviations."""
    return np.exp(np.random.default_rng(5).normal(0.0, 0.8, (days * DAY, 3)))


def test_a_value_that_is_never_zero_and_is_zero_is_found() -> None:
    samples = lognormal(30)
    samples[MONDAY + 10 :, 0] = 0.0
    samples[MONDAY + 10, 1] = 0.0
    for direction in ("both", "below", "above"):
        found = history(engine(direction), samples, NAMES)
        zero = np.array([verdict.zero for verdict in found])
        if direction == "above":
            assert not zero.any()
            continue
        assert not zero[: MONDAY + 10].any()
        assert zero[MONDAY + 12 : MONDAY + DAY, 0].all()
        assert not zero[:, 1:].any()
        assert found[MONDAY + 20].score[0] >= 0.5


def test_zeros_that_happen_are_learned_by_the_hour_of_the_week() -> None:
    """Zero at night; at noon it is not, though zero is known."""
    samples = 50.0 + 5.0 * np.random.default_rng(1).standard_normal((30 * DAY, 1))
    hour = np.arange(len(samples)) % DAY / (DAY / 24)
    samples[hour < 6] = 0.0
    samples[MONDAY + DAY // 2 : MONDAY + DAY // 2 + 8] = 0.0
    zero = np.array([verdict.zero[0] for verdict in history(engine(), samples, ("a",))])
    assert zero[MONDAY + DAY // 2 : MONDAY + DAY // 2 + 8].sum() == 6
    assert zero.sum() == 6


def test_sparse_counts_stay_quiet() -> None:
    for rate in (0.5, 4.0, 8.0):
        samples = np.random.default_rng(int(10 * rate)).poisson(rate, (30 * DAY, 10)).astype(float)
        names = tuple(f"s{chr(97 + i)}" for i in range(10))
        zero = np.array([verdict.zero for verdict in history(engine(), samples, names)])
        assert zero.sum(axis=0).max() <= 1, rate


def test_an_absence_is_kept_with_what_was_learned(learned: Engine) -> None:
    samples = seasonal(30)
    one, other = learned, engine()
    run(one, gone(samples[MONDAY : MONDAY + 5], 0), NAMES, MONDAY)
    saved = one.checkpoint()
    assert other.restore(saved.at, saved.parts, saved.series)
    rest = gone(samples[MONDAY + 5 : MONDAY + 9], 0)
    a, b = run(one, rest, NAMES, MONDAY + 5), run(other, rest, NAMES, MONDAY + 5)
    assert all(np.array_equal(x.score, y.score, equal_nan=True) and x.absent[0] for x, y in zip(a, b, strict=True))


def test_pieces_of_any_size_say_the_same() -> None:
    samples = lognormal(40)
    rng = np.random.default_rng(2)
    samples[rng.random(samples.shape) < 0.002] = 0.0
    for day in (29, 30, 33):
        samples[day * DAY + 20 : day * DAY + 40, 0] = np.nan
        samples[day * DAY + 50 : day * DAY + 60, 1] = 0.0
    one, other = engine(), engine()
    together = history(one, samples, NAMES)
    at = 0
    while at < len(samples):
        size = int(rng.integers(1, 30))
        for verdict, whole in zip(history(other, samples[at : at + size], NAMES, at), together[at:], strict=False):
            for name in ("score", "missing_since", "absent", "zero", "expected", "votes", "ready"):
                assert np.array_equal(getattr(verdict, name), getattr(whole, name), equal_nan=True), name
        at += size
