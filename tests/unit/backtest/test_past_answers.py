"""Slots that are answered from range queries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from exporter.backtest.past_answers import HistoryReplay, PastAnswers
from exporter.backtest.scored_ahead import score_slots
from exporter.backtest.scored_together import score_together, span_of
from exporter.config.engine_settings import engine_settings
from exporter.config.model import Config
from exporter.engine.engine import Engine
from exporter.errors import PrometheusError, Reason
from exporter.prometheus import HistoryChunk, LeftOut, PartSizes
from exporter.prometheus.unread_history import UnreadHistory
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks

KEYS = [b'{"a":"1"}', b'{"a":"2"}']
PLAN = replace(Config.model_validate({"queries": [{"name": "q", "expr": "x"}]}).plans()[0], interval=60.0)


class Server:
    """Answers in chunks of three instants; each request fails first, as often as it is told to."""

    def __init__(self, failures: int = 0, reason: Reason = Reason.TIMEOUT) -> None:
        self.asked: list[float] = []
        self._failures, self._reason = failures, reason

    def history(
        self, expr: str, start: float, end: float, step: float, *, timeout: float, series: int, **_: object
    ) -> Iterator[HistoryChunk]:
        self.asked.append(start)
        times = np.arange(start, end + 1, step)
        for number, begin in enumerate(range(0, len(times), 3)):
            if number and self._failures:
                self._failures -= 1
                raise PrometheusError("http://x", self._reason, "no")
            part = times[begin : begin + 3]
            values = np.stack([part, np.where(part == 300.0, np.nan, -part)], axis=1)
            yield HistoryChunk(part, KEYS, values, warnings=("something is missing",) if begin else ())


def answers(server: Server, waits: list[float]) -> HistoryReplay:
    return HistoryReplay(server, PLAN, last=610.0, query_offset=10.0, series=2, sleep=waits.append)


def test_every_slot_has_its_own_answer() -> None:
    past = answers(Server(), [])
    for slot in np.arange(10.0, 611.0, 60.0):
        past.fetch(slot)
        frame = past.instant("x", slot - 10.0, timeout=1.0)
        gone = slot == 310.0
        assert frame.keys == (KEYS[:1] if gone else KEYS)
        assert frame.values.tolist() == [slot - 10.0, 10.0 - slot][: len(frame.keys)]
        assert frame.server_time is None
    assert list(past.warnings) == ["something is missing"]


def test_a_chunk_that_fails_is_asked_for_again_from_where_it_stood() -> None:
    server, waits = Server(failures=2), []
    past = answers(server, waits)
    for slot in np.arange(10.0, 611.0, 60.0):
        past.fetch(slot)
    assert server.asked == [0.0, 180.0, 360.0]
    assert len(waits) == 2


@pytest.mark.parametrize(("failures", "reason", "tries"), [(99, Reason.TIMEOUT, 4), (1, Reason.BAD_DATA, 1)])
def test_what_stays_wrong_ends_it(failures: int, reason: Reason, tries: int) -> None:
    class Dead(Server):
        def history(self, *args: object, **more: object) -> Iterator[HistoryChunk]:
            self.asked.append(0.0)
            raise PrometheusError("http://x", reason, "no")

    server, waits = Dead(), []
    with pytest.raises(PrometheusError):
        answers(server, waits).fetch(10.0)
    assert (len(server.asked), len(waits)) == (tries, tries - 1)


def test_asking_for_less_is_no_attempt_in_vain() -> None:
    class Busy(Server):
        """Too many requests, until little is asked for."""

        points = 640

        def history(self, *args: object, sizes: PartSizes, **more: object) -> Iterator[HistoryChunk]:
            if self.points > 10:
                error = PrometheusError("http://x", Reason.RATE_LIMITED, "later", status=429)
                sizes.refused(60.0, self.points, error)
                self.points = sizes.points(60.0, self.points)
                raise error
            yield from super().history(*args, **more)  # type: ignore[arg-type]

    waits: list[float] = []
    past = answers(Busy(), waits)
    past.fetch(70.0)
    assert len(past.instant("x", 60.0, timeout=1.0).keys) == 2
    # Six times halved, with longer and longer pauses.
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]


class Unreadable(Server):
    """Of one series three samples cannot be read, and of another nothing."""

    def history(self, *args: object, **more: object) -> Iterator[HistoryChunk]:
        times = np.arange(0.0, 601.0, 60.0)
        values = np.stack([times, np.where((times >= 300.0) & (times < 480.0), np.nan, 5.0)], axis=1)
        where = np.stack([np.isnan(values[:, 1]), times > 0.0], axis=1)
        unread = UnreadHistory((KEYS[1], b'{"a":"3"}'), where, np.array([True, False]))
        yield HistoryChunk(times, KEYS, values, unread)


def test_what_cannot_be_read_of_the_past_is_in_the_answers_of_its_slots() -> None:
    past = answers(Unreadable(), [])
    past.fetch(10.0)
    assert past.instant("x", 0.0).whole
    frame = past.instant("x", 300.0)
    assert (frame.keys, frame.unreadable) == (KEYS[:1], LeftOut((KEYS[1], b'{"a":"3"}'), 2, 1))
    assert not frame.whole
    assert not frame.partial
    (warning,) = past.warnings
    assert warning.startswith("rows that cannot be read are left out: 1 native histogram:")


def test_a_series_that_cannot_be_read_is_not_missing_in_a_backtest() -> None:
    masks = SampleMasks(ActiveEvents(), {})
    engine = Engine(engine_settings(PLAN))
    times = np.arange(0.0, 2 * 86400.0, 300.0)
    noise = np.random.default_rng(1).normal(0.0, 1.0, (len(times), 2))
    engine.run(times, engine.align(KEYS, 100.0 + noise, 0.0).samples, 300.0)
    slots = times[-1] + 60.0 * np.arange(1.0, 31.0)
    values = np.stack([np.full(30, 100.0), np.full(30, np.nan)], axis=1)
    unread = UnreadHistory((KEYS[1],), np.ones((30, 1), np.bool_), np.zeros(1, np.bool_))
    past = PastAnswers(slots, HistoryChunk(slots, KEYS, values, unread), 0.0)
    # One by one: see `Learner.step`.
    assert score_together(engine, PLAN, masks, past.part(0, span_of(engine, PLAN, slots)), engine.table) is None
    _, spans = score_slots(engine, PLAN, masks, past)
    assert len(spans) == 30
    verdicts = [span.last.verdict for span in spans]
    assert all(verdict.unread is not None and verdict.unread.tolist() == [False, True] for verdict in verdicts)
    assert not any(verdict.absent.any() for verdict in verdicts)
