"""Events of the API that come again: announced once, in effect each time, over restarts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.calendar.events import AnnouncedEvent, event_id
from exporter.delivery import AlertSnapshots
from exporter.exposition import SelfMetrics
from exporter.store import Store
from exporter.suppression.suppression import Suppression
from exporter.web.api.endpoint import ApiRequest
from exporter.web.api.envelope import ApiError
from exporter.web.api.events import Announcement, EventFilters, event_endpoints, event_entry

DAY = 86400.0
MONDAY = 1_760_313_600.0
BATCH = AnnouncedEvent(event_id("batch"), "batch", "api", "ignore", 1.0, ('query="cpu"',), MONDAY, MONDAY + 30 * DAY,
                       "nightly", "eve", MONDAY, MONDAY, 0.0, "0 2 * * *", 3600.0, "Europe/Berlin")  # fmt: skip


def suppression(store: Store) -> Suppression:
    return Suppression(store, AlertSnapshots(), clock=lambda: MONDAY, metrics=SelfMetrics(CollectorRegistry()))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", clock=lambda: MONDAY) as store:
        yield store


def in_effect(known: Suppression, at: float) -> list[str]:
    return [rule.action for rule in known._active.rules(at)]


def test_it_is_in_effect_each_time_and_not_in_between_or_afterwards(store: Store) -> None:
    known = suppression(store)
    known.events.put(BATCH, at=MONDAY)
    for again in (known, suppression(store)):
        # Two o'clock in Berlin is midnight UTC in summer, and one o'clock in winter.
        for day, hour, active in ((1, 0.5, True), (1, 1.5, False), (3, 0.5, True), (20, 1.5, True), (31, 1.5, False)):
            assert in_effect(again, MONDAY + day * DAY + hour * 3600.0) == ["ignore"] * active, (day, hour)
    (event,) = suppression(store).events.all()
    assert event == BATCH


@pytest.mark.parametrize(("cron", "duration"), [("* * * * *", 60.0), ("0 * * * *", 5400.0), ("0 0 * * *", 86400.0)])
def test_windows_that_touch_are_in_effect_from_its_start_to_its_end(cron: str, duration: float, store: Store) -> None:
    begin, end = MONDAY + 1000.0, MONDAY + 5 * DAY
    known = suppression(store)
    known.events.put(replace(BATCH, cron=cron, duration=duration, starts_at=begin, ends_at=end), at=MONDAY)
    for at, active in ((-1.0, False), (1.0, True), (2 * DAY, True), (5 * DAY - 1001.0, True), (5 * DAY - 999.0, False)):
        assert in_effect(known, begin + at) == ["ignore"] * active, at
    entry = event_entry(known.events.all()[0], begin + 7.0)
    assert (entry.active, entry.starts_at) == (True, begin)
    assert not event_entry(known.events.all()[0], begin - 7.0).active


def test_it_is_changed_and_removed_like_any_other(store: Store) -> None:
    known = suppression(store)
    known.events.put(BATCH, at=MONDAY)
    known.events.put(replace(BATCH, cron="", duration=0.0, timezone="", ends_at=MONDAY + 60.0), at=MONDAY)
    assert in_effect(known, MONDAY + 30.0) == ["ignore"]
    assert in_effect(known, MONDAY + DAY + 1800.0) == []
    known.events.put(BATCH, at=MONDAY)
    known.events.remove("batch", who="eve")
    assert in_effect(suppression(store), MONDAY + DAY + 1800.0) == []


class Api:
    def __init__(self, known: Suppression) -> None:
        clock = lambda: MONDAY + 1800.0  # noqa: E731
        endpoints = event_endpoints(known.events, lambda: known.calendar, clock)
        self._answers = {endpoint.method: endpoint.answer for endpoint in endpoints}

    def announce(self, **fields: object):
        body = Announcement(**{"name": "batch", "action": "ignore", "match": ('query="cpu"',), **fields})
        return self._answers["POST"](ApiRequest(None, body, "eve"))

    def list(self):
        return self._answers["GET"](ApiRequest(EventFilters(), None, "eve")).events


def test_the_api_takes_and_shows_it_with_its_present_or_next_window(store: Store) -> None:
    known = suppression(store)
    api = Api(known)
    made = api.announce(cron="0 1 * * *", duration="2h", timezone="UTC")
    assert (made.cron, made.starts_at, made.ends_at, made.active) == (
        "0 1 * * *",
        MONDAY + 3600.0,
        MONDAY + 3 * 3600.0,
        False,
    )
    assert in_effect(known, MONDAY + 5 * DAY + 5400.0) == ["ignore"]
    assert api.announce(cron="0 0 * * *", duration="2h", starts_at=MONDAY).active
    (event,) = api.list()
    assert event.cron == "0 0 * * *"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"cron": "0 25 * * *", "duration": "1h"}, "cron"),
        ({"cron": "0 2 * * *"}, "give its duration"),
        ({"duration": "1h", "timezone": "UTC"}, "timezone goes with cron"),
        ({"cron": "0 2 * * *", "duration": "1h", "timezone": "Mars"}, "timezone"),
    ],
)
def test_the_api_says_what_is_wrong(store: Store, fields: dict[str, str], why: str) -> None:
    with pytest.raises(ApiError, match=why):
        Api(suppression(store)).announce(**fields)
