from __future__ import annotations

import logging
import re
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporter.alerting.alert import AlertState
from exporter.errors import PrometheusError, Reason
from exporter.evaluation import jobs
from exporter.evaluation.removed_queries import RemovedQueries
from exporter.evaluation.row_alerts import RowAlerts
from exporter.evaluation.slot_result import SlotResult
from exporter.store.alerts import AlertLog
from exporter.store.errors import StoreError, StoreReason
from exporter.store.learned_arrays import LearnedArrays
from tests.faults.cycling import START, Source, World, plan_of, refused

FIRING, RESOLVED = AlertState.FIRING, AlertState.RESOLVED


@pytest.fixture
def source() -> Source:
    return Source("a", "b")


@pytest.fixture
def world(tmp_path: Path, source: Source):
    world = World(tmp_path / "state", source)
    assert world.prepare()
    yield world
    world.store.close()


def test_slots_in_which_nothing_happens_log_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.slot()
    with caplog.at_level(logging.INFO):
        world.slot(3)
    assert caplog.messages == []


def test_an_anomaly_fires_and_ends(world: World, source: Source) -> None:
    world.slot(3)
    assert world.scores() == 2
    source.loud = {"a"}
    world.slot()
    assert world.shown() == {"a": FIRING}
    source.loud = set()
    world.slot()
    assert world.shown() == {"a": RESOLVED}
    assert world.audit() == [("a", "open"), ("a", "firing"), ("a", "resolved")]
    # What it was stays, and what it is now comes beside it.
    (ended,) = world.cycle.alerts.alerts.values()
    assert re.fullmatch(r"load of instance=a is [\d.]+ again, expected [\d.]+", ended.annotations["recovered"])
    assert " again" not in ended.annotations["summary"]


def test_slots_without_alerts_are_written_once_a_minute_and_alerts_at_once(tmp_path: Path, source: Source) -> None:
    world = World(tmp_path / "state", source, plan=plan_of(interval="15s"))
    assert world.prepare()
    written: list[float | None] = []

    def slots(count: int) -> list[float | None]:
        written.clear()
        for _ in range(count):
            world.slot()
            reached = world.store.alerts.watermarks().get("load")
            written.append(None if reached is None else reached - world.now)
        return written

    assert slots(6) == [0.0, -15.0, -30.0, -45.0, 0.0, -15.0]
    source.loud = {"a"}
    assert slots(2) == [0.0, 0.0]
    assert world.store.alerts.load()["load"]
    world.restart()
    assert world.prepare()
    assert slots(1) == [0.0]
    assert world.states()["a"] is FIRING
    world.store.close()


