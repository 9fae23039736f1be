"""What is unlike its siblings, and what is not."""

from __future__ import annotations

import copy
import functools
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.peers import NOISES, Fleet, fleet, noise_of
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.peers.groups import PeerGroups
from exporter.engine.peers.settings import PeerSettings
from exporter.engine.series import SeriesTable
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.verdict import Verdict

FloatArray = npt.NDArray[np.float64]
START, STEP, DAY = 1_760_313_600.0, 300.0, 288


def severity(here: Fleet, values: FloatArray, names: list[str] | None = None) -> FloatArray:
    verdicts = here.run(values, names)
    return np.fmax(verdicts.above, verdicts.below)


def settled(size: int = 20, kind: str = "normal", more: int = 48, days: int = 5) -> tuple[Fleet, FloatArray]:
    """Return a fleet that has learned, and the samples that come next."""
    here, values = trained(size, kind, days)
    return copy.deepcopy(here), values[:more].copy()


@functools.cache
def trained(size: int, kind: str, days: int) -> tuple[Fleet, FloatArray]:
    values = fleet(kind, size, (days + 2.1) / 7.0, 3)
    here = Fleet(size)
    here.run(values[: days * DAY])
    return here, values[days * DAY :]


@pytest.mark.parametrize("kind", NOISES[:2])
def test_a_replica_that_is_15_percent_slower_is_called_so_within_three_samples(kind: str) -> None:
    here, values = settled(kind=kind, days=12)
    values[:3, 7] *= 1.15
    result = severity(here, values[:3])
    assert result[:, 7].max() >= 1.0
    assert np.delete(result, 7, axis=1).max() < 1.0


@pytest.mark.parametrize("kind", NOISES)
def test_what_is_always_hotter_and_what_all_do_together_is_no_news(kind: str) -> None:
    here, values = settled(kind=kind, more=DAY)
    values[100:] *= 3.0
    values[200:] *= 0.1
    assert severity(here, values).max() < 1.0


def test_a_replica_that_stays_where_it_is_while_all_others_move_is_unlike_them() -> None:
    here, values = settled()
    values[:6, :19] *= 2.0
    verdicts = here.run(values[:6])
    assert verdicts.below[2, 19] >= 1.0
    assert verdicts.upper[2, 19] > verdicts.lower[2, 19] > values[2, 19]
    assert verdicts.size[2, 19] == 20


def test_few_siblings_say_nothing() -> None:
    here, values = settled(size=5)
    values[:4, 1] *= 3.0
    assert severity(here, values[:4])[:, 1].max() >= 1.0
    values[4:, 0] = np.nan
    assert np.isnan(severity(here, values[4:])).all()


def test_a_new_member_is_judged_from_its_first_samples() -> None:
    here, values = settled()
    rng = np.random.default_rng(5)
    middle = np.median(values, axis=1)[:, None]
    plain, slow = (factor * middle * (1.0 + 0.03 * rng.standard_normal((48, 1))) for factor in (1.0, 1.6))
    result = severity(here, np.hstack([values, plain, slow]), [*here.names, "plain", "slow"])
    assert result[:3, 21].max() >= 1.0
    assert np.nanmax(result[:, 20]) < 1.0


def test_a_rollout_in_which_all_names_change_is_quiet_and_a_bad_one_among_them_is_not() -> None:
    here, values = settled()
    values[:, 0] /= 1.3  # The hot node is gone with the others.
    names = [f"v2-{index}" for index in range(20)]
    result = severity(here, values[:24], names)
    assert np.nanmax(result) < 1.0
    values[24:30, 3] *= 1.6
    assert severity(here, values[24:30], names)[:, 3].max() >= 1.0


def test_a_new_place_is_accepted_after_a_day() -> None:
    here, values = settled(more=2 * DAY)
    values[:, 4] *= 1.4
    result = severity(here, values)
    assert (result[5 : DAY - 5, 4] >= 1.0).mean() > 0.95
    assert (result[DAY + 24 :, 4] < 1.0).all()


@pytest.mark.parametrize("level", [0.0, 5.0, 1e15, -3.0])
def test_constants_are_quiet_and_one_that_leaves_them_for_good_is_not(level: float) -> None:
    here = Fleet(8)
    values = np.full((400, 8), level)
    assert not (severity(here, values) >= 1.0).any()
    values[:4, 2] += max(1.0, abs(level) * 0.2)
    result = severity(here, values[:4])
    assert result[0, 2] < 1.0
    assert result[2, 2] >= 1.0
    assert np.isfinite(result[:, 2]).all()


def test_values_around_zero_are_compared_as_they_are() -> None:
    here = Fleet(12)
    rng = np.random.default_rng(2)
    values = rng.standard_normal((1200, 12)) + 5.0 * np.sin(np.arange(1200) / 46.0)[:, None]
    here.run(values[:1000])
    assert not (severity(here, values[1000:1190]) >= 1.0).any()
    values[1190:, 3] += 9.0
    assert severity(here, values[1190:])[:, 3].max() >= 1.0


