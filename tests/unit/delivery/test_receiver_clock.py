"""What time it is at a receiver."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import pytest

from exporter.delivery import ReceiverClock, ReceiverClocks
from tests.integration.delivering import Delivering
from tests.integration.process import eventually
from tests.integration.recorder import Recorder

NOW = 1_798_761_600.0


def date(at: float) -> str:
    return formatdate(at, usegmt=True)


def test_it_goes_on_with_the_monotonic_clock() -> None:
    clock = ReceiverClock()
    assert clock.at(10.0) is None
    assert not clock.moved(NOW, 10.0)
    assert clock.note("yesterday", now=NOW, mono=10.0) is None
    assert clock.note(date(NOW), now=NOW + 0.9, mono=10.0) == 0.0, "a date has whole seconds"
    assert clock.at(70.0) == NOW + 60.5
    assert clock.note(date(NOW + 100), now=NOW, mono=10.0) == 100.5


def test_a_date_of_long_ago_is_that_of_no_clock() -> None:
    clock = ReceiverClock()
    assert clock.note(date(915_148_800.0), now=NOW, mono=0.0) == 915_148_800.5 - NOW
    assert clock.at(1.0) is None


@pytest.mark.parametrize(
    ("now", "mono", "moved"),
    [(60.0, 60.0, False), (89.0, 60.0, False), (91.0, 60.0, True), (29.0, 60.0, True), (7_776_008.0, 8.0, True)],
)
def test_a_clock_that_is_set_is_noticed(now: float, mono: float, moved: bool) -> None:
    clock = ReceiverClock()
    clock.note(date(NOW), now=NOW, mono=0.0)
    assert clock.moved(NOW + now, mono) == moved


def test_clocks_are_shared_by_url() -> None:
    clocks = ReceiverClocks()
    assert clocks.of("a") is clocks.of("a") is not clocks.of("b")


@pytest.mark.parametrize("days", [90, -90])
def test_no_end_of_a_wrong_clock_is_ever_sent(days: int) -> None:
    with Recorder() as recorder:
        daemon = Delivering(recorder.url, resend_delay=1.0)
        error = [0.0]
        daemon.senders._clock = lambda: time.time() + error[0]
        with daemon:
            daemon.slot("a")
            eventually(lambda: daemon.metric("alertmanager_sent_total") == 1)
            error[0] = days * 86400.0
            daemon.slot("a", "b", at=time.time() + error[0])
            eventually(lambda: daemon.metric("alertmanager_sent_total") >= 3)
            error[0] = 0.0
            daemon.slot("a", "b", "c", at=time.time() + 10)
            eventually(lambda: daemon.metric("alertmanager_sent_total") >= 4)
        posts = [request for request in recorder.requests if request.method == "POST"]
        assert len(posts) >= 3
        for request in posts:
            received = datetime.fromtimestamp(request.at, UTC)
            for alert in json.loads(request.body):
                starts, ends = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
                assert starts <= received + timedelta(seconds=15)
                assert timedelta(minutes=3) < ends - received < timedelta(minutes=6)
