from __future__ import annotations

import numpy as np

from exporter.config.model import Config
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict, Verdicts
from exporter.views.latest_verdicts import ABSENT, POINTS, SCALE, LatestVerdicts

PLAN = Config.model_validate({"queries": [{"name": "cpu", "expr": "cpu"}]}).plans()[0]


def table(*names: str) -> SeriesTable:
    found = SeriesTable(10)
    found.find([f'{{"a":"{name}"}}'.encode() for name in names])
    return found


def verdict(*observed: float, lower: float = 8.0, upper: float = 12.0):
    size = len(observed)
    said = Verdicts(np.array([60.0]), np.array([observed]), 4)
    said.expected[:], said.lower[:], said.upper[:], said.score[:] = 10.0, lower, upper, 0.1
    said.expected[:, np.isnan(observed)] = np.nan
    assert size == said.score.shape[1]
    return said[0]


def put(latest: LatestVerdicts, newest: Verdict, series: SeriesTable) -> None:
    latest.put(PLAN, newest, series, np.zeros(len(newest.score), np.int8))


def places(latest: LatestVerdicts) -> list[int]:
    said = latest.get("cpu")
    assert said is not None
    return said.places[-1].tolist()


def test_a_place_is_the_distance_to_the_edge_on_its_side():
    latest = LatestVerdicts()
    put(latest, verdict(10.0, 12.0, 7.0, 1e9, -1e9, np.nan), table(*"abcdef"))
    assert places(latest) == [0, SCALE, -1.5 * SCALE, 3 * SCALE, -3 * SCALE, ABSENT]


def test_with_one_edge_the_other_side_is_as_wide():
    latest = LatestVerdicts()
    put(latest, verdict(11.0, 9.0, lower=np.nan), table("a", "b"))
    assert places(latest) == [SCALE / 2, -SCALE / 2]
    put(latest, verdict(11.0, 10.0, lower=np.nan, upper=np.nan), table("a", "b"))
    assert places(latest) == [ABSENT, 0]


def test_a_row_that_is_given_to_another_series_begins_anew():
    latest, series = LatestVerdicts(), table("a", "b")
    for _ in range(3):
        put(latest, verdict(12.0, 12.0), series)
    series.release(np.array([0]))
    series.find([b'{"a":"c"}'])
    put(latest, verdict(10.0, 12.0), series)
    said = latest.get("cpu")
    assert said is not None
    assert said.names.labels == [(("a", "c"),), (("a", "b"),)]
    assert said.places[-4:].T.tolist() == [[ABSENT, ABSENT, ABSENT, 0], [SCALE] * 4]


def test_series_that_come_later_get_a_place_and_what_was_read_before_stays():
    latest, series = LatestVerdicts(), table("a")
    put(latest, verdict(12.0), series)
    before = latest.get("cpu")
    series.find([b'{"a":"b"}'])
    put(latest, verdict(10.0, 11.0), series)
    said = latest.get("cpu")
    assert before is not None
    assert said is not None
    assert before.places.shape == (POINTS, 1)
    assert said.places[-2:].tolist() == [[SCALE, ABSENT], [0, SCALE / 2]]
    assert said.names.texts == ['a="a"', 'a="b"']


def test_names_are_the_same_object_while_nothing_changed():
    latest, series = LatestVerdicts(), table("a")
    put(latest, verdict(10.0), series)
    first = latest.get("cpu")
    put(latest, verdict(10.0), series)
    second = latest.get("cpu")
    assert first is not None
    assert second is not None
    assert first.names is second.names
    latest.keep([])
    assert latest.get("cpu") is None
