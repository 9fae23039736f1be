"""Every detector of the registry against every check, and every check against a detector that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from exporter.engine import contract as checks
from exporter.engine.detectors import DETECTORS, Detector, DetectorResult, SampleBatch, ZScore

Twist = Callable[[SampleBatch, DetectorResult], DetectorResult]


@pytest.mark.parametrize(
    ("kind", "check"),
    [(kind, check) for kind in DETECTORS for check in checks.checks_of(kind)],
    ids=lambda value: value.__name__,
)
def test_detector_holds(kind: type[Detector], check: checks.Check) -> None:
    check(kind())


def bad(twist: Twist) -> Detector:
    """Return a z-score that is changed on the way out; `twist` gets the batch and the right result."""

    class Bad(ZScore):
        def score(self, batch: SampleBatch) -> DetectorResult:
            return twist(batch, super().score(batch))

    return Bad()


def _random():
    rng = np.random.default_rng()
    return lambda m, j: replace(j, above=j.above * rng.random())


def _remembers():
    seen = []

    def twist(m, j):
        seen.append(np.nansum(m.sample))
        return replace(j, above=j.above + len(seen) * 1e-3)

    return twist


def _counts_neighbours(m, j):
    return replace(j, above=j.above * np.nansum(m.sample))


def _writes(m, j):
    m.sample *= 2.0
    return j


def _unknown_as_normal(m, j):
    return replace(j, **{f: np.nan_to_num(getattr(j, f)) for f in ("above", "below", "expected", "lower", "upper")})


def _absolute(m, j):
    return replace(j, upper=j.expected + 3.0, above=np.maximum(m.sample - j.expected, 0) / 3.0)


def _blind(m, j):
    return replace(j, above=j.above * 0, below=j.below * 0)


def _infinite(m, j):
    return replace(j, above=np.where(j.above > 10, np.inf, j.above) * 0)


def _nervous(m, j):
    return replace(j, above=j.above * 4, below=j.below * 4)


def _one_sided(m, j):
    return replace(j, below=j.below * 0)


@pytest.mark.parametrize(
    ("check", "twist"),
    [
        (checks.deterministic, _random),
        (checks.an_instant_is_learned_once, _remembers),
        (checks.series_do_not_touch_each_other, lambda: _counts_neighbours),
        (checks.scale_equivariant, lambda: _absolute),
        (checks.a_spike_is_detected, lambda: _blind),
        (checks.a_leak_is_detected, lambda: _blind),
        (checks.a_leak_is_detected, lambda: _nervous),
        (checks.score_agrees_with_the_band, lambda: _blind),
        (checks.constants_stay_quiet_and_jumps_are_detected, lambda: _blind),
        (checks.small_movement_on_a_large_level, lambda: _blind),
        (checks.a_past_spike_does_not_mask_todays, lambda: _blind),
        (checks.infinities_leave_no_trace, lambda: _infinite),
        (checks.clean_data_is_quiet, lambda: _nervous),
        (checks.mirror_image, lambda: _one_sided),
        (checks.score_agrees_with_the_band, lambda: _nervous),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_check_fails_a_detector_that_breaks_it(check: checks.Check, twist) -> None:
    with pytest.raises(AssertionError):
        check(bad(twist()))
