from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from exporter.config.model import LimitsSettings
from exporter.engine.engine import Engine, EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from exporter.evaluation.admission import Admission
from exporter.exposition import SelfMetrics
from tests.deploy.tools import ROOT

GIB = 2**30
MIB = 2**20


def engine():
    return Engine(EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings(), max_series=10**6))


@pytest.fixture
def registry():
    return CollectorRegistry()


def room_of(registry, *engines, **limits):
    room = Admission(lambda: engines, SelfMetrics(registry))
    room.configure(LimitsSettings(**limits))
    return room


def admit(room, one, *, begin, count, most=10**6):
    """Let as many series come as there is room for, as a cycle does; those that are gone stay."""
    keys = [b'{"i":"%d"}' % i for i in range(begin, begin + count)]
    return room.admit(one, keys, np.zeros(count), 0.0, most=most, complete=False)[0]


def test_what_a_row_takes_is_known_before_there_is_one():
    one = engine()
    before = one.row_bytes
    one.align([b'{"i":"%d"}' % i for i in range(100)], np.zeros(100), 0.0)
    assert before == one.row_bytes == pytest.approx(one.bytes_per_series)


def test_queries_share_the_number_of_series(registry):
    first, second = engine(), engine()
    room = room_of(registry, first, second, max_series=100, max_series_per_query=100)
    assert admit(room, first, begin=0, count=70).refused == 0
    assert admit(room, second, begin=0, count=70).refused == 40
    assert admit(room, first, begin=0, count=80).refused == 10, "known ones are kept, new ones are not taken on"


def test_memory_ends_what_is_taken_on_and_nothing_that_is_there(registry):
    first, second = engine(), engine()
    room = room_of(registry, first, second, max_memory=256 * 2**20)
    assert registry.get_sample_value("anomaly_exporter_memory_limit_bytes") == 256 * 2**20
    came = admit(room, first, begin=0, count=20_000)
    known = len(first.table)
    assert came.refused == 20_000 - known > 0
    assert room.memory() <= 256 * 2**20 < room.memory() + 12_000
    assert registry.get_sample_value("anomaly_exporter_memory_expected_bytes") == room.memory()
    assert admit(room, second, begin=0, count=1).refused == 1

    room.configure(LimitsSettings(max_memory=GIB))
    assert admit(room, second, begin=0, count=1000).refused == 0
    room.configure(LimitsSettings(max_memory=256 * 2**20))
    assert admit(room, first, begin=0, count=known).refused == 0
    assert admit(room, first, begin=known, count=5).refused == 5


def test_room_for_rows_grows_no_further_than_memory_allows(registry):
    one = engine()
    room = room_of(registry, one, max_memory=256 * 2**20)
    for begin in range(0, 20_000, 1000):
        admit(room, one, begin=begin, count=1000)
        assert room.memory() <= 256 * 2**20
    assert len(one.table) > 10_500
    # A series that goes leaves its place to another one.
    one.table.release(np.arange(10))
    assert admit(room, one, begin=50_000, count=20).refused == 10


def test_without_a_limit_only_series_count(registry):
    one = engine()
    room = room_of(registry, one)
    assert room.left(one) == 200_000
    assert registry.get_sample_value("anomaly_exporter_memory_limit_bytes") == float("inf")


def test_over_the_limit_of_series_what_is_left_is_negative(registry):
    first, second = engine(), engine()
    room = room_of(registry, first, second, max_series=100, max_series_per_query=100)
    admit(room, first, begin=0, count=70)
    admit(room, second, begin=0, count=30)
    room.configure(LimitsSettings(max_series=60, max_series_per_query=60))
    assert room.left(first) == room.left(second) == -40


BESIDE = 3072
"""Bytes of a series beside its learned arrays."""


def test_what_memory_leaves_to_the_byte(registry):
    one = engine()
    room = room_of(registry, one)
    admit(room, one, begin=0, count=100)
    one.table.release(np.arange(20))
    free, now = one.capacity - len(one.table), room.memory()
    assert free >= 20
    new_row = one.row_bytes + BESIDE
    left = {
        -10 * BESIDE: -10,
        -10 * BESIDE + 1: -10,
        -1: -1,
        0: 0,
        5 * BESIDE: 5,
        5 * BESIDE - 1: 4,
        free * BESIDE: free,
        free * BESIDE + new_row - 1: free,
        free * BESIDE + new_row: free + 1,
        free * BESIDE + 3 * new_row: free + 3,
    }
    for more, count in left.items():
        room.configure(LimitsSettings.model_construct(max_series=10**6, max_memory=now + more))
        assert room.left(one) == count, more


def test_without_a_word_the_limit_is_four_fifths_of_what_the_process_may_have(registry):
    room = Admission(lambda: (), SelfMetrics(registry), memory_limit=lambda: GIB)
    room.configure(LimitsSettings())
    assert registry.get_sample_value("anomaly_exporter_memory_limit_bytes") == round(0.8 * GIB)
    room.configure(LimitsSettings(max_memory=2 * GIB))
    assert registry.get_sample_value("anomaly_exporter_memory_limit_bytes") == 2 * GIB


def test_documents_say_how_many_series_a_container_has_room_for(registry):
    table = (ROOT / "docs" / "operations.md").read_text().split("| memory limit of the container |")[1]
    sizes, _, counts = table.splitlines()[:3]
    units = {"Mi": MIB, "Gi": GIB}
    for size, count in zip(sizes.split("|"), counts.split("|")[2:], strict=False):
        if not size.strip():
            continue
        number, unit = re.match(r" (\d+)(Mi|Gi)", size).groups()
        one = engine()
        available = int(number) * units[unit]
        metrics = SelfMetrics(CollectorRegistry())
        room = Admission(lambda one=one: (one,), metrics, memory_limit=lambda available=available: available)
        room.configure(LimitsSettings(max_series=10**6))
        documented = int(count.strip().replace(",", ""))
        assert documented <= room.left(one) < documented * 1.2


def test_what_another_query_has_no_room_for_is_wanted_from_those_that_hold_series_that_are_gone(registry):
    first, second = engine(), engine()
    room = room_of(registry, first, second, max_series=100, max_series_per_query=100)
    admit(room, first, begin=0, count=70)
    assert admit(room, second, begin=0, count=40).refused == 10
    # The first has 30 living series: so many of the others as are wanted give way.
    living = [b'{"i":"%d"}' % i for i in range(30)]
    _, gone = room.admit(first, living, np.zeros(30), 0.0, most=10**6, complete=True)
    assert len(gone) == 10
    assert room.admit(first, living, np.zeros(30), 0.0, most=10**6, complete=True)[1] == [], "there is room now"
    assert admit(room, second, begin=0, count=40).refused == 0


def test_answers_may_take_what_the_series_leave(registry):
    one = engine()
    room = room_of(registry, one, max_memory=256 * MIB)
    before = room.answer_room()
    assert 0 < before < 256 * MIB
    one.align([b'{"i":"%d"}' % i for i in range(1000)], np.zeros(1000), 0.0)
    assert room.answer_room() < before
    room.configure(LimitsSettings())
    assert room.answer_room() == float("inf")
