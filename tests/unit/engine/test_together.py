"""Engines that run together learn and say, to the last bit, what each does alone."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from exporter.engine.calibration import Budget
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.forecast.settings import ForecastSettings
from exporter.engine.sample_mask import SampleMask
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.together import MOST_ROWS, EngineRun, joinable, run_together
from exporter.engine.verdict import Verdicts

FloatArray = npt.NDArray[np.float64]

START, STEP, DAY = 1_760_313_600.0, 900.0, 96
CHUNK = 96
DAYS = 9


def history(kind: int, rng: np.random.Generator) -> FloatArray:
    """Return days of one to three series, shape (t, n): another situation for each kind."""
    instants, count = DAYS * DAY, 1 + kind % 3
    t = np.arange(instants)[:, None]
    level = 10.0 ** rng.integers(-3, 6)
    samples = level * (3.0 + np.sin(t / DAY * 2 * np.pi) + 0.1 * rng.standard_normal((instants, count)))
    changes: list[Callable[[], None]] = [
        lambda: None,
        lambda: samples.__setitem__(slice(0, 3 * DAY), np.nan),  # Younger.
        lambda: samples.__setitem__((slice(600, 630), 0), np.nan),
        lambda: samples.__setitem__(slice(500, 560), np.nan),  # The server was down.
        lambda: samples.__imul__(1.0 + 0.03 * t / DAY),
        lambda: samples.__setitem__((slice(6 * DAY, None), 0), samples[6 * DAY :, 0] * 40.0),
        lambda: samples.__setitem__(slice(None), np.round(samples / level)),
        lambda: samples.__setitem__((slice(None, None, 4), 0), samples[::4, 0] + 4.0 * level),  # An hourly job.
        lambda: samples.__setitem__(slice(None), np.repeat(samples[::24], 24, axis=0)[:instants]),
        lambda: samples.__setitem__(slice(0, 5 * DAY), 3.0 * level),  # Stood still, and awakes.
        lambda: samples.__setitem__((slice(7 * DAY, 7 * DAY + 40), -1), 20.0 * level),
        lambda: samples.__setitem__((slice(5 * DAY + 5, None), -1), np.nan),  # Gone.
    ]
    changes[kind % len(changes)]()
    return samples


def settings(kind: int, **more: object) -> EngineSettings:
    """Return settings that differ in what may differ in a pass."""
    chosen: dict[str, object] = {
        "direction": ("both", "above", "below")[kind % 3],
        "min_deviation": 0.5 * (kind % 2),
        "min_relative_deviation": 0.1 * (kind % 4 == 0),
        "valid_range": (0.0, np.inf) if kind % 5 == 0 else (-np.inf, np.inf),
        "budget": Budget(None, 1 + kind % 2, 5, (900.0, 60.0)[kind % 2]) if kind % 4 else None,
        "cadence": 900.0,
        "forecast": ForecastSettings() if kind == 4 else None,
        "max_series": 50 + kind,
    }
    baseline = BaselineSettings(backfill_step="15m", season=("auto", "daily")[kind % 2], accept_level_shift_after="3h")
    given = {"zone": ZoneInfo("Europe/Berlin"), "baseline": baseline, "detection": DetectionSettings()}
    return EngineSettings(**(given | chosen | more))  # type: ignore[arg-type]


def engine(kind: int, samples: FloatArray, **more: object) -> Engine:
    new = Engine(settings(kind, **more))
    keys = [b'{"pod":"%d-%d"}' % (kind, index) for index in range(samples.shape[1])]
    new.align(keys, samples[0], START)
    return new


def replay(
    histories: list[FloatArray], run: Callable[[list[EngineRun]], list[Verdicts]]
) -> tuple[list[Engine], list[list[Verdicts]]]:
    """Run all histories in chunks; each begins with the chunk of its first sample."""
    engines = [engine(kind, samples) for kind, samples in enumerate(histories)]
    verdicts: list[list[Verdicts]] = [[] for _ in engines]
    for begin in range(0, len(histories[0]), CHUNK):
        runs, numbers = [], []
        for number, (each, samples) in enumerate(zip(engines, histories, strict=True)):
            part = samples[begin : begin + CHUNK]
            if np.isfinite(each.first_at) or not np.isnan(part).all():
                times = START + STEP * np.arange(begin, begin + len(part))
                runs.append(EngineRun(each, times, part, STEP))
                numbers.append(number)
        for number, result in zip(numbers, run(runs), strict=True):
            verdicts[number].append(result)
    return engines, verdicts


def everything(one: Engine) -> dict[str, npt.NDArray[np.generic]]:
    checkpoint = one.checkpoint()
    parts = {name: array.copy() for name, array in checkpoint.parts.items()}
    # Where a pattern lies is not the same; whose it is and what it is must be.
    slot = parts.pop("within/slot")
    # A bucket that changed for one of them is written for all.
    parts.pop("saved_at")
    for name in [name for name in parts if name.startswith("within_pattern/")]:
        parts[name] = parts[name][..., slot[slot >= 0]]
    shifts = np.array([[s.row, s.before, s.after, s.seconds] for s in one.shifts]).reshape(-1, 4)
    return parts | {"at": np.array([one.at]), "shifts": shifts, "relearned": np.array(one.relearned, np.float64)}


@pytest.fixture(scope="module")
def both() -> tuple[tuple[list[Engine], list[list[Verdicts]]], tuple[list[Engine], list[list[Verdicts]]]]:
    rng = np.random.default_rng(5)
    histories = [history(kind, rng) for kind in range(12)]
    return replay(histories, lambda runs: [run.alone() for run in runs]), replay(histories, run_together)


def test_state_is_that_of_each_alone(both: tuple) -> None:  # type: ignore[type-arg]
    (alone, _), (together, _) = both
    assert any(each.shifts or each.relearned for each in alone)
    assert any((each.checkpoint().parts["within/slot"] >= 0).any() for each in together)
    for kind, (one, other) in enumerate(zip(alone, together, strict=True)):
        expected, got = everything(one), everything(other)
        touched = {name for name in got if name.startswith("bucket/")}
        for name, array in expected.items():
            assert np.array_equal(array, got[name], equal_nan=array.dtype.kind == "f"), (kind, name)
        assert touched >= {name for name in expected if name.startswith("bucket/")}
        assert one.state.place == other.state.place
        assert one.calibration.false == other.calibration.false or np.isnan(one.calibration.false.expected)


def test_verdicts_are_those_of_each_alone(both: tuple) -> None:  # type: ignore[type-arg]
    (_, alone), (_, together) = both
    anomalous = scored = 0
    for kind, (ones, others) in enumerate(zip(alone, together, strict=True)):
        for one, other in zip(ones, others, strict=True):
            for name, array in vars(one).items():
                if name not in ("unread", "peers", "details"):
                    assert np.array_equal(array, getattr(other, name), equal_nan=array.dtype.kind == "f"), (kind, name)
            anomalous += int((one.score >= 0.5).sum())
            scored += int(np.isfinite(one.score).sum())
    assert anomalous
    assert scored > 10_000


def test_what_can_share_a_pass() -> None:
    samples = np.ones((24, 2))
    times = START + STEP * np.arange(24)

    def run(number: int, **more: object) -> EngineRun:
        return EngineRun(engine(number, samples, **more), times, samples, STEP)

    plain = [run(kind) for kind in range(3)]
    assert joinable(plain) == [[0, 2], [1]]
    other_window = run(3, baseline=BaselineSettings(window="10d"))
    finer = run(4, cadence=3600.0)
    budget = run(5, budget=Budget(1e-6, 1, 1, STEP))
    masked = EngineRun(engine(6, samples), times, samples, STEP, SampleMask(np.zeros(2, np.bool_), np.ones(2)))
    later = EngineRun(engine(7, samples), times + 7 * STEP, samples, STEP)
    went_on = run(8)
    went_on.engine.run(times[:5] - 24 * STEP, samples[:5], STEP)
    assert joinable([plain[0], other_window, finer, budget, masked, later, went_on, plain[2]]) == [
        [0, 7], [1], [2], [3], [4], [6], [5]
    ]  # fmt: skip
    assert joinable([plain[0], plain[0]]) == [[0], [1]]


def test_a_pass_has_so_many_rows_at_most() -> None:
    samples = np.ones((12, MOST_ROWS // 2))
    times = START + STEP * np.arange(12)
    runs = [EngineRun(engine(kind, samples, max_series=MOST_ROWS), times, samples, STEP) for kind in (0, 2, 4)]
    assert joinable(runs) == [[0, 1], [2]]
