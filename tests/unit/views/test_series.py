from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from exporter.config.model import Config
from exporter.engine.forecast.forecast import Forecast
from exporter.engine.forecast.settings import LimitSettings
from exporter.engine.series import SeriesTable, key_of
from exporter.engine.verdict import Verdicts
from exporter.views.latest_verdicts import LatestVerdict, LatestVerdicts
from exporter.views.series import list_series, matching_rows, select_series
from exporter.web.api.series import SeriesParameters
from exporter.web.pages.models import SeriesFilter, StateFilter

NAN = float("nan")


def said(query: str, scores: dict[str, float], **changes: list[bool]) -> LatestVerdict:
    """Return what a query said of series that differ by one label."""
    plan = Config.model_validate({"queries": [{"name": query, "expr": query}]}).plans()[0]
    table = SeriesTable(len(scores))
    table.find([key_of((("instance", name), ("job", query))) for name in scores])
    verdicts = Verdicts(np.array([60.0]), np.full((1, len(scores)), 5.0), len(plan.detection.detectors))
    verdicts.score[:] = list(scores.values())
    verdicts.ready[:] = changes.get("ready", [True] * len(scores))
    verdicts.observed[:, changes.get("missing", [False] * len(scores))] = np.nan
    latest = LatestVerdicts()
    latest.put(plan, verdicts[0], table, np.where(verdicts[0].ready, 0, 1).astype(np.int8))
    newest = latest.get(query)
    assert newest is not None
    return newest


CPU = said("cpu", {"a": 0.1, "b": 0.9, "c": NAN, "d": 0.4}, ready=[True, True, False, False])
DISK = said("disk", {"A": 0.95, "b": 0.0, "gone": NAN, "absent": 0.7}, missing=[False, False, True, True])


def names(filters: SeriesFilter) -> list[str]:
    return [f"{one.query} {dict(one.labels)['instance']}" for one in select_series([CPU, DISK], filters)[0]]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (SeriesFilter(), ["disk A", "cpu b", "disk absent", "cpu d", "cpu a", "disk b", "cpu c"]),
        (SeriesFilter(query="cpu"), ["cpu b", "cpu d", "cpu a", "cpu c"]),
        (SeriesFilter(query="none"), []),
        (SeriesFilter(state=StateFilter.ANOMALOUS), ["disk A", "cpu b", "disk absent"]),
        (SeriesFilter(state=StateFilter.WARMING_UP), ["cpu d", "cpu c"]),
        (SeriesFilter(text='instance="a"'), ["disk A", "cpu a"]),
        (SeriesFilter(text="DISK b"), ["disk A", "disk absent", "disk b"]),
        (SeriesFilter(text="nothing"), []),
        (SeriesFilter(page=2, size=3), ["cpu d", "cpu a", "disk b"]),
        (SeriesFilter(page=9, size=3), []),
    ],
    ids=["all", "query", "no such query", "anomalous", "warming up", "label", "words", "no match", "page", "beyond"],
)
def test_the_front_page_lists_series_by_score(filters, expected):
    assert names(filters) == expected


def test_all_that_fit_are_counted():
    assert select_series([CPU, DISK], SeriesFilter(size=2))[1] == 7
    assert select_series([], SeriesFilter()) == ([], 0)


def test_labels_find_the_series_that_has_them_the_worst_first():
    assert matching_rows(CPU, [("job", "cpu")]) == [1, 3, 0, 2]
    assert matching_rows(CPU, [("job", "cpu"), ("instance", "c")]) == [2]
    assert matching_rows(CPU, []) == [1, 3, 0, 2]
    assert matching_rows(CPU, [("job", "x")]) == []


