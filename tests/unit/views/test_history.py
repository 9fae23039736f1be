"""What a chart shows of the past: what was decided where it is kept, and only before that a second engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from exporter.engine.series import key_of
from exporter.errors import PrometheusError, Reason
from exporter.prometheus.frame import HistoryChunk
from exporter.prometheus.settings import PrometheusSettings
from exporter.store import KeptVerdicts
from exporter.views.history import ChartSubject, SeriesHistory
from exporter.views.kept_verdicts import on_grid
from tests.faults.cycling import plan_of

TIMES = np.arange(20) * 60.0
LABELS = [("__name__", "load"), ("instance", "a")]


class Source:
    """Answers every range with the series, its scores, and a series of something else."""

    def __init__(self, *names: str) -> None:
        self.names = names or ("load", "anomaly_score", "expected_value", "node_load1")
        self.asked = 0

    def history(self, _: str, start: float, end: float, step: float, **__: Any) -> Iterator[HistoryChunk]:
        self.asked += 1
        keys = [key_of((("__name__", name), ("instance", "a"))) for name in self.names]
        times = np.arange(start, end + step / 2, step)
        yield HistoryChunk(times, keys, np.tile(np.arange(float(len(keys))), (len(times), 1)))

    def close(self) -> None:
        pass


class Away(Source):
    def history(self, *_: Any, **__: Any) -> Iterator[HistoryChunk]:
        raise PrometheusError("http://prometheus", Reason.CONNECTION, "nobody there")


def kept(times: np.ndarray, score: float = 0.4) -> KeptVerdicts:
    names = ("observed", "expected", "lower", "upper", "votes")
    lines = {name: np.full(len(times), 7.0) for name in names} | {"score": np.full(len(times), score)}
    return KeptVerdicts(times, lines, {"zscore": np.full(len(times), 0.7)}, np.full(len(times), 2.0))


def history(source: Source, own: KeptVerdicts | None = None, replays: list[Any] | None = None) -> SeriesHistory:
    def replayed(_: Any, task: Any) -> dict[str, np.ndarray]:
        if replays is not None:
            replays.append(task)
        return {name: np.full(len(task.times), 0.9) for name in ("expected", "lower", "upper", "score", "votes")}

    return SeriesHistory(lambda _: source, replayed, lambda *_: own)  # type: ignore[arg-type, return-value]


SUBJECT = ChartSubject(PrometheusSettings(), plan_of(), LABELS, 1)


def test_series_that_nobody_asked_for_are_passed_over() -> None:
    scored = history(Source()).scored(SUBJECT, 0.0, 19 * 60.0, 60.0)
    assert scored.scraped
    assert not scored.anew.any()
    assert set(scored.lines["score"]) == {1.0}
    assert set(scored.lines["expected"]) == {2.0}
    assert set(scored.lines["observed"]) == {0.0}


def test_what_is_kept_needs_no_other_source() -> None:
    source = Away()
    scored = history(source, kept(TIMES)).scored(SUBJECT, 0.0, 19 * 60.0, 60.0)
    assert source.asked == 0
    assert set(scored.lines["score"]) == {0.4}
    assert not scored.anew.any()


def test_only_what_was_before_it_is_judged_anew() -> None:
    # Half of it, so that neither would have had most of the range.
    scored = history(Source("load"), kept(TIMES[10:])).scored(SUBJECT, 0.0, 19 * 60.0, 60.0)
    assert scored.anew.tolist() == [True] * 10 + [False] * 10
    assert scored.lines["score"].tolist() == [0.9] * 10 + [0.4] * 10
    assert scored.lines["observed"].tolist() == [0.0] * 10 + [7.0] * 10


def test_a_part_of_what_was_judged_anew_is_not_judged_again() -> None:
    replays: list[Any] = []
    source = Source("load")
    past = history(source, replays=replays)
    whole = past.scored(SUBJECT, 0.0, 19 * 60.0, 60.0)
    part = past.scored(SUBJECT, 3 * 60.0, 19 * 60.0, 60.0)
    assert len(replays) == 1
    assert part.lines["score"].tolist() == whole.lines["score"][3:].tolist()
    past.scored(SUBJECT, 3 * 60.0, 20 * 60.0, 60.0)
    assert len(replays) == 2
    # A late sample is judged.
    source.names = ("anomaly_score", "load")
    past.scored(SUBJECT, 3 * 60.0, 20 * 60.0, 60.0)
    assert len(replays) == 3


def test_a_gap_has_samples_and_no_verdict() -> None:
    scored = history(Source("load"), kept(np.delete(TIMES, [5, 6, 7]))).scored(SUBJECT, 0.0, 19 * 60.0, 60.0)
    assert not scored.anew.any()
    assert np.isnan(scored.lines["score"]).nonzero()[0].tolist() == [5, 6, 7]
    assert np.isfinite(scored.lines["observed"]).all()


def test_what_is_kept_is_shown_while_the_server_is_away() -> None:
    scored = history(Away(), kept(TIMES[10:])).scored(SUBJECT, 0.0, 19 * 60.0, 60.0)
    assert np.nan_to_num(scored.lines["score"]).tolist() == [0.0] * 10 + [0.4] * 10


def test_the_worst_of_several_slots_is_shown() -> None:
    fine = kept(TIMES)
    fine.lines["score"][[3, 12]] = 0.8, 0.6
    grid = np.arange(0.0, 1200.0, 300.0) + 60.0
    shown = on_grid(fine, grid, 300.0)
    assert shown.times.tolist() == [60.0, 180.0, 660.0, 720.0]
    assert shown.lines["score"].tolist() == pytest.approx([0.4, 0.8, 0.4, 0.6])
