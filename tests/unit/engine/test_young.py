"""The first day of a series: scores after a few samples, jumps are found, what only begins is quiet."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from exporter.engine.cadence import cadence_of
from exporter.engine.contract_samples import copied, equal, keys
from exporter.engine.detectors import ZScore
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.sample_mask import SampleMask
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.together import alone
from exporter.engine.verdict import Verdicts
from exporter.engine.vote import score_of
from exporter.engine.young import FEW
from exporter.evaluation.history import learn, missing_history
from exporter.prometheus import HistoryChunk

FloatArray = npt.NDArray[np.float64]

START = 1_760_346_000.0  # A Monday, 09:00 UTC.
HOUR = 3600.0
RNG = np.random.default_rng


def engine(interval: float) -> Engine:
    cadence = cadence_of(interval, 300.0)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), cadence=cadence))


def born(values: Callable[[FloatArray], FloatArray], interval: float, hours: float, history: float = 0.0) -> Verdicts:
    """Return the verdicts of a query that is first evaluated `history` seconds after its series began, for `hours`."""
    samples = values(interval * np.arange(int((history + hours * HOUR) / interval)))
    begun = int(history / interval)
    young = engine(interval)

    def read(start: float, end: float, step: float) -> Iterator[HistoryChunk]:
        times = start + step * np.arange(int((end - start) / step) + 1)
        index = np.rint((times - START) / interval).astype(int)
        present = (index >= 0) & (index < begun)
        rows = np.full((len(times), samples.shape[1]), np.nan)
        rows[present] = samples[index[present]]
        yield HistoryChunk(times, keys(samples.shape[1]), rows)

    now = START + (begun - 1) * interval
    if begun:
        ranges = missing_history(-np.inf, now, window=30 * 86400.0, interval=interval, step=cadence_of(interval, 300.0))
        for part in ranges:
            points: list[int] = []
            alone(learn(young, part, read, on_progress=points.append))
            assert sum(points) == part.points
    live = samples[begun:]
    times = START + interval * np.arange(begun, len(samples))
    return young.run(times, young.align(keys(live.shape[1]), live, times[0]).samples, interval)


def noisy(t: FloatArray, level: FloatArray | float = 100.0, seed: int = 1, count: int = 3) -> FloatArray:
    columns = np.broadcast_to(np.asarray(level, float), t.shape)[:, None]
    return columns * (1.0 + 0.05 * RNG(seed).standard_normal((len(t), count)))


def steps(t: FloatArray, values: FloatArray, each: float) -> FloatArray:
    return values[(t // each).astype(int) % len(values)][:, None]


BEGINNINGS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "noise": noisy,
    "heavy tails": lambda t: 100.0 + 5.0 * RNG(2).standard_t(4, (len(t), 3)),
    "wandering noise": lambda t: 100.0 + 0.3 * np.cumsum(RNG(3).standard_normal((len(t), 3)), axis=0),
    "counts": lambda t: RNG(4).poisson(4, (len(t), 3)).astype(float),
    "nothing but a few errors": lambda t: RNG(5).poisson(0.03, (len(t), 3)).astype(float),
    "a rate that ramps up after the start": lambda t: noisy(t, np.where(t < 60, 0.0, np.minimum(100.0, t / 3))),
    "caches that fill": lambda t: noisy(t, 100.0 * (1.0 - 0.7 * np.exp(-t / 2000.0))),
    "the morning of a day": lambda t: noisy(t, 200.0 - 100.0 * np.cos(t / 86400.0 * 2 * np.pi)),
    "the evening of a day": lambda t: noisy(t, 200.0 + 100.0 * np.cos(t / 86400.0 * 2 * np.pi)),
    "a sawtooth of minutes": lambda t: noisy(t, 100.0 + (t % 400.0)),
    "a sawtooth of an hour": lambda t: noisy(t, 100.0 + (t % 4000.0) / 40.0),
    "a step gauge": lambda t: steps(t, 100.0 + 5.0 * RNG(6).standard_normal(500), 1500.0),
    "replicas": lambda t: steps(t, np.array([2.0, 2.0, 4.0, 3.0, 4.0, 2.0]), 5400.0),
    "a constant": lambda t: np.full((len(t), 1), 7.0),
    "nothing": lambda t: np.zeros((len(t), 1)),
    "an uptime": lambda t: t[:, None] + 30.0,
    "a counter": lambda t: np.cumsum(RNG(7).poisson(20, (len(t), 3)), axis=0).astype(float),
}


@pytest.mark.parametrize("interval", [10.0, 15.0, 60.0, 300.0])
@pytest.mark.parametrize("history", [0.0, 120.0, 600.0, HOUR])
def test_the_first_score_comes_within_twelve_samples(interval: float, history: float) -> None:
    verdicts = born(noisy, interval, 20 * interval / HOUR, history)
    first = np.flatnonzero(~np.isnan(verdicts.score).all(axis=1))[0]
    assert first < 12
    assert not np.isnan(verdicts.score[first:]).any()
    assert not np.isnan(verdicts.expected[first:] + verdicts.lower[first:] + verdicts.upper[first:]).any()
    assert not verdicts.ready.any()


@pytest.mark.parametrize("name", BEGINNINGS)
@pytest.mark.parametrize(("interval", "hours"), [(15.0, 1.0), (120.0, 6.0)])
def test_what_only_begins_is_quiet(name: str, interval: float, hours: float) -> None:
    verdicts = born(BEGINNINGS[name], interval, hours)
    assert not (verdicts.score >= 0.5).any()
    assert not np.isnan(verdicts.score[FEW:]).any()


@pytest.mark.parametrize(
    "name", ["noise", "heavy tails", "the morning of a day", "a sawtooth of an hour", "a constant"]
)
@pytest.mark.parametrize(("interval", "history"), [(15.0, 0.0), (60.0, 600.0), (300.0, 0.0)])
def test_a_jump_after_an_hour_is_anomalous(name: str, interval: float, history: float) -> None:
    def values(t: FloatArray) -> FloatArray:
        return BEGINNINGS[name](t) * np.where(t >= history + HOUR, 5.0, 1.0)[:, None]

    verdicts = born(values, interval, 1.0 + 4 * interval / HOUR, history)
    jump = int(HOUR / interval)
    assert not (verdicts.score[:jump] >= 0.5).any()
    assert (verdicts.score[jump + 1 : jump + 4] >= 0.5).all()
    assert (verdicts.votes[jump + 1 : jump + 4] >= 3).all()
    assert (verdicts.observed[jump + 1 : jump + 4] > verdicts.upper[jump + 1 : jump + 4]).all()


def test_a_new_level_is_normal_when_it_is_as_old_as_the_one_before_was() -> None:
    verdicts = born(lambda t: noisy(t, np.where(t >= HOUR, 500.0, 100.0)), 60.0, 2.5)
    anomalous = (verdicts.score >= 0.5).all(axis=1)
    assert anomalous[61:119].all()
    assert not anomalous[121:].any()


def test_the_same_incident_again_is_as_far_as_the_first() -> None:
    def values(t: FloatArray) -> FloatArray:
        return noisy(t, np.where((t % (2 * HOUR) > HOUR) & (t % (2 * HOUR) < HOUR + 600.0), 600.0, 100.0))

    anomalous = (born(values, 60.0, 6.0).score >= 0.5).all(axis=1)
    assert [bool(anomalous[60 * hour : 60 * hour + 11].any()) for hour in range(6)] == [False, True] * 3
    assert anomalous.sum() <= 3 * 10


def test_a_fall_is_anomalous() -> None:
    verdicts = born(lambda t: noisy(t, np.where(t >= HOUR, 5.0, 100.0)), 60.0, 1.2)
    assert (verdicts.score[60:70] >= 0.5).all()


def test_the_smallest_deviation_that_counts_counts() -> None:
    young = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), min_deviation=1000.0))
    samples = noisy(60.0 * np.arange(80), np.where(np.arange(80) >= 60, 500.0, 100.0))
    verdicts = young.run(START + 60.0 * np.arange(80), young.align(keys(3), samples, START).samples, 60.0)
    assert not (verdicts.score >= 0.5).any()


def fleet() -> tuple[FloatArray, FloatArray]:
    """Two days of ten siblings, one that comes after a day and a half, and one with three times their value."""
    t = 300.0 * np.arange(2 * 288)
    samples = noisy(t, 100.0, seed=8, count=12)
    samples[:, 11] *= 3.0
    samples[:432, 10:] = np.nan
    samples[500:520, 3] = np.nan
    samples[470, 10] = np.inf
    return START + t, samples


def test_the_first_sample_of_a_new_sibling_is_judged_by_the_others() -> None:
    times, samples = fleet()
    fresh = engine(300.0)
    verdicts = fresh.run(times, fresh.align(keys(12), samples, START).samples, 300.0)
    assert verdicts.score[432, 10] < 0.5
    assert verdicts.score[432, 11] >= 0.5
    assert np.allclose(verdicts.expected[432, 10:], 100.0, atol=5.0)


def test_any_pieces_and_a_restart_give_the_same() -> None:
    times, samples = fleet()
    mask = SampleMask(learn=np.ones(samples.shape, np.bool_), factor=np.ones(samples.shape))
    mask.learn[450:460] = False
    whole = engine(300.0)
    rows = whole.align(keys(12), samples, START).samples
    together = whole.run(times, rows, 300.0)
    expected = [together[index] for index in range(len(times))]
    pieces = engine(300.0)
    pieces.align(keys(12), samples, START)
    parts = [0, 5, 40, 43, 431, 435, 440, 441, 500, len(times)]
    result = []
    for begin, end in itertools.pairwise(parts):
        some = pieces.run(times[begin:end], rows[begin:end], 300.0)
        result += [some[index] for index in range(end - begin)]
        if begin == 431:
            checkpoint = pieces.checkpoint()
            pieces = engine(300.0)
            assert pieces.restore(checkpoint.at, copied(checkpoint), checkpoint.series)
    assert equal(result, expected)


def test_state_of_a_version_without_a_first_day_is_taken() -> None:
    times, samples = fleet()
    old = engine(300.0)
    rows = old.align(keys(12), samples, START).samples
    old.run(times[:440], rows[:440], 300.0)
    checkpoint = old.checkpoint()
    parts = {name: array for name, array in copied(checkpoint).items() if not name.startswith("young/")}
    new = engine(300.0)
    assert new.restore(checkpoint.at, parts, checkpoint.series)
    verdicts, same = (each.run(times[440:], rows[440:], 300.0) for each in (new, copy.deepcopy(old)))
    assert np.array_equal(verdicts.score[:, :10], same.score[:, :10], equal_nan=True)
    assert not np.isnan(verdicts.score[FEW:, 10]).all()


def test_what_a_person_accepts_is_normal() -> None:
    young = engine(60.0)
    samples = noisy(60.0 * np.arange(120), np.where(np.arange(120) >= 60, 500.0, 100.0))
    rows = young.align(keys(3), samples, START).samples
    times = START + 60.0 * np.arange(120)
    assert (young.run(times[:64], rows[:64], 60.0).score[62:] >= 0.5).all()
    young.accept(np.arange(3), times[63])
    assert not (young.run(times[64:], rows[64:], 60.0).score >= 0.5).any()


def test_when_the_first_score_is_expected() -> None:
    young = engine(60.0)
    samples = noisy(60.0 * np.arange(10))
    rows = young.align(keys(3), samples, START).samples
    expected = []
    for index in range(10):
        at = START + 60.0 * index
        expected.append(young.first_score_at(young.step(at, rows[index], 60.0), 60.0))
    assert expected[:FEW] == [START + 60.0 * FEW] * FEW
    assert np.isnan(expected[FEW:]).all()


def test_detectors_that_somebody_chose_decide_as_soon_as_they_can() -> None:
    samples = noisy(300.0 * np.arange(100.0))
    samples[90] = 140.0
    detection = DetectionSettings(detectors=(ZScore(),), quorum=1)
    chosen = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))
    times = START + 300.0 * np.arange(len(samples))
    verdicts = chosen.run(times, chosen.align(keys(3), samples, START).samples, 300.0)
    assert verdicts.first_day[FEW:12].all()
    assert not verdicts.first_day[40:].any()
    assert (verdicts.score[40:] == score_of(verdicts.each[40:, 0])).all()
    assert (verdicts.score[90] >= 0.5).all()


def test_an_incident_of_the_first_day_does_not_widen_the_band_of_its_hour() -> None:
    step, days = 900.0, 9
    times = START + step * np.arange(int(days * 24 * HOUR / step))
    values = 100.0 + 2.0 * RNG(2).standard_normal((len(times), 1)) * np.ones((1, 2))
    # An hour, three hours after the beginning; the same series without it beside it.
    values[12:16, 0] *= 3.0
    both = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), cadence=step))
    verdicts = both.run(times, both.align(keys(2), values, times[0]).samples, step)
    assert (verdicts.score[12:16, 0] >= 0.5).all()
    width = verdicts.upper - verdicts.lower
    a_week_later = slice(12 + 7 * 96, 16 + 7 * 96)
    assert width[a_week_later, 0].mean() < 2.0 * width[a_week_later, 1].mean()