def listed(request: SeriesParameters) -> list[str]:
    return [f"{one.query} {one.labels['instance']}" for one in list_series([DISK, CPU], request).series]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (SeriesParameters(), ["disk A", "cpu b", "disk absent", "cpu d", "cpu a", "disk b", "cpu c", "disk gone"]),
        (SeriesParameters(query="cpu"), ["cpu b", "cpu d", "cpu a", "cpu c"]),
        (SeriesParameters(query="none"), []),
        (SeriesParameters(anomalous=True), ["disk A", "cpu b", "disk absent"]),
        (SeriesParameters(anomalous=False, query="disk"), ["disk b", "disk gone"]),
        (SeriesParameters(state="warming_up"), ["cpu d", "cpu c"]),
        (SeriesParameters(state="no_data"), ["disk absent", "disk gone"]),
        (SeriesParameters(state="scored", query="cpu"), ["cpu b", "cpu a"]),
        (SeriesParameters(min_score=0.7), ["disk A", "cpu b", "disk absent"]),
        (SeriesParameters(match=('instance=~"[a-b]"', "job!=disk")), ["cpu b", "cpu a"]),
    ],
    ids=str,
)
def test_the_api_lists_series_by_score(query: SeriesParameters, expected: list[str]) -> None:
    assert listed(query) == expected


def test_a_series_says_what_it_was_judged() -> None:
    one = list_series([DISK], SeriesParameters(match=("instance=absent",))).series[0]
    assert (one.query, one.labels, one.at, one.state) == (
        "disk",
        {"instance": "absent", "job": "disk"},
        60.0,
        "no_data",
    )
    assert (one.anomalous, one.score, one.observed, one.upper) == (True, 0.7, None, None)


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_pages_follow_each_other_without_a_gap_or_a_repeat(limit: int) -> None:
    seen, after = [], None
    while True:
        page = list_series([CPU, DISK], SeriesParameters(limit=limit, cursor=after))
        seen += [(one.query, one.labels["instance"]) for one in page.series]
        after = page.next_cursor
        if after is None:
            break
        assert len(page.series) == limit
    assert len(seen) == len(set(seen)) == 8


def test_where_few_match_a_page_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.views.series._MOST_SCANNED", 3)
    found, rounds, after = [], 0, None
    while True:
        page = list_series([CPU, DISK], SeriesParameters(match=("instance=c",), cursor=after))
        found += page.series
        after = page.next_cursor
        rounds += 1
        if after is None:
            break
    assert [one.labels["instance"] for one in found] == ["c"]
    assert rounds == 3


def test_forecasts_are_in_the_answer_and_on_the_page():
    disk = said("disk", {"a": 0.9, "b": 0.1})
    limit = LimitSettings(above=9.5)
    times = np.array([[2.0, 2.5, 3.0, 3.5, 4.0], [np.inf] * 5]).T * 86400.0
    value = np.array([[6.0, 5.0], [8.0, NAN]])
    forecast = Forecast(
        60.0, np.array([3600.0, 86400.0]), value, value - 1, value + 1, times, np.array([0.9, 0.0]), limit=limit
    )
    disk = replace(disk, verdict=replace(disk.verdict, forecast=forecast))
    first, second = list_series([disk], SeriesParameters()).series
    assert first.forecast is not None
    assert second.forecast is not None
    assert [(each.horizon, each.value, each.upper) for each in first.forecast.horizons] == [("1h", 6, 7), ("1d", 8, 9)]
    assert second.forecast.horizons[1].value is None
    assert first.forecast.time_to_limit_seconds["0.5"] == 3 * 86400.0
    assert second.forecast.time_to_limit_seconds["0.1"] is None
    assert first.forecast.limit_probability == 0.9
    rows, _ = select_series([disk], SeriesFilter())
    assert list(rows[0].ahead) == [("In 1h", "6 (5 to 7)"), ("In 1d", "8 (7 to 9)"), ("Limit", "9.5 in 2 to 4 days")]
    assert list(rows[1].ahead) == [("In 1h", "5 (4 to 6)"), ("Limit", "9.5 not within 30 days")]
    assert list_series([CPU], SeriesParameters()).series[0].forecast is None
