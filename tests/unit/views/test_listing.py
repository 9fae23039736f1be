from __future__ import annotations

import pytest

from exporter.calendar.matchers import parse_matcher
from exporter.views.listing import list_series
from exporter.web.api.series import Asked
from tests.unit.views.test_selection import CPU, DISK


def names(asked: Asked) -> list[str]:
    return [f"{one.query} {one.labels['instance']}" for one in list_series([DISK, CPU], asked)[0]]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (Asked(), ["disk A", "cpu b", "disk absent", "cpu d", "cpu a", "disk b", "cpu c", "disk gone"]),
        (Asked(query="cpu"), ["cpu b", "cpu d", "cpu a", "cpu c"]),
        (Asked(query="none"), []),
        (Asked(anomalous=True), ["disk A", "cpu b", "disk absent"]),
        (Asked(anomalous=False, query="disk"), ["disk b", "disk gone"]),
        (Asked(state="warming_up"), ["cpu d", "cpu c"]),
        (Asked(state="no_data"), ["disk absent", "disk gone"]),
        (Asked(state="scored", query="cpu"), ["cpu b", "cpu a"]),
        (Asked(least_score=0.7), ["disk A", "cpu b", "disk absent"]),
        (Asked(matchers=[parse_matcher('instance=~"[a-b]"'), parse_matcher("job!=disk")]), ["cpu b", "cpu a"]),
    ],
    ids=str,
)
def test_series_are_listed_by_score(asked: Asked, found: list[str]) -> None:
    assert names(asked) == found


def test_a_series_says_what_it_was_judged() -> None:
    one = list_series([DISK], Asked(matchers=[parse_matcher("instance=absent")]))[0][0]
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
        page, after = list_series([CPU, DISK], Asked(limit=limit, after=after))
        seen += [(one.query, one.labels["instance"]) for one in page]
        if after is None:
            break
        assert len(page) == limit
    assert len(seen) == len(set(seen)) == 8


def test_where_few_match_a_page_says_where_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.views.listing._MOST_SCANNED", 3)
    asked = Asked(matchers=[parse_matcher("instance=c")])
    found, rounds, after = [], 0, None
    while True:
        page, after = list_series([CPU, DISK], Asked(matchers=asked.matchers, after=after))
        found += page
        rounds += 1
        if after is None:
            break
    assert [one.labels["instance"] for one in found] == ["c"]
    assert rounds == 3
