"""The contract checks of detectors: what every detector has to hold, each a function that raises AssertionError.

The checks run a whole engine with the one detector, because that is what the daemon runs: a detector that is
pure by itself can still be wrong in how it meets the state. `checks_of` leaves out what has no meaning for a kind
of detector (`interval`, `single`, `slow`, `zero_based`, `warm_up`). A test of a detector of your own::

    @pytest.mark.parametrize("check", checks_of(MyDetector), ids=lambda check: check.__name__)
    def test_detector_holds(check):
        check(MyDetector())
"""

# ruff: noqa: S101 - the asserts are the checks.

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from exporter.engine.contract_samples import (
    DAY,
    SETTLED_SAMPLES,
    START,
    STEP,
    FloatArray,
    copied,
    engine_of,
    equal,
    keys,
    run,
    scores,
    seasonal,
    settled,
    state_of,
    step,
)
from exporter.engine.detectors import Detector
from exporter.engine.verdict import Verdict

__all__ = ["checks_of"]

Check = Callable[[Detector], None]


def deterministic(detector: Detector) -> None:
    """The same samples have the same scores."""
    samples = seasonal(4)
    assert equal(step(engine_of(detector), samples), step(engine_of(detector), samples))


def any_pieces(detector: Detector) -> None:
    """One instant at a time, or many at once in pieces of any size: the same bits, whatever the samples are."""
    samples = seasonal(settled(detector) / DAY + 1, count=5)
    samples[::9, 1] = np.nan
    samples[::50, 2], samples[7::50, 2], samples[DAY::60, 2] = np.inf, -np.inf, 400.0
    samples[:, 3] *= 1e300
    samples[:, 4] = 5.0
    times = START + STEP * np.arange(len(samples), dtype=np.float64)
    singly = step(engine_of(detector), samples)
    rng = np.random.default_rng(1)
    engine, at = engine_of(detector), 0
    verdicts: list[Verdict] = []
    while at < len(samples):
        piece = samples[at : at + int(rng.integers(1, 40))]
        some = engine.run(times[at : at + len(piece)], engine.align(keys(5), piece, times[at]).samples, STEP)
        verdicts += [some[i] for i in range(len(some))]
        at += len(piece)
    assert equal(singly, verdicts)


def causal(detector: Detector) -> None:
    """Later samples never change an earlier score."""
    samples = seasonal(6)
    later = samples.copy()
    cut = 4 * DAY
    later[cut:] *= 50.0
    assert equal(run(engine_of(detector), samples)[:cut], run(engine_of(detector), later)[:cut])


def input_untouched(detector: Detector) -> None:
    """Samples are not written to."""
    engine, samples = engine_of(detector), seasonal(2)
    before = samples.copy()
    samples.setflags(write=False)
    step(engine, samples)
    run(engine_of(detector), samples)
    assert np.array_equal(samples, before)


def series_do_not_touch_each_other(detector: Detector) -> None:
    """A series alone has the scores that it has among others."""
    samples = seasonal(5, count=4)
    together = run(engine_of(detector), samples)
    alone = run(engine_of(detector), samples[:, :1])
    assert np.array_equal(scores(together)[:, :1], scores(alone), equal_nan=True)


def shift_equivariant(detector: Detector) -> None:
    """A constant added to all samples moves the band, and changes no score after the first day."""
    samples = np.round(seasonal(9) * 64) / 64  # a grid that survives the shift exactly
    original, shifted = _side_by_side(detector, samples, samples + 4096.0)
    original, shifted = (_Judged(*(part[DAY:] for part in judged)) for judged in (original, shifted))
    _close(original, shifted, 1.0, 4096.0)


def scale_equivariant(detector: Detector) -> None:
    """A factor changes no score and scales the band."""
    samples, factors = seasonal(9), (2.0**40, 2.0**-40, 1e-6, 1e9)
    unscaled, *scaled = _side_by_side(detector, samples, *(samples * factor for factor in factors))
    for factor, judged in zip(factors, scaled, strict=True):
        _close(unscaled, judged, factor, 0.0)


class _Judged(NamedTuple):
    """What one run says of some series; arrays of shape (t, n)."""

    score: FloatArray
    expected: FloatArray


