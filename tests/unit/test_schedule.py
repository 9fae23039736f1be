from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from apscheduler.events import EVENT_JOB_MAX_INSTANCES
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.plan import offset_of, offsets
from exporter.schedule import Job, Schedule, slot_at
from tests.simulated_time import SimulatedTime

seconds = st.floats(0, 4e9, allow_nan=False)
intervals = st.sampled_from([1.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0])


@given(seconds, intervals, st.text(min_size=1))
def test_slot_is_on_the_grid_and_not_ahead(now: float, interval: float, name: str) -> None:
    offset = offset_of(name, interval)
    slot = slot_at(now, interval, offset)
    assert slot <= now < slot + interval + 1e-3
    assert abs((slot - offset) / interval - round((slot - offset) / interval)) < 1e-6


@given(st.text(min_size=1), intervals)
def test_offset_is_whole_milliseconds_within_the_interval(name: str, interval: float) -> None:
    offset = offset_of(name, interval)
    assert 0 <= offset < interval
    assert offset * 1000 == pytest.approx(round(offset * 1000))


def test_offset_is_the_same_in_every_process() -> None:
    assert offset_of("api_latency_p99", 60.0) == 18.275


def test_offsets_spread_the_load() -> None:
    thirds = [int(offset_of(f"query_{i}", 60.0) // 20) for i in range(300)]
    assert all(60 < thirds.count(third) < 140 for third in range(3))


def test_queries_of_a_group_share_their_instants_and_others_do_not() -> None:
    intervals = {"a": 60.0, "b": 60.0, "c": 300.0, "d": 60.0, "e": 15.0, "f": 60.0}
    shifts = offsets(intervals, [["b", "c"], ["c", "d"], ["e", "f"]])
    assert shifts["b"] == shifts["c"] == shifts["d"] == offset_of("b", 60.0)
    assert shifts["e"] == shifts["f"] == offset_of("e", 15.0)
    assert shifts["a"] == offset_of("a", 60.0)
    assert len(set(shifts.values())) == 3


class Runs:
    """Records what a schedule runs; `wait` lets time pass until there is what the test expects."""

    def __init__(self, time: SimulatedTime, schedule: Schedule) -> None:
        self._time, self._schedule = time, schedule
        self.slots: list[float] = []
        self.missed = 0
        self._came = threading.Condition()

    def run(self, slot: float) -> None:
        with self._came:
            self.slots.append(slot)
            self._came.notify_all()

    def miss(self, count: int) -> None:
        self.missed += count

    def wait(self, count: int) -> list[float]:
        """Let slots of a quarter of a second pass, one run after the other."""
        for _ in range(100):
            with self._came:
                if self._came.wait_for(lambda: len(self.slots) >= count, 0.05):
                    return self.slots[:]
            self._time.advance(0.25, self._schedule._scheduler)
        raise AssertionError(self.slots)


@pytest.fixture
def failures():
    return []


@pytest.fixture
def time(monkeypatch):
    return SimulatedTime(monkeypatch)


@pytest.fixture
def schedule(time, failures):
    schedule = Schedule({"": 2}, clock=time, failed=failures.append)
    schedule.start()
    yield schedule
    schedule.stop()


@pytest.fixture
def new_runs(time, schedule):
    return lambda: Runs(time, schedule)


def test_slots_follow_each_other_on_the_grid(schedule, new_runs) -> None:
    runs = new_runs()
    schedule.set({"cpu": Job(1.0, 0.25, runs.run, runs.miss)})
    slots = runs.wait(3)
    assert [round((slot - 0.25) % 1.0, 6) % 1.0 for slot in slots] == [0.0] * 3
    assert slots == sorted(set(slots))
    assert slots[2] - slots[0] == 2.0
    assert schedule.alive


def test_a_slow_run_is_never_overtaken_and_what_it_cost_is_counted(time, schedule, failures, new_runs) -> None:
    runs, together, most, skipped = new_runs(), threading.Semaphore(1), [], threading.Event()
    schedule._scheduler.add_listener(lambda _: skipped.set(), EVENT_JOB_MAX_INSTANCES)

    def slow(slot: float) -> None:
        assert together.acquire(blocking=False)
        runs.run(slot)
        most.append(slot)
        skipped.clear()
        time.advance(0.55, schedule._scheduler)  # the subject of the test: longer than two intervals
        assert skipped.wait(20), "the scheduler has seen that it is due again"
        together.release()

    schedule.set({"cpu": Job(0.25, 0.0, slow, runs.miss)})
    runs.wait(3)
    assert together.acquire(timeout=20)
    assert runs.missed >= 2
    assert failures == []


def test_a_failing_job_is_told_and_the_others_go_on(schedule, failures, new_runs, caplog) -> None:
    runs = new_runs()
    schedule.set({"bad": Job(0.25, 0.0, lambda _: 1 / 0, runs.miss), "good": Job(0.25, 0.0, runs.run, runs.miss)})
    runs.wait(3)
    assert set(failures) == {"bad"}
    assert caplog.records
    assert {record.exc_info[0] for record in caplog.records} == {ZeroDivisionError}


def test_a_removed_job_does_not_run(schedule, new_runs) -> None:
    gone, kept = new_runs(), new_runs()
    schedule.set({"gone": Job(0.25, 0.0, gone.run, gone.miss), "kept": Job(0.25, 0.0, kept.run, kept.miss)})
    gone.wait(1)
    schedule.set({"kept": Job(0.25, 0.0, kept.run, kept.miss)})
    before = len(gone.slots)
    kept.wait(len(kept.slots) + 3)
    assert len(gone.slots) <= before + 1  # one may have been under way


def test_a_replaced_job_keeps_its_slots(schedule, new_runs) -> None:
    old, new = new_runs(), new_runs()
    schedule.set({"cpu": Job(1.0, 0.25, old.run, old.miss)})
    old.wait(2)
    schedule.set({"cpu": Job(1.0, 0.25, new.run, new.miss)})
    new.wait(2)
    slots = old.slots + new.slots
    assert slots == sorted(set(slots))
    assert new.missed == 0


@pytest.mark.parametrize("step", [3600.0, -3600.0, 86400.0, -86400.0])
def test_runs_go_on_when_the_clock_is_set(step: float, time, failures) -> None:
    ahead = [0.0]
    schedule = Schedule({"": 2}, clock=lambda: time() + ahead[0], failed=failures.append)
    runs = Runs(time, schedule)
    assert not schedule.check_clock()
    schedule.set({"cpu": Job(1.0, 0.25, runs.run, runs.miss)})
    ahead[0] = step
    assert schedule.check_clock()
    assert not schedule.check_clock()
    assert schedule._done["cpu"] == pytest.approx(time() + step, abs=1.0)
    assert runs.missed == 0


def test_a_machine_that_booted_in_1970_does_not_make_up_for_the_years(time, schedule, new_runs) -> None:
    runs = new_runs()
    schedule.set({"cpu": Job(0.25, 0.0, runs.run, runs.miss)})
    # As after the clock was set: what is planned next lies half a century back.
    schedule._scheduler.modify_job("cpu", next_run_time=datetime.fromtimestamp(0.0, UTC))
    first, second = runs.wait(2)[:2]
    assert time() - 60 < first < second < time()


def test_what_is_missed_by_a_jump_of_the_clock_is_one_event(time, failures) -> None:
    ahead = [0.0]
    schedule = Schedule({"": 2}, clock=lambda: time() + ahead[0], failed=failures.append)
    runs = Runs(time, schedule)
    schedule.set({"cpu": Job(1.0, 0.25, runs.run, runs.miss)})
    time.now += 1.0
    schedule._run("cpu")
    ahead[0] = 90 * 86400.0
    time.now += 1.0
    schedule._run("cpu")
    assert runs.missed == 1
    # Slots that really passed are counted as they are.
    time.now += 5.0
    schedule._run("cpu")
    assert runs.missed == 1 + 4
    assert len(runs.slots) == 3