def test_a_slot_in_which_nothing_happens_has_no_step(
    world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[float] = []
    correlate = RowAlerts._correlate

    def noted(self: RowAlerts, slot: SlotResult, *more: Any) -> Any:
        judged.append(slot.states.at)
        return correlate(self, slot, *more)

    monkeypatch.setattr(RowAlerts, "_correlate", noted)
    world.slot(4)
    assert len(judged) == 1
    source.series.append("c")
    world.slot(3)
    assert len(judged) == 2
    source.loud = {"a"}
    world.slot(2)
    assert len(judged) == 4
    assert world.shown() == {"a": FIRING}


# ---------------------------------------------------------------------- the start


def test_what_fired_before_a_start_is_sent_while_history_is_read(world: World, source: Source) -> None:
    source.loud = {"a"}
    world.slot(2)
    world.restart(downtime=30.0)
    assert world.shown() == {}
    world.slot()
    assert not world.cycle.ready
    assert world.shown() == {"a": FIRING}


def test_a_slot_does_not_wait_for_history(world: World, source: Source) -> None:
    source.loud = {"a"}
    world.slot()
    world.restart(downtime=600.0)
    reading, go_on = threading.Event(), threading.Event()
    source.faults = [lambda: (reading.set(), go_on.wait(20))]
    thread = threading.Thread(target=world.prepare)
    thread.start()
    assert reading.wait(20)
    world.slot()
    assert world.shown() == {"a": FIRING}
    go_on.set()
    thread.join()


def test_history_that_came_as_far_as_a_slot_is_no_failure(world: World) -> None:
    world.slot(2)
    world.restart(downtime=600.0)
    world.prepare()
    world.cycle.run(world.now)
    assert world.sample("cycles_failed_total") == 0
    world.slot()
    assert world.scores() == 2


def test_leaving_breaks_off_history_and_says_nothing(tmp_path: Path) -> None:
    source = Source("a")
    world = World(tmp_path, source)
    reading, closed = threading.Event(), threading.Event()

    def hang() -> None:
        reading.set()
        assert closed.wait(20)
        raise refused()

    source.faults = [hang]
    source.close = closed.set  # type: ignore[method-assign]
    thread = threading.Thread(target=world.prepare)
    thread.start()
    assert reading.wait(20)
    world.cycle.leave()
    assert world.cycle.join(20)
    thread.join()
    assert world.sample("cycles_failed_total") == 0
    world.store.close()


# ---------------------------------------------------------------------- failures of the source


def test_while_the_source_is_away_nothing_is_shown_and_what_fires_goes_on(world: World, source: Source) -> None:
    source.loud = {"a"}
    world.slot(2)
    source.down = refused()
    world.slot(5)
    assert world.shown() == {"a": FIRING}
    assert world.scores() == 0
    assert world.metrics.registry.get_sample_value("anomaly_exporter_source_up", {"source": "prometheus"}) == 0
    assert world.sample("query_errors_total", reason="refused") == 5
    assert world.sample("cycles_failed_total") == 5
    assert world.sample("cycles_total") == 7
    assert world.sample("series", state="no_data") == 2


def test_the_end_of_an_outage_is_told_and_that_of_a_hiccup_is_not(
    world: World, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    world.slot()
    with caplog.at_level(logging.INFO, "exporter.evaluation.query_metrics"):
        for failures in (1, 3):
            source.down = refused()
            world.slot(failures)
            source.down = None
            world.slot(3)
    again = [record for record in caplog.records if record.msg == "the query is answered again"]
    assert [vars(record)["failed"] for record in again] == [3]


@pytest.mark.parametrize(
    ("reason", "up"),
    [(Reason.UNAVAILABLE, 0), (Reason.TIMEOUT, 0), (Reason.UNAUTHORIZED, 0), (Reason.MALFORMED, 0),
     (Reason.EXECUTION, 1), (Reason.BAD_DATA, 1), (Reason.TOO_LARGE, 1)],
)  # fmt: skip
def test_the_source_is_up_when_only_the_query_is_at_fault(
    reason: Reason, up: int, world: World, source: Source
) -> None:
    source.down = PrometheusError("http://prometheus", reason, "no", status=503)
    world.slot()
    assert world.metrics.registry.get_sample_value("anomaly_exporter_source_up", {"source": "prometheus"}) == up


def test_an_hour_without_prometheus_is_learned_once_and_alerts_about_now_only(world: World, source: Source) -> None:
    world.slot(2)
    source.down = refused()
    source.loud = {"a"}
    world.slot(60)
    source.ranges.clear()
    source.loud = {"b"}
    source.down = None
    world.slot()
    assert source.ranges == [(START + 3 * 60, START + 62 * 60, 60)]
    assert world.shown() == {"b": FIRING}
    source.ranges.clear()
    world.slot()
    assert source.ranges == []


def test_a_long_gap_is_read_beside_the_slots(world: World, source: Source) -> None:
    source.loud = {"a"}
    world.slot()
    source.down = refused()
    world.slot(10)
    world.now += 200 * 60
    source.down = None
    world.slot()
    assert not world.cycle.ready
    assert world.prepare()
    world.slot()
    assert world.scores() == 2


def test_series_that_appear_in_a_gap_are_shown(world: World, source: Source) -> None:
    world.slot()
    source.down = refused()
    world.slot(20)
    source.series.append("c")
    source.down = None
    world.slot(15)
    assert 'instance="c"' in world.page()


@pytest.mark.parametrize(("seconds", "rest"), [(60.0, 60.0), (1e6, 300.0)])
def test_a_server_that_wants_peace_gets_it(
    seconds: float, rest: float, world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [time.monotonic()]
    monkeypatch.setattr("exporter.evaluation.pauses.monotonic", lambda: clock[0])
    source.loud = {"a"}
    world.slot()
    source.faults = [PrometheusError("u", Reason.RATE_LIMITED, "429", status=429, retry_after=seconds)]
    world.slot()
    asked = len(source.instants)
    clock[0] += rest - 1
    world.slot()
    assert len(source.instants) == asked
    assert world.shown() == {"a": FIRING}
    clock[0] += 2
    world.slot()
    assert len(source.instants) == asked + 1
    assert world.scores() == 2


def test_a_partial_answer_does_not_say_that_a_series_is_gone(world: World, source: Source) -> None:
    source.loud = {"a"}
    world.slot()
    source.gone, source.warnings = {"a"}, ("a store did not answer",)
    world.slot(10)
    assert world.shown() == {"a": FIRING}
    assert world.sample("query_warnings_total") == world.sample("partial_answers_total") == 10
    assert "a store did not answer" in str(world.cycle.remark)
    source.warnings = ()
    world.slot(4)
    assert world.shown() == {"a": RESOLVED}
    assert world.cycle.remark is None


def test_rows_that_there_was_no_memory_for_are_counted(
    world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = source.instant
    monkeypatch.setattr(source, "instant", lambda *args, **more: replace(whole(*args, **more), refused=7))
    world.slot()
    assert world.scores() == 2
    assert world.sample("series", state="over_limit") == 7
    assert world.sample("series_rejected_total", reason="over_limit") == 7


def test_a_remark_on_the_expression_is_not_a_partial_answer(world: World, source: Source) -> None:
    source.warnings = ("PromQL info: metric might not be a counter",)
    source.loud = {"a"}
    world.slot()
    source.gone = {"a"}
    world.slot(4)
    assert world.shown() == {"a": RESOLVED}


# ---------------------------------------------------------------------- series


def test_known_series_stay_when_there_is_no_room(world: World, source: Source) -> None:
    world.slot()
    world.limit(2)
    source.series = ["new1", "new2", "a", "b"]
    world.slot(15)
    page = world.page()
    assert 'instance="a"' in page
    assert 'instance="b"' in page
    assert "new1" not in page
    assert world.sample("series_rejected_total", reason="over_limit") == 30
    assert world.sample("series", state="over_limit") == 2


def test_a_firing_series_that_was_forgotten_and_comes_back_normal_ends(tmp_path: Path) -> None:
    source = Source("a", "b")
    plan = plan_of(alert={"no_data": "alert"}, baseline={"window": "1d", "min_history": "1h", "series_ttl": "1h"})
    world = World(tmp_path, source, plan=plan)
    world.prepare()
    source.loud = {"a"}
    world.slot(2)
    source.loud, source.gone = set(), {"a"}
    world.slot(70)
    assert world.cycle.series == 1
    assert world.shown() == {"a": FIRING}
    source.gone = set()
    world.slot(320)  # Nothing is said of a new series before sixty samples of it are learned, one in five minutes.
    assert world.shown().get("a") is not FIRING
    world.store.close()


# ---------------------------------------------------------------------- clocks


def set_clock(world: World, source: Source, seconds: float) -> None:
    world.skew += seconds
    world.now += seconds


@pytest.mark.parametrize("seconds", [3600.0, 86400.0, 12 * 365 * 86400.0])
def test_a_clock_that_runs_ahead_changes_nothing(seconds: float, world: World, source: Source) -> None:
    """The server keeps the time, so it has no samples of what we call now."""
    source.loud = {"a"}
    world.slot(2)
    learned, there = world.cycle.learner.engine.at, source.keys
    source.keys = lambda: there() if source.instants[-1] <= world.now - world.skew + 300 else []  # type: ignore[method-assign]
    set_clock(world, source, seconds)
    world.slot(8)
    assert world.cycle.learner.engine.at == learned
    assert world.cycle.series == 2
    set_clock(world, source, -seconds)
    world.slot(3)
    assert world.shown() == {"a": FIRING}
    assert world.audit() == [("a", "open"), ("a", "firing")]
    assert world.scores() == 2


@pytest.mark.parametrize("seconds", [-120.0, -3600.0, -86400.0, -START + 100.0])
def test_a_clock_that_falls_back_resolves_nothing(seconds: float, world: World, source: Source) -> None:
    world.slot(5)
    source.loud = {"a"}
    world.slot(2)
    loud_from = world.now - 60
    source.value = lambda name, at: 100.0 + at % 7 if at < loud_from else 100.0  # type: ignore[method-assign]
    set_clock(world, source, seconds)
    source.loud = set()
    by_query = world.alert_snapshots.read()
    world.slot(2 if seconds == -120.0 else 8)
    assert world.shown() == {"a": FIRING}
    assert world.alert_snapshots.read() is not by_query, "it is sent again"
    source.loud = {"a"}
    set_clock(world, source, -seconds)
    world.slot(2)
    assert world.shown() == {"a": FIRING}
    assert world.audit() == [("a", "open"), ("a", "firing")]


def test_a_clock_that_was_wrong_before_does_not_blind(world: World, source: Source) -> None:
    """Prometheus and we were a day ahead together, and both are right now."""
    world.slot(3)
    source.loud = {"a"}
    world.now += 86400.0
    world.slot()
    world.prepare()
    world.slot(2)
    assert world.shown() == {"a": FIRING}
    world.now -= 86400.0
    world.slot(2)
    assert world.scores() == 2
    source.loud = set()
    world.slot()
    assert world.shown() == {"a": RESOLVED}
    assert all(one.resolved_at >= one.fired_at for one in world.cycle.alerts.alerts.values())
    world.restart()
    assert world.prepare()
    source.loud = {"b"}
    world.slot(2)
    assert world.shown()["b"] is FIRING


@pytest.mark.parametrize("seconds", [-86400.0, -3600.0, 3600.0, 86400.0])
def test_a_clock_that_is_set_while_the_server_is_asked_changes_nothing(
    seconds: float, world: World, source: Source
) -> None:
    """The slot is of one clock and the answer of the other: nothing is judged by it, and nothing is gone back for."""
    source.loud = {"a"}
    world.slot(3)
    learned, there = world.cycle.learner.engine.at, source.keys
    set_clock(world, source, seconds)
    source.keys = list  # type: ignore[method-assign]
    source.faults = [lambda: set_clock(world, source, -seconds)]
    world.slot()
    assert world.cycle.learner.engine.at == learned
    source.keys = there  # type: ignore[method-assign]
    world.slot(3)
    assert world.cycle.learner.engine.at == world.now
    assert world.shown() == {"a": FIRING}
    assert world.audit() == [("a", "open"), ("a", "firing")]


def test_the_difference_of_the_clocks_is_shown(world: World, source: Source) -> None:
    source.server_time = lambda: float(int(world.now + 42))
    world.slot()
    skew = world.metrics.registry.get_sample_value("anomaly_exporter_clock_skew_seconds", {"peer": "prometheus"})
    assert skew == pytest.approx(42, abs=2)
    assert world.scores() == 2


# ---------------------------------------------------------------------- mistakes and the store


class MistakeError(RuntimeError):
    pass


def test_a_detector_that_raises_fails_the_slot_and_is_left_behind(
    world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.loud = {"a"}
    world.slot()
    world.cycle.learner.checkpoint()

    def wrong(*_: object) -> None:
        raise MistakeError

    monkeypatch.setattr(type(world.plan.detection.detectors[0]), "score", wrong)
    world.slot(4)
    assert world.shown() == {"a": FIRING}
    assert world.scores() == 0
    assert world.sample("cycles_failed_total") >= 3
    assert not world.cycle.ready
    monkeypatch.undo()
    world.cycle._pauses.pause(0.0)
    assert world.prepare()
    world.slot()
    assert world.scores() == 2
    assert world.shown() == {"a": FIRING}


def test_a_mistake_in_history_is_not_repeated_at_every_slot(
    tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, source)

    def wrong(*_: object) -> None:
        raise MistakeError

    monkeypatch.setattr(type(world.plan.detection.detectors[0]), "score", wrong)
    assert not world.prepare()
    asked = len(source.ranges)
    assert not world.prepare()
    assert len(source.ranges) == asked
    world.store.close()


def test_a_run_that_hangs_is_seen_and_what_it_does_later_does_not_count(
    world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.loud = {"a"}
    world.slot()
    monkeypatch.setattr(jobs, "PATIENCE", 0.0)
    judging, go_on = threading.Event(), threading.Event()
    kind = type(world.plan.detection.detectors[0])
    score = kind.score

    def hang(self: object, batch: object) -> object:
        judging.set()
        go_on.wait(30)
        return score(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "score", hang)
    old = world.cycle
    source.loud = set()
    thread = threading.Thread(target=world.slot)
    thread.start()
    assert judging.wait(20)
    assert old.stuck
    old.leave()
    assert not old.join(0.1)
    monkeypatch.setattr(kind, "score", score)
    world.cycle = old.take_over(world.plan, world.context(), at=world.now)
    assert world.prepare()
    source.loud = {"a"}
    world.slot()
    assert world.shown() == {"a": FIRING}
    go_on.set()
    thread.join()
    assert not old.stuck
    assert world.shown() == {"a": FIRING}
    assert world.audit() == [("a", "open"), ("a", "firing")]


class Full:
    """A disk that is full while `full` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        for kind, name in ((AlertLog, "commit"), (AlertLog, "record"), (LearnedArrays, "save")):
            monkeypatch.setattr(kind, name, self._wrap(getattr(kind, name)))

    def _wrap(self, method):
        def call(*args, **options):
            if self.full:
                raise StoreError(StoreReason.FULL, "disk full")
            return method(*args, **options)

        return call


def test_with_a_full_disk_alerts_go_on_and_the_audit_is_written_later(
    world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Full(monkeypatch)
    world.slot()
    disk.full = True
    source.loud = {"a"}
    world.slot()
    assert world.shown() == {"a": FIRING}
    source.loud = set()
    world.slot()
    assert world.shown() == {"a": RESOLVED}
    assert world.audit() == []
    assert world.metrics.registry.get_sample_value("anomaly_exporter_store_errors_total", {"reason": "full"}) >= 2
    disk.full = False
    world.slot()
    assert world.audit() == [("a", "open"), ("a", "firing"), ("a", "resolved")]


@pytest.mark.parametrize("end", ["end", "remove", "reload"])
def test_what_the_store_did_not_take_is_written_at_the_end(
    end: str, world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Full(monkeypatch)
    world.slot()
    disk.full, source.loud = True, {"a"}
    world.slot()
    if end == "end":
        disk.full = False
        world.end()
        world.begin()
    elif end == "remove":
        departed = RemovedQueries()
        world.cycle.leave()
        departed.add("load", world.cycle.alerts.alert_store.left, world.context(), at=world.now + 1)
        disk.full = False
        departed.age(world.context(), at=world.now + 15)
    else:
        world.reload(plan_of(min_deviation=1.0))
        disk.full = False
        world.slot()
    events = [event for _, event in world.audit()]
    assert events == ["open", "firing", *(["resolved"] if end == "remove" else [])]


def test_nothing_is_written_while_nothing_is_known_and_nothing_changes(
    world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(interval="1s")
    source.loud = {"a"}
    world.slot(2)
    world.reload(plan)
    written = []
    record = AlertLog.record
    monkeypatch.setattr(AlertLog, "record", lambda self, *args: (written.append(args), record(self, *args)))
    source.down = refused()
    world.slot(59)
    assert not written
    world.slot(120)
    assert 1 <= len(written) <= 3


# ---------------------------------------------------------------------- reloads


def test_a_reload_keeps_what_was_learned_and_what_fires(world: World, source: Source) -> None:
    source.loud = {"a"}
    world.slot(2)
    ranges = len(source.ranges)
    world.reload(plan_of(min_deviation=1.0))
    assert world.sample("judged_ratio") == 1.0
    world.slot()
    assert world.cycle.ready
    assert len(source.ranges) == ranges
    assert world.shown() == {"a": FIRING}
    assert world.audit() == [("a", "open"), ("a", "firing")]


@pytest.mark.parametrize("no_data", ["hold", "alert"])
def test_a_reload_that_names_alerts_otherwise_ends_those_of_the_old_name(
    no_data: str, world: World, source: Source
) -> None:
    source.loud = {"a"}
    world.slot(2)
    world.reload(plan_of(alert={"labels": {"team": "x"}, "no_data": no_data}))
    world.slot()
    sheet = world.alert_snapshots.read().by_query["load"].alerts.values()
    assert {(one.labels.get("team"), one.state) for one in sheet} == {(None, RESOLVED), ("x", FIRING)}


def test_a_reload_that_takes_the_alert_away_ends_what_fires(world: World, source: Source) -> None:
    source.loud = {"a"}
    world.slot(2)
    world.reload(replace(plan_of(), alert=None))
    world.slot()
    assert world.shown() == {"a": RESOLVED}


def test_instants_are_the_same_numbers_however_they_were_come_by(tmp_path: Path, source: Source) -> None:
    """A slot that history brought must not look newer than the same slot when it is judged."""
    world = World(tmp_path, source, plan=plan_of(interval="1s", baseline={"window": "1d", "min_history": "1h"}))
    world.now = START + 0.275
    world.prepare()
    world.now = round(world.now, 3)
    for _ in range(50):
        world.now = round(world.now + 1.0, 3)
        if int(world.now) % 3:
            world.cycle.run(world.now)
    times = world.cycle.learner.engine.at
    assert times == np.round(times, 3)
    world.store.close()
