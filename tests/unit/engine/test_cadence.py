"""Live samples come more often than history was read: all are judged, one of each step is learned."""

from __future__ import annotations

import copy
import functools
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from benchmarks.interval import KINDS, measure
from exporter.engine import calibration
from exporter.engine.cadence import YOUNG, LearningGrid, cadence_of
from exporter.engine.calibration import Budget
from exporter.engine.contract_samples import START, STEP, copied, equal, keys, seasonal
from exporter.engine.detectors import Counts, IsolationForest, Stl
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.seconds import DAY, WEEK
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.young import FEW

FINE = STEP / 5
DAYS, NOVELTY = 22, 2
ALL = DetectionSettings(detectors=(*DetectionSettings().detectors, Stl(), IsolationForest()), quorum=3)


def engine(cadence: float | None = STEP, detection: DetectionSettings = ALL, budget: Budget | None = None) -> Engine:
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection, budget=budget, cadence=cadence))


def taught(detection: DetectionSettings = ALL, budget: Budget | None = None) -> tuple[Engine, float]:
    """Return an engine that has learned three weeks in steps of the cadence, and its newest instant."""
    return copy.deepcopy(_taught(detection, budget))


@functools.cache
def _taught(detection: DetectionSettings, budget: Budget | None) -> tuple[Engine, float]:
    one, samples = engine(STEP, detection, budget), seasonal(DAYS)
    times = START + STEP * np.arange(len(samples))
    one.run(times, one.align(keys(3), samples, START).samples, STEP)
    return one, float(times[-1])


def live(days: float, seed: int = 3) -> np.ndarray:
    """Samples after the history, `FINE` apart."""
    shape = np.repeat(seasonal(DAYS + days, seed=seed)[int(DAYS * 86400 / STEP) - 1 :], 5, axis=0)[1:]
    return shape * (1 + 0.01 * np.random.default_rng(seed).standard_normal(shape.shape))


@pytest.mark.parametrize(
    ("cadence", "seconds", "late", "learned"),
    [
        (None, 60.0, 0.0, 12),
        (300.0, 300.0, 0.0, 12),
        (300.0, 900.0, 0.0, 12),
        (300.0, 60.0, 0.0, 3),
        (300.0, 60.0, 0.004, 3),
        (240.0, 120.0, 0.0, 6),
        (300.0, 5.0, 0.0, 1),
    ],
)
def test_one_instant_of_each_step_is_learned(cadence: float | None, seconds: float, late: float, learned: int) -> None:
    grid, times = LearningGrid(cadence, seconds), START + seconds * np.arange(12)
    times += late * np.random.default_rng(1).uniform(-1, 1, 12)
    assert int((~grid.score_only(times, 0, -np.inf, YOUNG)).sum()) == learned
    assert grid.stands_for(YOUNG) == (cadence if learned < 12 else seconds)


def test_in_the_beginning_all_are_learned() -> None:
    times = START + 60.0 * np.arange(YOUNG + 10)
    grid = LearningGrid(300.0, 60.0)
    assert np.flatnonzero(~grid.score_only(times, 0, -np.inf, 0)).tolist() == [*range(YOUNG), YOUNG + 4, YOUNG + 9]
    assert np.flatnonzero(~grid.score_only(times, 5, times[4], YOUNG - 2)).tolist() == [*range(7), *range(11, 82, 5)]
    assert (grid.stands_for(YOUNG - 1), grid.stands_for(YOUNG)) == (60.0, 300.0)


@pytest.mark.parametrize(("seconds", "finer"), [(60.0, True), (210.0, True), (240.0, False), (300.0, False)])
def test_steps_of_less_than_three_quarters_of_the_cadence_are_finer(seconds: float, finer: bool) -> None:
    assert LearningGrid(300.0, seconds).finer == finer


def test_numbers_of_instants_and_seconds() -> None:
    """Six hours of five minutes are learned as they come; a level is looked at every twelve minutes."""
    grid = LearningGrid(300.0, 60.0)
    assert [grid.stands_for(count) for count in (71, 72)] == [60.0, 300.0]
    assert [grid.period(START + at) - grid.period(START) for at in (719.0, 720.0, 1440.0)] == [0.0, 1.0, 2.0]


def test_without_history_the_first_score_does_not_wait_for_the_steps_of_history() -> None:
    one, samples = engine(), seasonal(1)[:30]
    nothing = np.zeros((20, 0))
    one.run(START + FINE * np.arange(-20, 0), nothing, FINE)
    times = START + FINE * np.arange(len(samples))
    verdicts = one.run(times, one.align(keys(3), samples, START).samples, FINE)
    assert np.isnan(verdicts.score[:FEW]).all()
    assert not np.isnan(verdicts.score[FEW:]).any()


