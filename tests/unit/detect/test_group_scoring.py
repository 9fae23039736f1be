"""Groups over recorded samples: five hundred rows of three metrics, with a load and a failure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from exporter.config.model import Config
from exporter.detect.group_scoring import query_of, score_queries
from exporter.detect.output import is_anomaly_now, to_csv, to_json
from exporter.detect.recorded_series import RecordedSeries
from exporter.detect.scoring import ScoredGroup, ScoredSeries

FloatArray = npt.NDArray[np.float64]

AT, MINUTE, ROWS = 1772323200.0, 60.0, 500
QUERIES = ("cpu", "latency", "requests")
LOAD, FAILURE = slice(200, 221), slice(480, 486)


def rows(*, failure: Sequence[float] = (1.8, 2.5, 1.0), seed: int = 0) -> FloatArray:
    """Return three metrics with noise of five percent; shape (500, 3)."""
    noise = np.random.default_rng(seed).standard_normal((ROWS, 3))
    values = np.array([50.0, 120.0, 1000.0]) * (1.0 + 0.05 * noise)
    values[LOAD] *= 1.5
    values[FAILURE] *= failure
    return values


def recorded(values: FloatArray, **labels: str) -> list[RecordedSeries]:
    times = AT + MINUTE * np.arange(len(values))
    stamps = np.array([f"{at:.0f}".encode() for at in times])
    return [
        RecordedSeries({"column": query, **labels}, stamps, times, values[:, index])
        for index, query in enumerate(QUERIES)
    ]


PLAIN = {"detectors": ["zscore"], "quorum": 1}
"""Quick, where it is not about what single series say."""


def score(
    series: Sequence[RecordedSeries], detection: dict[str, object] = PLAIN, **group: object
) -> tuple[list[ScoredSeries], list[ScoredGroup]]:
    config = Config.model_validate(
        {
            "detection": detection,
            "queries": [{"name": name, "expr": "up"} for name in QUERIES],
            "groups": [{"name": "shop", "queries": list(QUERIES), **group}],
        }
    )
    return score_queries(series, {plan.name: plan for plan in config.plans()}, config.groups, MINUTE)


@pytest.fixture(scope="module")
def scored() -> tuple[list[ScoredSeries], list[ScoredGroup]]:
    return score(recorded(rows()), {})


def test_a_load_raises_nothing_and_a_failure_is_found(
    scored: tuple[list[ScoredSeries], list[ScoredGroup]],
) -> None:
    series, (group,) = scored
    for each in series:
        assert (each.score[LOAD] >= 0.5).any(), "without a group it would be anomalous"
        assert not each.anomalous[LOAD.start : LOAD.stop + 4].any()
    assert not group.anomalous[: FAILURE.start].any()
    assert group.anomalous[FAILURE].all()
    assert np.nanmedian(group.load[LOAD]) == pytest.approx(1.5, rel=0.1)
    assert np.isnan(group.load[FAILURE]).all()
    assert group.share[FAILURE, 1].min() > group.share[FAILURE, 2].max(), "it is latency, and not requests"


@pytest.mark.parametrize(("way", "quiet"), [(np.linspace(1.5, 3.6, 40), True), (np.full(40, 3.6), False)])
def test_what_climbs_under_a_load_is_held_and_what_jumps_is_not(way: FloatArray, quiet: bool) -> None:
    values = rows(failure=(1.0, 1.0, 1.0))
    values[LOAD] /= 1.5
    values[400:440] *= np.linspace(1.02, 2.0, 40)[:, None]
    values[440:480] *= 2.0
    # Latency goes with the load, and then beyond it: nearly twice as far.
    values[440:480, 1] *= way / 2.0
    series, _ = score(recorded(values))
    assert (series[1].score[455:480] >= 0.5).all()
    assert series[1].anomalous[470:480].any() != quiet
    assert not series[0].anomalous[445:480].any()


def test_a_forest_finds_it_too() -> None:
    series, (group,) = score(recorded(rows()), detector="isolation_forest")
    assert np.count_nonzero(group.anomalous[FAILURE]) >= 5
    assert not group.anomalous[LOAD].any()
    assert not any(each.anomalous[LOAD].any() for each in series)


def test_what_fails_under_a_load_is_found_alone() -> None:
    series, (group,) = score(recorded(rows(failure=(1.5, 9.0, 1.5))))
    assert series[1].anomalous[FAILURE].any()
    assert not series[0].anomalous[FAILURE].any()
    assert not series[2].anomalous[FAILURE].any()
    assert group.held[FAILURE].any(), "the metric that fails says more"


LESSON = {
    "cpu": {"detectors": ["zscore"], "quorum": 1},
    "latency": {"detectors": ["iqr"], "quorum": 1},
    "requests": PLAIN,
}


@pytest.mark.parametrize("quorum", [1, 2, 3])
def test_metrics_vote_each_by_its_own_detector_with_the_forest_of_all(quorum: int) -> None:
    votes = {"quorum": quorum, "queries": ["cpu", "latency"]}
    config = Config.model_validate(
        {
            "queries": [{"name": name, "expr": "up", "detection": LESSON[name]} for name in QUERIES],
            "groups": [{"name": "shop", "queries": QUERIES, "detector": "isolation_forest", "votes": votes}],
        }
    )
    plans = {plan.name: plan for plan in config.plans()}
    series, (group,) = score_queries(recorded(rows()), plans, config.groups, MINUTE)
    assert np.count_nonzero(group.anomalous[FAILURE]) >= 5
    assert not group.anomalous[LOAD].any()
    assert not any(each.anomalous[LOAD].any() for each in series)
    alone = np.array([each.score for each in series[:2]])[:, ROWS // 2 : FAILURE.start]
    few = group.anomalous[ROWS // 2 : FAILURE.start]
    # One voter is as loud as the loudest, and of two the second loudest decides.
    assert few[(alone >= 0.5).sum(axis=0) >= quorum].all()
    if quorum > 1:
        assert few.mean() < 0.01
    assert group.share[FAILURE, :2].sum(axis=1).min() > 0.5


def test_later_samples_change_nothing(scored: tuple[list[ScoredSeries], list[ScoredGroup]]) -> None:
    series, (group,) = score(recorded(rows()[:250]), {})
    np.testing.assert_array_equal(group.score, scored[1][0].score[:250])
    np.testing.assert_array_equal(series[0].held, scored[0][0].held[:250])


def test_entities_are_judged_apart() -> None:
    both = recorded(rows(), pod="a") + recorded(rows(failure=(1.0, 1.0, 1.0), seed=1), pod="b")
    _, groups = score(both, by=["pod"])
    assert [group.labels for group in groups] == [{"pod": "a"}, {"pod": "b"}]
    assert groups[0].anomalous[FAILURE].all()
    assert not groups[1].anomalous[FAILURE].any()


def test_series_half_a_step_late_are_of_the_same_instant() -> None:
    late = recorded(rows())
    late[1] = RecordedSeries(late[1].labels, late[1].stamps, late[1].times + 20.0, late[1].values)
    _, (group,) = score(late)
    assert len(group.times) == ROWS
    assert group.anomalous[FAILURE].all()


def test_csv_and_json_say_what_is_held(scored: tuple[list[ScoredSeries], list[ScoredGroup]]) -> None:
    series, groups = scored
    table = list(csv.DictReader(io.StringIO(to_csv(series, groups).decode())))
    assert len(table) == 4 * ROWS
    entity = [row for row in table if row["series"] == '{group="shop"}']
    assert entity[-1]["timestamp"] == f"{AT + MINUTE * (ROWS - 1):.0f}"
    assert float(entity[483]["anomaly_score"]) >= 0.5
    assert entity[210]["suppressed"] == "load"
    assert {row["suppressed"] for row in table[:ROWS]} == {"", "load"}
    answer = json.loads(to_json(series, MINUTE, groups))
    (shop,) = answer["groups"]
    assert (shop["group"], shop["series"], shop["suppressed"]) == ("shop", {}, None)
    assert len(shop["anomalies"]) >= 6
    assert shop["anomalies"][0]["shares"].keys() == set(QUERIES)
    assert answer["is_anomaly"] == is_anomaly_now(series, MINUTE, groups)
    assert answer["results"][0]["suppressed"] is None


def test_a_series_names_its_query() -> None:
    empty = np.zeros(0)
    for labels, query in (
        ({"column": "cpu", "query": "b"}, "cpu"),
        ({"query": "b", "__name__": "c"}, "b"),
        ({"__name__": "c"}, "c"),
        ({"pod": "a"}, None),
    ):
        assert query_of(RecordedSeries(labels, np.zeros(0, np.bytes_), empty, empty)) == query