def _side_by_side(detector: Detector, *groups: FloatArray) -> list[_Judged]:
    """Run groups of series in one engine: series do not touch each other, and one run is quicker than several."""
    verdicts = run(engine_of(detector), np.hstack(groups))
    expected = np.array([verdict.expected for verdict in verdicts])
    ends = np.cumsum([group.shape[1] for group in groups])[:-1]
    pairs = zip(np.split(scores(verdicts), ends, axis=1), np.split(expected, ends, axis=1), strict=True)
    return [_Judged(*pair) for pair in pairs]


def _close(before: _Judged, after: _Judged, factor: float, shift: float) -> None:
    np.testing.assert_allclose(after.score, before.score, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose((after.expected - shift) / factor, before.expected, rtol=1e-4)


def mirror_image(detector: Detector) -> None:
    """Samples of the other sign have the same scores."""
    samples = seasonal(9)
    original, mirrored = _side_by_side(detector, samples, -samples)
    np.testing.assert_allclose(mirrored.score, original.score, rtol=1e-3, atol=1e-3)


def a_spike_is_detected(detector: Detector) -> None:
    """A sample of four times its value is anomalous, and above the band where there is one."""
    samples = seasonal(16)
    where = 15 * DAY + 40
    samples[where] *= 4.0
    verdicts = run(engine_of(detector), samples)
    assert (verdicts[where].score >= 0.5).all()
    if detector.interval:
        assert (verdicts[where].observed > verdicts[where].upper).all()
    else:
        assert np.isnan(verdicts[where].upper).all()


def a_leak_is_detected(detector: Detector) -> None:
    """A leak over four days that ends at six times the noise is found at three fifths of it, and nothing before it."""
    samples = seasonal(32)
    begin, end = 28 * DAY, 32 * DAY
    samples[begin:end] += np.linspace(0.0, 30.0, end - begin)[:, None]
    anomalous = scores(run(engine_of(detector), samples)) >= 0.5
    assert anomalous[begin : begin + 3 * (end - begin) // 5].any(axis=0).all()
    assert not anomalous[:begin].any()


def clean_data_is_quiet(detector: Detector) -> None:
    """Of ordinary samples less than three in a hundred are anomalous."""
    score = scores(run(engine_of(detector), seasonal(56, count=6)))[42 * DAY :]
    assert np.mean(score >= 0.5) < 0.03


def score_agrees_with_the_band(detector: Detector) -> None:
    """A sample is anomalous exactly where it lies beyond the band."""
    samples = seasonal(16)
    samples[15 * DAY :: 7] *= 1.5
    for verdict in run(engine_of(detector), samples)[DAY:]:
        silent = np.isnan(verdict.score)
        beyond = (verdict.observed > verdict.upper) | (verdict.observed < verdict.lower)
        margin = 1e-6 * np.abs(verdict.upper - verdict.lower)
        edge = np.minimum(abs(verdict.observed - verdict.upper), abs(verdict.observed - verdict.lower)) <= margin
        assert (((verdict.score >= 0.5) == beyond) | edge | silent).all()


def the_first_samples_have_no_score(detector: Detector) -> None:
    """A series with fewer than six samples has no score."""
    for count in (1, 2, 3, 4, 5):
        assert np.isnan(scores(run(engine_of(detector), seasonal(1)[:count]))).all()


def gaps_are_absent(detector: Detector) -> None:
    """A missing sample has no score, and the samples after it have one."""
    begin = settled(detector)
    samples = seasonal(begin / DAY + 2)
    samples[begin + 10 : begin + 30] = np.nan
    samples[::9, 0] = np.nan
    score = scores(run(engine_of(detector), samples))
    assert np.isnan(score[np.isnan(samples)]).all()
    assert not np.isnan(score[begin:][~np.isnan(samples[begin:])]).any()


def all_missing(detector: Detector) -> None:
    """A series without samples has no score."""
    assert np.isnan(scores(run(engine_of(detector), np.full((DAY, 2), np.nan)))).all()


def infinities_leave_no_trace(detector: Detector) -> None:
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


def constants_stay_quiet_and_jumps_are_detected(detector: Detector) -> None:
    """A constant is never anomalous, and a jump from it is."""
    groups = [np.full((10 * DAY, 2), level) for level in (0.0, 5.0, 1e15, -3e-12)]
    for samples in groups:
        samples[-1, 0] += max(1.0, abs(samples[0, 0]) * 0.01)
    for score, _ in _side_by_side(detector, *groups):
        assert (score[SETTLED_SAMPLES:-1] < 0.5).all()
        assert score[-1, 0] >= 0.5
        assert np.isfinite(score[-1]).all()
        assert score[-1, 1] < 0.5


def huge_values(detector: Detector) -> None:
    """Values near the limits of floats have finite scores."""
    begin = settled(detector)
    samples = seasonal(begin / DAY + 2)
    mixed = samples.copy()
    mixed[::2] *= 1e300
    *huge, alternating = _side_by_side(detector, *(samples * factor for factor in (1e300, 1e-300, 1e306)), mixed)
    for score, _ in huge:
        assert np.isfinite(score[begin:]).all()
        assert np.mean(score[begin:] >= 0.5) < 0.2
    assert np.isfinite(alternating.score[begin:]).all()


def small_movement_on_a_large_level(detector: Detector) -> None:
    """A spike is detected on a level that is much larger, with the same scores."""
    samples = np.round(seasonal(9))
    samples[8 * DAY + 30] += 500.0
    raised, original = _side_by_side(detector, samples + 2.0**40, samples)
    assert (raised.score[8 * DAY + 30] >= 0.5).all()
    np.testing.assert_allclose(raised.score[DAY:], original.score[DAY:], atol=1e-3)


def state_is_bounded(detector: Detector) -> None:
    """The state does not grow with time, and is less than 8 KiB a series."""
    engine = engine_of(detector)
    samples = seasonal(28)
    run(engine, samples[: 8 * DAY])
    size = sum(part.nbytes for part in state_of(engine).values())
    run(engine, samples[8 * DAY :], first=8 * DAY)
    assert sum(part.nbytes for part in state_of(engine).values()) == size
    assert engine.bytes_per_series < 8192


def state_round_trips(detector: Detector) -> None:
    """An engine that goes on from checkpoints has the same verdicts."""
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


def an_instant_is_learned_once(detector: Detector) -> None:
    """A slot that was learned is judged again without being learned again."""
    samples = seasonal(4)
    once, twice = engine_of(detector), engine_of(detector)
    step(once, samples[:-1])
    step(twice, samples[:-1])
    step(twice, samples[-20:-1], first=len(samples) - 20)
    assert equal(step(once, samples[-1:], first=len(samples) - 1), step(twice, samples[-1:], first=len(samples) - 1))


def a_past_spike_does_not_mask_todays(detector: Detector) -> None:
    """A large spike of yesterday does not hide one of today."""
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
    the_first_samples_have_no_score,
    gaps_are_absent,
    all_missing,
    infinities_leave_no_trace,
    huge_values,
    state_is_bounded,
    state_round_trips,
    an_instant_is_learned_once,
]
OF_INTERVALS: list[Check] = [score_agrees_with_the_band]
OF_SINGLE_SAMPLES: list[Check] = [
    a_spike_is_detected,
    constants_stay_quiet_and_jumps_are_detected,
    small_movement_on_a_large_level,
    a_past_spike_does_not_mask_todays,
]
OF_SLOW_CHANGES: list[Check] = [a_leak_is_detected]
OF_ANY_ZERO: list[Check] = [shift_equivariant, mirror_image, small_movement_on_a_large_level]
OF_THE_FIRST_DAYS: list[Check] = [constants_stay_quiet_and_jumps_are_detected]


def checks_of(kind: type[Detector]) -> list[Check]:
    """Return what a kind of detector has to hold."""
    own = [*CHECKS, *(OF_SINGLE_SAMPLES if kind.single else []), *(OF_SLOW_CHANGES if kind.slow else [])]
    senseless = [*(OF_ANY_ZERO if kind.zero_based else []), *(OF_THE_FIRST_DAYS if kind.warm_up >= 4 * 86400.0 else [])]
    own = [check for check in own if check not in senseless]
    return own + (OF_INTERVALS if kind.interval else [])