def test_the_cadence_is_a_whole_number_of_intervals() -> None:
    assert all(cadence_of(interval, 300.0) % interval == 0.0 for interval in (1.0, 7.0, 60.0, 90.0, 420.0, 3600.0))


def test_where_all_are_learned_nothing_is_different() -> None:
    samples = seasonal(9)
    times = START + STEP * np.arange(len(samples))
    said = []
    for one in (engine(None), engine(STEP)):
        verdicts = one.run(times, one.align(keys(3), samples, START).samples, STEP)
        said.append([verdicts[index] for index in range(len(times))])
    assert equal(*said)


def test_a_sample_in_between_is_judged_as_the_next_one_that_is_learned() -> None:
    for factor in (1.0, 1.3, 3.0):
        (one, at), (two, _) = taught(), taught()
        sample = factor * live(0.1)[4]
        between = one.run(np.array([at + FINE]), sample[None], FINE)
        learned = two.run(np.array([at + FINE]), sample[None], STEP)
        assert np.array_equal(between.each, learned.each, equal_nan=True)
        assert np.array_equal(between.score, learned.score)


def test_usual_samples_in_between_leave_nothing_behind() -> None:
    (one, at), (two, _) = taught(), taught()
    samples = live(2)
    times = at + FINE * np.arange(1, len(samples) + 1)
    some, few = one.run(times, samples, FINE), two.run(times[4::5], samples[4::5], STEP)
    assert not (some.each[:, NOVELTY] >= 1.0).any()
    for name in ("score", "expected", "lower", "upper", "votes", "z", "each"):
        assert np.array_equal(getattr(some, name)[4::5], getattr(few, name), equal_nan=True), name


def test_pieces_of_any_size_and_a_restart_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "ENOUGH", DAY / 2)
    monkeypatch.setattr(calibration, "FEWEST", 3)
    samples = live(3)
    samples[300:340, 0] *= 3.0
    samples[500:, 1] *= 1.6  # A level shift that is accepted.
    samples[600:650, 2] = np.nan
    budget = Budget(20.0 / WEEK, 2, 2, FINE)
    (one, at), (two, _) = taught(budget=budget), taught(budget=budget)
    times = at + FINE * np.arange(1, len(samples) + 1)
    whole = one.run(times, samples, FINE)
    rng, begin, verdicts = np.random.default_rng(1), 0, []
    parts, series = copied(two.checkpoint()), two.checkpoint().series
    while begin < len(samples):
        size = int(rng.integers(1, 90))
        some = two.run(times[begin : begin + size], samples[begin : begin + size], FINE)
        verdicts += [some[index] for index in range(len(some))]
        begin += size
        checkpoint = two.checkpoint()
        parts |= copied(checkpoint)
        two = engine(budget=budget)
        assert two.restore(checkpoint.at, parts, series)
    assert equal([whole[index] for index in range(len(times))], verdicts)
    assert len(one.shifts) == 1
    assert one.calibration.threshold not in (1.0, 0.0)
    learned = two.checkpoint().parts
    for name, part in one.checkpoint().parts.items():
        if name != "saved_at" and name in learned:
            assert np.array_equal(part, learned[name], equal_nan=True), name