def test_gaps_infinities_and_zeros_do_not_reach_the_siblings() -> None:
    here, values = settled(size=9)
    values[3, 0], values[4, 1], values[5, 2], values[6, 3] = np.nan, np.inf, -np.inf, 0.0
    result = severity(here, values)
    assert np.isnan(result[3, 0])
    assert np.isnan(result[4, 1])
    assert np.isnan(result[5, 2])
    assert np.nanmax(np.delete(result, 3, axis=1)) < 1.0


def test_groups_are_by_labels_and_follow_the_table() -> None:
    table, groups = SeriesTable(100), PeerGroups(("job",))
    table.find([b'{"job":"%d","pod":"%d"}' % (i % 3, i) for i in range(30)])
    blocks = groups.blocks(table)
    assert groups.blocks(table) is blocks
    assert {
        tuple(sorted(rows[member] % 3))
        for block in blocks
        for rows, member in zip(block.rows, block.member, strict=True)
    } == {(job,) * 10 for job in range(3)}
    table.release(np.arange(0, 30, 3))
    table.find([b'{"pod":"x"}'])
    sizes = sorted(int(count) for block in groups.blocks(table) for count in block.member.sum(axis=1))
    assert sizes == [1, 10, 10]


def engine(**more: object) -> Engine:
    detection = DetectionSettings().with_peers()
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), detection, peers=PeerSettings(), **more))  # type: ignore[arg-type]


def keys(count: int) -> list[bytes]:
    return [b'{"pod":"%d"}' % index for index in range(count)]


def samples(count: int, size: int = 8) -> FloatArray:
    rng = np.random.default_rng(1)
    values = 100.0 * noise_of("normal", rng, (count, size))
    values[: count // 3, 2] = np.nan
    values[-30:, 5] *= 1.5
    values[::37, 1] = np.inf
    return values


def run(here: Engine, values: FloatArray, first: int = 0) -> list[Verdict]:
    times = START + STEP * np.arange(first, first + len(values))
    verdicts = here.run(times, here.align(keys(values.shape[1]), values, times[0]).samples, STEP)
    return [verdicts[index] for index in range(len(values))]


def equal(a: list[Verdict], b: list[Verdict]) -> bool:
    return all(
        np.array_equal(getattr(x, name), getattr(y, name), equal_nan=True)
        for x, y in zip(a, b, strict=True)
        for name in ("score", "expected", "lower", "upper", "votes", "each", "ready")
    )


def test_one_instant_at_a_time_or_many_and_after_a_restart_are_the_same_bits() -> None:
    values = samples(150)
    whole, single, restored = engine(), engine(), engine()
    together = run(whole, values)
    apart = [verdict for index in range(150) for verdict in run(single, values[index : index + 1], index)]
    assert equal(together, apart)
    first = engine()
    run(first, values[:105])
    checkpoint = first.checkpoint()
    parts = {name: part.copy() for name, part in checkpoint.parts.items()}
    assert restored.restore(first.at, parts, checkpoint.series)
    assert equal(together[105:], run(restored, values[105:], 105))


def test_state_of_a_version_without_siblings_is_read() -> None:
    values = samples(100)
    plain = Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))
    run(plain, values)
    checkpoint = plain.checkpoint()
    assert engine().restore(plain.at, checkpoint.parts, checkpoint.series)


def test_the_detector_decides_alone_also_of_a_series_that_is_not_old() -> None:
    here = engine()
    values = samples(150)
    run(here, values[:120])
    last = run(here, values[120:], 120)[-1]
    assert last.score[5] >= 0.5
    assert last.ready[5]
    assert last.votes[5] == 3.0
    assert last.each[-1, 5] >= 1.0
    assert last.lower[5] < last.expected[5] < last.upper[5] < last.observed[5]
    assert not last.ready[3]
    assert not last.first_day[5]  # type: ignore[index]


def test_deviations_that_do_not_count_do_not_count_beside_siblings() -> None:
    for least, anomalous in ((20.0, True), (80.0, False)):
        here = engine(min_deviation=least)
        assert bool(max(verdict.score[5] for verdict in run(here, samples(150))[120:]) >= 0.5) is anomalous


def test_a_direction_holds_for_siblings() -> None:
    here = engine(direction="below")
    assert max(verdict.score[5] for verdict in run(here, samples(150))[121:]) < 0.5


def test_no_siblings_no_series_no_error() -> None:
    here = engine()
    assert len(run(here, np.zeros((3, 0)))) == 3
    assert np.isnan(run(here, np.ones((30, 2)), 3)[-1].each[-1]).all()


def test_at_least_three_siblings() -> None:
    with pytest.raises(ValueError, match="min_size"):
        PeerSettings(min_size=2)
