"""History is learned in pieces: whoever wants the query to end does not wait for a whole chunk."""

from __future__ import annotations

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from exporter.completeness import incomplete
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.engine.together import alone
from exporter.engine.verdict import Verdicts
from exporter.evaluation.history import HistoryRange, learn
from exporter.prometheus import HistoryChunk
from exporter.prometheus.unread_history import UnreadHistory

STEP = 300.0
POINTS = 2345
TIMES = 1772323200.0 + STEP * np.arange(POINTS)
KEYS = [b'{"i":"a"}', b'{"i":"b"}']
VALUES = 100 + np.random.default_rng(3).standard_normal((POINTS, len(KEYS)))


def one_chunk(start: float, end: float, step: float) -> Iterator[HistoryChunk]:
    assert (start, end, step) == (TIMES[0], TIMES[-1], STEP)
    yield HistoryChunk(TIMES, KEYS, VALUES)


def new_engine() -> Engine:
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings()))


@pytest.mark.parametrize("warnings", [("store s1 did not answer",), ("PromQL info: not a counter",), ()])
def test_what_a_partial_part_of_history_lacks_is_not_missing(warnings: tuple[str, ...]) -> None:
    engine = new_engine()
    learned = VALUES.copy()
    learned[-24:, 0] = np.nan  # Away for the last two hours.

    def history(start: float, end: float, step: float) -> Iterator[HistoryChunk]:
        yield HistoryChunk(TIMES[:-24], KEYS, learned[:-24])
        yield HistoryChunk(TIMES[-24:], KEYS, learned[-24:], warnings=warnings)

    alone(learn(engine, HistoryRange(TIMES[0], TIMES[-1], STEP), history))
    verdict = engine.step(TIMES[-1] + STEP, np.array([np.nan, 100.0]), STEP, complete=True)
    # Of these two hours nothing is known, so it is away since a single sample.
    assert verdict.absent.tolist() == ([False, False] if incomplete(warnings) else [True, False])


def test_what_cannot_be_read_of_history_is_not_missing() -> None:
    engine = new_engine()
    learned = VALUES.copy()
    learned[-24:, 0] = np.nan
    unread = UnreadHistory((KEYS[0],), np.isnan(learned[:, :1]), np.array([True]))

    def history(start: float, end: float, step: float) -> Iterator[HistoryChunk]:
        yield HistoryChunk(TIMES, KEYS, learned, unread)

    alone(learn(engine, HistoryRange(TIMES[0], TIMES[-1], STEP), history))
    assert not engine.step(TIMES[-1] + STEP, np.array([np.nan, 100.0]), STEP, complete=True).absent.any()


def test_a_chunk_is_learned_in_pieces_and_nothing_is_lost_between_them() -> None:
    piecewise, whole = new_engine(), new_engine()

    pieces: list[int] = []
    alone(learn(piecewise, HistoryRange(TIMES[0], TIMES[-1], STEP), one_chunk, on_progress=pieces.append))
    whole.run(TIMES, whole.align(KEYS, VALUES, float(TIMES[0])).samples, STEP)

    assert sum(pieces) == POINTS
    assert max(pieces) <= 480
    one, other = piecewise.checkpoint(), whole.checkpoint()
    assert one.at == other.at == TIMES[-1]
    for name, part in one.parts.items():
        np.testing.assert_array_equal(part, other.parts[name], err_msg=name)


@pytest.mark.parametrize("samples", [0, 40], ids=["never", "at the end"])
def test_what_comes_before_the_first_sample_is_passed_over(samples: int) -> None:
    engine = new_engine()
    values = VALUES.copy()
    values[: POINTS - samples] = np.nan
    judged: list[int] = []
    pieces: list[int] = []

    def history(start: float, end: float, step: float) -> Iterator[HistoryChunk]:
        yield HistoryChunk(TIMES[:2000], KEYS, values[:2000])
        yield HistoryChunk(TIMES[2000:], KEYS, values[2000:])

    plan = HistoryRange(TIMES[0], TIMES[-1], STEP)

    def judge(verdicts: Verdicts) -> None:
        judged.append(len(verdicts.times))

    alone(learn(engine, plan, history, on_verdicts=judge, on_progress=pieces.append))
    assert sum(pieces) == POINTS
    assert engine.at == TIMES[-1]
    # Of each answer the last piece is learned in any case.
    assert sum(judged) <= 2 * 480
    later = new_engine()
    if samples:
        late = TIMES[-samples:]
        later.run(late, later.align(KEYS, VALUES[-samples:], float(late[0])).samples, STEP)
        scores = [each.step(TIMES[-1] + STEP, np.array([100.0, 130.0]), STEP).score for each in (engine, later)]
        # Blocks of twelve begin at another sample.
        np.testing.assert_allclose(*scores, atol=0.01)