def awkward(count: int, seed: int) -> np.ndarray:
    """Samples that hold, vanish, come, and move or are negative for the first time; shape (count, 8)."""
    rng = np.random.default_rng(seed)
    samples = 100.0 * (1.0 + 0.05 * rng.standard_normal((count, 8)))
    samples[:, 1] = np.repeat(np.round(samples[::7, 1]), 7)[:count]
    samples[rng.random(count) < 0.2, 2] = np.nan
    samples[count // 3 : count // 2, 3] *= rng.choice([0.0, 3.0])
    samples[:, 4] = np.where(np.arange(count) < count // 2, 5.0, rng.choice([5.0, 6.0], count))
    samples[:, 5] = rng.poisson(0.5, count)
    samples[:, 6] -= np.where(np.arange(count) > 2 * count // 3, 98.0, 0.0)
    samples[: count // 3, 7] = np.nan
    samples[rng.random((count, 8)) < 0.01] *= 5.0
    return samples


@pytest.mark.parametrize(("seconds", "seed"), [(FINE, 1), (STEP / 20, 2)])
def test_many_instants_together_are_scored_and_learned_as_one_after_the_other(seconds: float, seed: int) -> None:
    settings = EngineSettings(ZoneInfo("UTC"), BaselineSettings(), ALL, cadence=STEP)
    one, history = Engine(settings), awkward(6 * 96, seed)
    history[:, 4], history[:, 6], history[:, 7] = 5.0, 100.0, np.nan
    times = START + STEP * np.arange(len(history))
    one.run(times, one.align(keys(8), history, START).samples, STEP)
    two, samples = copy.deepcopy(one), awkward(150, seed + 10)
    times = times[-1] + seconds * np.arange(1, len(samples) + 1)
    whole = one.run(times, samples, seconds)
    each = [two.run(times[at : at + 1], samples[at : at + 1], seconds)[0] for at in range(len(times))]
    assert equal([whole[index] for index in range(len(times))], each)
    learned = two.checkpoint().parts
    for name, part in one.checkpoint().parts.items():
        assert np.array_equal(part, learned[name], equal_nan=True), name


def test_a_span_has_the_instants_that_are_learned_and_those_between_up_to_the_end_of_the_block() -> None:
    one, at = taught()
    times = at + STEP / 30 * np.arange(1, 400)
    lengths, begin = [], 0
    while begin < len(times):
        lengths.append(one.in_next_span(times[begin:], STEP / 30))
        end = begin + lengths[-1]
        one.run(times[begin:end], np.full((lengths[-1], 3), 100.0), STEP / 30)
        begin = end
    assert lengths == [29, 120, 120, 91, 29, 10]


@pytest.mark.parametrize("first", [21, 24])
def test_a_short_spike_at_the_same_time_of_every_day_stops_alerting_whether_it_is_learned(first: int) -> None:
    """Of samples 20 to 24 the last one is learned."""
    one, at = taught(detection=DetectionSettings())
    samples = live(8)
    spikes = np.arange(first, len(samples), 480)
    samples[spikes] += 150.0
    found = one.run(at + FINE * np.arange(1, len(samples) + 1), samples, FINE).score >= 0.5
    assert found[spikes[:3]].all()
    assert found[spikes[3:]].mean() <= 0.1


def test_an_anomaly_lasts_until_it_is_over() -> None:
    one, at = taught(detection=DetectionSettings())
    samples = live(1)
    samples[100:120] *= 3.0
    found = one.run(at + FINE * np.arange(1, len(samples) + 1), samples, FINE).score >= 0.5
    assert found[100:120].all()
    assert not found[:100].any()
    assert not found[120:].any()


def test_a_clock_that_was_ahead_does_not_keep_samples_from_being_learned() -> None:
    one, at = taught()
    one.run(np.array([at + 1e6]), live(1)[:1], FINE)
    one.at = at
    before = one.table.size, one.checkpoint().parts["count"].copy()
    samples = live(1)
    one.run(at + FINE * np.arange(1, len(samples) + 1), samples, FINE)
    assert (one.checkpoint().parts["count"] > before[1]).all()


def test_state_of_an_engine_that_learned_every_sample_is_not_taken_up() -> None:
    one, _ = taught()
    checkpoint = one.checkpoint()
    parts = copied(checkpoint)
    parts["block"] = parts["block"][:7]
    assert not engine().restore(checkpoint.at, parts, checkpoint.series)


@pytest.mark.parametrize("kind", ["gaussian", "Poisson"])
def test_minutes_are_judged_as_well_as_the_steps_of_history(kind: str) -> None:
    found = measure(KINDS[kind], 60.0, cadence=300.0, series=6, weeks=3, live=86400.0)
    assert found.clean <= 0.001
    # Half of a Poisson count is less than four standard deviations off; the second sample confirms the first.
    assert found.within == {"half": 1.0, "third": 1.0, "spike": 1.0}
    assert found.first["third"] == found.first["spike"] == 1.0


def test_a_run_of_zeros_that_ends_raises_the_limit_of_the_next_one_in_the_same_block() -> None:
    one = engine(None, DetectionSettings(detectors=(Counts(),), quorum=1))
    samples = np.random.default_rng(1).poisson(20.0, (5 * 96 + 12, 1)).astype(np.float64)
    samples[-12:, 0] = [20, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 20]
    times = START + STEP * np.arange(len(samples))
    one.run(times[:-12], one.align(keys(1), samples[:-12], START).samples, STEP)
    two = copy.deepcopy(one)
    together = one.run(times[-12:], samples[-12:], STEP).each
    each = [
        two.run(times[at : at + 1], samples[at : at + 1], STEP).each[0] for at in range(len(times) - 12, len(times))
    ]
    assert np.array_equal(together, each, equal_nan=True)
    assert 0.0 < together[8, 0, 0] < together[2, 0, 0] < 1.0
