"""What every detector has to hold, as functions over an engine factory; each raises AssertionError.

The checks run a whole engine with the one detector, because that is what the daemon runs: a detector that is
pure by itself can still be wrong in how it meets the state. A detector says of itself whether it has an interval
and whether it judges single samples (`Params`); `checks_of` leaves out what has no meaning for it.
"""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.engine.detectors import Detector
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.verdict import Checkpoint, Verdict

FloatArray = npt.NDArray[np.float64]
Check = Callable[[Detector], None]

START = 1_760_313_600.0  # a Monday, 00:00 UTC
STEP = 900.0
DAY = int(86400 / STEP)
LEARNED = 3 * DAY  # samples after which every detector has something to say


def engine_of(detector: Detector) -> Engine:
    detection = DetectionSettings.model_construct(detectors=(detector,), quorum=1)
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection))


def keys(count: int) -> list[bytes]:
    return [b'{"series":"%d"}' % i for i in range(count)]


def settled(detector: Detector) -> int:
    """Return after how many samples, without gaps of more than a tenth, the detector has something to say."""
    return LEARNED + int(1.5 * detector.warm_up / STEP)


def seasonal(days: float, count: int = 3, seed: int = 7) -> FloatArray:
    """Daily shape, weekends at two thirds, 5 % noise; shape (t, count)."""
    rng = np.random.default_rng(seed)
    t = START + STEP * np.arange(int(days * DAY))
    hour, weekday = t % 86400 / 3600, (t // 86400 + 3) % 7
    shape = (100 + 40 * np.sin((hour - 8) / 24 * 2 * np.pi)) * np.where(weekday >= 5, 0.67, 1.0)
    return shape[:, None] * (1 + 0.05 * rng.standard_normal((len(t), count)))


def run(engine: Engine, samples: FloatArray, first: int = 0) -> list[Verdict]:
    verdicts = []
    for index, row in enumerate(samples, start=first):
        at = START + STEP * index
        verdicts.append(engine.step(at, engine.align(keys(len(row)), row, at).samples, STEP))
    return verdicts


def scores(verdicts: list[Verdict]) -> FloatArray:
    return np.array([verdict.score for verdict in verdicts])


def equal(a: list[Verdict], b: list[Verdict]) -> bool:
    return all(
        np.array_equal(getattr(x, name), getattr(y, name), equal_nan=True)
        for x, y in zip(a, b, strict=True)
        for name in ("score", "expected", "lower", "upper", "votes", "z", "each")
    )


def deterministic(detector: Detector) -> None:
    samples = seasonal(4)
    assert equal(run(engine_of(detector), samples), run(engine_of(detector), samples))


def any_pieces(detector: Detector) -> None:
    """One instant at a time, or many at once in pieces of any size: the same bits."""
    samples = seasonal(4)
    times = START + STEP * np.arange(len(samples))
    one_by_one = run(engine_of(detector), samples)
    rng = np.random.default_rng(1)
    engine, at = engine_of(detector), 0
    verdicts: list[Verdict] = []
    while at < len(samples):
        size = int(rng.integers(1, 40))
        piece = samples[at : at + size]
        some = engine.run(times[at : at + size], engine.align(keys(3), piece, times[at]).samples, STEP)
        verdicts += [some[i] for i in range(len(some))]
        at += size
    assert equal(one_by_one, verdicts)


def causal(detector: Detector) -> None:
    samples = seasonal(6)
    later = samples.copy()
    cut = 4 * DAY
    later[cut:] *= 50.0
    assert equal(run(engine_of(detector), samples)[:cut], run(engine_of(detector), later)[:cut])


def input_untouched(detector: Detector) -> None:
    engine, samples = engine_of(detector), seasonal(2)
    before = samples.copy()
    samples.setflags(write=False)
    run(engine, samples)
    assert np.array_equal(samples, before)


def series_do_not_touch_each_other(detector: Detector) -> None:
    samples = seasonal(5, count=4)
    together = run(engine_of(detector), samples)
    alone = run(engine_of(detector), samples[:, :1])
    assert np.array_equal(scores(together)[:, :1], scores(alone), equal_nan=True)


def shift_equivariant(detector: Detector) -> None:
    samples = np.round(seasonal(9) * 64) / 64  # a grid that survives the shift exactly
    _close(run(engine_of(detector), samples), run(engine_of(detector), samples + 4096.0), 1.0, 4096.0)


def scale_equivariant(detector: Detector) -> None:
    samples = seasonal(9)
    for factor in (2.0**40, 2.0**-40, 1e-6, 1e9):
        _close(run(engine_of(detector), samples), run(engine_of(detector), samples * factor), factor, 0.0)


def _close(a: list[Verdict], b: list[Verdict], factor: float, shift: float) -> None:
    np.testing.assert_allclose(scores(b), scores(a), rtol=1e-3, atol=1e-3)
    one = np.array([v.expected for v in a])
    two = np.array([v.expected for v in b])
    np.testing.assert_allclose((two - shift) / factor, one, rtol=1e-4)


def mirror_image(detector: Detector) -> None:
    samples = seasonal(9)
    a, b = run(engine_of(detector), samples), run(engine_of(detector), -samples)
    np.testing.assert_allclose(scores(b), scores(a), rtol=1e-3, atol=1e-3)


def spike_is_found(detector: Detector) -> None:
    samples = seasonal(16)
    where = 15 * DAY + 40
    samples[where] *= 4.0
    verdicts = run(engine_of(detector), samples)
    assert (verdicts[where].score >= 0.5).all()
    if detector.interval:
        assert (verdicts[where].observed > verdicts[where].upper).all()
    else:
        assert np.isnan(verdicts[where].upper).all()


def leak_is_found(detector: Detector) -> None:
    """A leak over four days that ends at six times the noise is found in its first half, and nothing before it."""
    samples = seasonal(32)
    begin, end = 28 * DAY, 32 * DAY
    samples[begin:end] += np.linspace(0.0, 30.0, end - begin)[:, None]
    found = scores(run(engine_of(detector), samples)) >= 0.5
    assert found[begin : (begin + end) // 2].any(axis=0).all()
    assert not found[:begin].any()


def clean_data_is_quiet(detector: Detector) -> None:
    found = scores(run(engine_of(detector), seasonal(56, count=6)))[42 * DAY :]
    assert np.mean(found >= 0.5) < 0.03


def score_agrees_with_the_band(detector: Detector) -> None:
    samples = seasonal(16)
    samples[15 * DAY :: 7] *= 1.5
    for verdict in run(engine_of(detector), samples)[DAY:]:
        said = ~np.isnan(verdict.score)
        outside = (verdict.observed > verdict.upper) | (verdict.observed < verdict.lower)
        margin = 1e-6 * np.abs(verdict.upper - verdict.lower)
        edge = np.minimum(abs(verdict.observed - verdict.upper), abs(verdict.observed - verdict.lower)) <= margin
        assert (((verdict.score >= 0.5) == outside) | edge | ~said).all()


def says_nothing_of_the_first_samples(detector: Detector) -> None:
    for count in (1, 2, 3, 4, 5):
        assert np.isnan(scores(run(engine_of(detector), seasonal(1)[:count]))).all()


def gaps_are_absent(detector: Detector) -> None:
    begin = settled(detector)
    samples = seasonal(begin / DAY + 2)
    samples[begin + 10 : begin + 30] = np.nan
    samples[::9, 0] = np.nan
    found = scores(run(engine_of(detector), samples))
    assert np.isnan(found[np.isnan(samples)]).all()
    assert not np.isnan(found[begin:][~np.isnan(samples[begin:])]).any()


def all_missing(detector: Detector) -> None:
    assert np.isnan(scores(run(engine_of(detector), np.full((DAY, 2), np.nan)))).all()


def infinities_are_not_learned(detector: Detector) -> None:
    """An infinite sample is judged; for what comes after, it is as if there had been none."""
    begin = settled(detector)
    samples = seasonal(begin / DAY + 2)
    where = begin + DAY
    missing = samples.copy()
    samples[where, 0], samples[where, 1] = np.inf, -np.inf
    missing[where, :2] = np.nan
    verdicts, without = run(engine_of(detector), samples), run(engine_of(detector), missing)
    assert np.isfinite(verdicts[where].score).all()
    if detector.single:
        assert (verdicts[where].score[:2] >= 0.5).all()
    assert equal(verdicts[where + 1 :], without[where + 1 :])


def constants_stay_quiet_and_jumps_are_found(detector: Detector) -> None:
    for level in (0.0, 5.0, 1e15, -3e-12):
        samples = np.full((10 * DAY, 2), level)
        samples[-1, 0] += max(1.0, abs(level) * 0.01)
        verdicts = run(engine_of(detector), samples)
        assert (scores(verdicts)[LEARNED:-1] < 0.5).all()
        assert verdicts[-1].score[0] >= 0.5
        assert np.isfinite(verdicts[-1].score).all()
        assert verdicts[-1].score[1] < 0.5


def huge_values(detector: Detector) -> None:
    begin = settled(detector)
    days = begin / DAY + 2
    for factor in (1e300, 1e-300, 1e306):
        found = scores(run(engine_of(detector), seasonal(days) * factor))[begin:]
        assert np.isfinite(found).all()
        assert np.mean(found >= 0.5) < 0.2
    mixed = seasonal(days)
    mixed[::2] *= 1e300
    assert np.isfinite(scores(run(engine_of(detector), mixed))[begin:]).all()


def small_movement_on_a_large_level(detector: Detector) -> None:
    samples = np.round(seasonal(9))
    samples[8 * DAY + 30] += 500.0
    verdicts = run(engine_of(detector), samples + 2.0**40)
    assert (verdicts[8 * DAY + 30].score >= 0.5).all()
    np.testing.assert_allclose(scores(verdicts), scores(run(engine_of(detector), samples)), atol=1e-3)


def state_of(engine: Engine) -> dict[str, npt.NDArray[np.generic]]:
    """Everything that was learned, because nothing of it was saved so far."""
    return copied(engine.checkpoint())


def copied(checkpoint: Checkpoint) -> dict[str, npt.NDArray[np.generic]]:
    return {name: part.copy() for name, part in checkpoint.parts.items()}


def memory_is_bounded(detector: Detector) -> None:
    engine = engine_of(detector)
    samples = seasonal(28)
    run(engine, samples[: 8 * DAY])
    size = sum(part.nbytes for part in state_of(engine).values())
    run(engine, samples[8 * DAY :], first=8 * DAY)
    assert sum(part.nbytes for part in state_of(engine).values()) == size
    assert engine.bytes_per_series < 8192


def state_round_trips(detector: Detector) -> None:
    samples = seasonal(9)
    cut = 8 * DAY + 13
    through = run(engine_of(detector), samples)
    first = engine_of(detector)
    parts: dict[str, npt.NDArray[np.generic]] = {}
    series: dict[int, bytes] = {}
    for at in range(0, cut, 100):  # many checkpoints, each with only what changed
        run(first, samples[at : min(at + 100, cut)], first=at)
        checkpoint = first.checkpoint()
        parts.update(copied(checkpoint))
        series.update(checkpoint.series)
        first.saved(checkpoint)
    second = engine_of(detector)
    assert second.restore(first.at, parts, list(series.items()))
    assert equal(through[cut:], run(second, samples[cut:], first=cut))


def learned_once(detector: Detector) -> None:
    """A slot that was learned is judged again without being learned again."""
    samples = seasonal(4)
    one, two = engine_of(detector), engine_of(detector)
    run(one, samples[:-1])
    run(two, samples[:-1])
    run(two, samples[-20:-1], first=len(samples) - 20)
    assert equal(run(one, samples[-1:], first=len(samples) - 1), run(two, samples[-1:], first=len(samples) - 1))


def a_past_spike_does_not_mask_todays(detector: Detector) -> None:
    samples = seasonal(16)
    samples[14 * DAY + 40] *= 20.0
    samples[15 * DAY + 40] *= 4.0
    assert (run(engine_of(detector), samples)[15 * DAY + 40].score >= 0.5).all()


CHECKS: list[Check] = [
    deterministic,
    any_pieces,
    causal,
    input_untouched,
    series_do_not_touch_each_other,
    shift_equivariant,
    scale_equivariant,
    mirror_image,
    clean_data_is_quiet,
    says_nothing_of_the_first_samples,
    gaps_are_absent,
    all_missing,
    infinities_are_not_learned,
    huge_values,
    memory_is_bounded,
    state_round_trips,
    learned_once,
]
OF_INTERVALS: list[Check] = [score_agrees_with_the_band]
OF_SINGLE_SAMPLES: list[Check] = [
    spike_is_found,
    constants_stay_quiet_and_jumps_are_found,
    small_movement_on_a_large_level,
    a_past_spike_does_not_mask_todays,
]
OF_RUNS: list[Check] = [leak_is_found]


def checks_of(kind: type[Detector]) -> list[Check]:
    """Return what a kind of detector has to hold."""
    own = OF_SINGLE_SAMPLES if kind.single else OF_RUNS
    return CHECKS + own + (OF_INTERVALS if kind.interval else [])
