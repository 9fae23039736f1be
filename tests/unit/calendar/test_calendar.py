"""Which entries are in effect when."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.calendar import Calendar, CalendarEntry, Occurrence, Timeline, TimeWindow, parse_matcher, sweep
from exporter.calendar.cron import parse_cron
from exporter.calendar.entries import merged

DAY = 86400.0


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def entry(**fields: Any) -> CalendarEntry:
    return CalendarEntry.model_validate({"name": "x", "match": ['query="cpu"'], "action": "ignore", **fields})


def names(calendar: Calendar, instant: str) -> list[str]:
    return [one.name for one in calendar.at(at(instant))]


def test_an_entry_is_in_effect_from_its_start_until_before_its_end() -> None:
    calendar = Calendar([entry(cron="0 2 * * *", duration="2h")], "UTC")
    states = [
        names(calendar, f"2027-01-01T{time}") for time in ("01:59:59", "02:00:00", "03:59:59", "04:00:00", "02:30:00")
    ]
    assert states == [[], ["x"], ["x"], [], ["x"]]


def test_dates_without_an_offset_are_those_of_the_zone() -> None:
    dated = entry(starts_at="2027-07-01", ends_at="2027-07-01T12:00", timezone="Europe/Berlin")
    assert dated.windows(at("2027-06-30T00:00"), at("2027-07-30T00:00"), "UTC") == [
        TimeWindow(at("2027-06-30T22:00"), at("2027-07-01T10:00"))
    ]
    plain = entry(starts_at="2027-07-01", ends_at="2027-07-01T12:00+02:00")
    assert plain.windows(at("2027-07-01T00:00"), at("2027-07-02T00:00"), "Asia/Tokyo") == [
        TimeWindow(at("2027-06-30T15:00"), at("2027-07-01T10:00"))
    ]


def test_a_window_lasts_as_long_as_it_says_when_clocks_change() -> None:
    nightly = entry(cron="30 1 * * *", duration="2h", timezone="Europe/Berlin")
    for day in ("2027-03-28", "2027-10-31", "2027-06-01"):
        (window,) = nightly.windows(at(f"{day}T00:00"), at(f"{day}T02:00"), "UTC")
        assert window.end - window.start == 7200.0


def test_windows_that_overlap_are_one() -> None:
    always = entry(cron="0 * * * *", duration="2h")
    (window,) = always.windows(at("2027-01-01T10:30"), at("2027-01-01T12:30"), "UTC")
    assert window.start <= at("2027-01-01T10:00")
    assert window.end >= at("2027-01-01T14:00")


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), max_size=20), st.integers(0, 70))
def test_merging_changes_nothing_about_what_is_covered(spans: list[tuple[int, int]], instant: int) -> None:
    windows = [TimeWindow(start, start + length) for start, length in sorted(spans)]
    found = merged(windows)
    assert any(w.start <= instant < w.end for w in found) is any(w.start <= instant < w.end for w in windows)
    assert all(a.end < b.start for a, b in pairwise(found))


def test_announced_events_are_part_of_it() -> None:
    window = TimeWindow(at("2027-01-01T10:00"), at("2027-01-01T11:00"))
    deploy = Occurrence("deploy", "ignore", 1.0, (parse_matcher("a=b"),), window)
    calendar = Calendar([], "UTC", [deploy])
    assert names(calendar, "2027-01-01T10:30") == ["deploy"]
    assert names(calendar, "2027-01-01T11:00") == []
    assert calendar.between(at("2027-01-01T00:00"), at("2027-01-01T09:00")) == []


def test_what_is_asked_in_any_order_is_answered_as_if_it_were_asked_alone() -> None:
    entries = [entry(name="a", cron="*/7 * * * *", duration="3m"), entry(name="b", cron="@daily", duration="3h")]
    calendar = Calendar(entries, "America/New_York")
    for offset in (0, 5000, 100, 90000, 3600, 3500, 86000, 1):
        instant = at("2027-01-01T04:00") + offset
        assert calendar.at(instant) == Calendar(entries, "America/New_York").at(instant)


@pytest.mark.parametrize("count", [10_000])
def test_ten_thousand_events_are_no_trouble(count: int) -> None:
    events = [
        Occurrence(f"e{n}", "ignore", 1.0, (parse_matcher("a=b"),), TimeWindow(n * DAY, n * DAY + 60.0))
        for n in range(count)
    ]
    calendar = Calendar([], "UTC", events)
    assert [one.name for one in calendar.at(5000 * DAY)] == ["e5000"]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=12),
    st.lists(st.integers(-2, 45), max_size=30).map(sorted),
)
def test_a_sweep_finds_what_is_in_effect_at_each_instant(spans: list[tuple[int, int]], times: list[int]) -> None:
    things = [
        Occurrence(str(number), "ignore", 1.0, (), TimeWindow(start, start + length))
        for number, (start, length) in enumerate(spans)
    ]
    timeline, swept = Timeline(things), list(sweep(things, times))
    assert [set(found) for found in swept] == [set(timeline.at(at)) for at in times]
    for before, after in pairwise(swept):
        assert (before is after) or set(before) != set(after)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu"])
@pytest.mark.parametrize(
    ("cron", "duration"),
    [("* * * * *", "1m"), ("*/7 3-5 * * *", "10m"), ("30 2 * * *", "1h"), ("0 0 1 * mon", "2d"), ("5 * * * 0", "40m")],
)
def test_windows_are_those_of_every_single_start(cron: str, duration: str, zone: str) -> None:
    recurring = entry(cron=cron, duration=duration)
    assert recurring.duration is not None
    # With the days on which clocks are set.
    for begin, end in (
        (at("2027-03-20T07:13"), at("2027-04-03T01:00")),
        (at("2017-10-01T00:00"), at("2017-11-07T12:00")),
    ):
        windows = recurring.windows(begin, end, zone)
        assert windows == sorted(windows, key=lambda window: window.start)
        starts = parse_cron(cron).starts(begin - recurring.duration, end, ZoneInfo(zone))
        expected = merged(TimeWindow(start, start + recurring.duration) for start in starts)
        inner = [window for window in windows if window.start > begin and window.end < end]
        assert inner == [window for window in expected if window.start > begin and window.end < end]
        assert len(windows) == len([window for window in expected if window.end > begin])


def test_a_minute_of_a_month_is_not_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    calendar = Calendar([entry(name=f"c{number}", cron="* * * * *", duration="31d") for number in range(20)], "UTC")
    made = []
    monkeypatch.setattr("exporter.calendar.entries.TimeWindow", lambda *edges: made.append(edges) or TimeWindow(*edges))
    assert len(calendar.at(at("2027-01-01T10:30"))) == 20
    # The minutes of one day for each entry, and a few for each day.
    assert len(made) < 20 * (1440 * 2 + 5 * 36)
    made.clear()
    assert len(calendar.at(at("2027-01-01T12:30"))) == 20
    assert len(made) < 20 * 5 * 36


def test_what_is_prepared_is_not_computed_again() -> None:
    calendar = Calendar([entry(cron="0 * * * *", duration="5m")], "UTC")
    calendar.prepare(at("2027-01-01T10:00"))
    near = calendar._near
    calendar.prepare(at("2027-01-01T10:20"))
    calendar.at(at("2027-01-01T10:59"))
    assert calendar._near is near
    calendar.prepare(at("2027-01-01T10:40"))
    assert calendar._near is not near
