"""The same timeline through a rule of a real Prometheus and through us, side by side into two recorders.

The rule is ``m > 0`` with ``for: 2s``, slots every second, ``--rules.alert.resend-delay=3s``. What may differ is
written in the tests: the User-Agent, annotations, attempts while the server fails, and our floor of four minutes
for how long a firing alert is good.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pytest

from exporter.alerting.alert import fingerprint
from exporter.alerting.explanation.links import generator_url
from tests.alerts import finding
from tests.integration.delivering import Delivering
from tests.integration.recorder import Recorder, Request
from tests.integration.servers import Prometheus, eventually

pytestmark = pytest.mark.integration

LABELS = finding("a").labels
IDENTITY = fingerprint(LABELS)
FOR, RESEND = 2.0, 3.0
RULES = {
    "groups": [
        {
            "name": "g",
            "interval": "1s",
            "rules": [
                {
                    "alert": LABELS["alertname"],
                    "expr": "m > 0",
                    "for": "2s",
                    "annotations": {"summary": "text"},
                }
            ],
        }
    ]
}


@dataclass
class Story:
    """What was done when, and what each of the two said. Instants are Unix seconds."""

    fired: float
    normal: float
    again: float
    theirs: list[Request]
    ours: list[Request]


def unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def starts(request: Request) -> float:
    return unix(request.alerts[0]["startsAt"])


def left(request: Request) -> float:
    """For how long the alert was good when it was sent; negative if it had ended."""
    return unix(request.alerts[0]["endsAt"]) - request.at


def firing(requests: Sequence[Request]) -> list[Request]:
    return [one for one in requests if left(one) > 1.0]


def ended(requests: Sequence[Request]) -> list[Request]:
    return [one for one in requests if left(one) <= 1.0]


def episodes(requests: Sequence[Request]) -> list[list[Request]]:
    return [list(group) for _, group in itertools.groupby(requests, key=starts)]


def gaps(requests: Sequence[Request]) -> list[float]:
    return [after.at - before.at for before, after in itertools.pairwise(requests)]


class Slots:
    """One slot of ours a second, on the grid, with what `m` is at that moment."""

    def __init__(self, daemon: Delivering) -> None:
        self.value = 0.0
        self._daemon = daemon
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        at = math.ceil(time.time())
        while not self._stop.wait(max(0.0, at - time.time())):
            self._daemon.slot(*(["a"] if self.value > 0 else []), at=float(at))
            at += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Fire, hold for three repetitions, both servers answer 500 for a while, end, fire again, end."""
    directory: Path = tmp_path_factory.mktemp("conformance")
    with ExitStack() as stack:
        theirs, ours = stack.enter_context(Recorder()), stack.enter_context(Recorder())
        prometheus = stack.enter_context(
            Prometheus(
                directory,
                rules=RULES,
                alertmanagers=[theirs.address],
                flags=["--rules.alert.resend-delay=3s", "--query.lookback-delta=10m"],
            )
        )
        daemon = stack.enter_context(Delivering(ours.url, rule_fields={"for_": FOR}, resend_delay=RESEND))
        slots = stack.enter_context(Slots(daemon))

        def set_value(value: float) -> float:
            now = time.time()
            prometheus.push([({"__name__": "m", "instance": "a"}, [now], [value])])
            slots.value = value
            return now

        set_value(0.0)
        # It looks for Alertmanagers 5 s after its start, and what fires before that is only sent with the repetition.
        eventually(lambda: prometheus.ask("GET", "/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"])
        fired = set_value(1.0)
        for recorder in (theirs, ours):
            recorder.wait_for(4, 40)
        for recorder in (theirs, ours):
            recorder.status = 500
        counts = len(theirs.requests), len(ours.requests)
        theirs.wait_for(counts[0] + 2)
        ours.wait_for(counts[1] + 2)
        for recorder in (theirs, ours):
            recorder.status = 200
        theirs.wait_for(len(theirs.requests) + 1)
        eventually(lambda: daemon.metric("alertmanager_up") == 1)
        normal = set_value(0.0)
        # An end is a message of ours, sent once more; theirs is repeated for a quarter of an hour.
        eventually(lambda: len(ended(theirs.requests)) >= 4, 40)
        assert len(ended(ours.requests)) == 2
        again = set_value(1.0)
        for recorder in (theirs, ours):
            eventually(lambda one=recorder: len(episodes(one.requests)) == 2, 40)
        set_value(0.0)
        for recorder in (theirs, ours):
            eventually(lambda one=recorder: ended(episodes(one.requests)[-1]), 40)
        yield Story(fired, normal, again, theirs.requests, ours.requests)


def test_the_requests_look_the_same(story: Story) -> None:
    def look(request: Request) -> dict[str, Any]:
        kept = ("content-type",)
        headers = {name.lower(): value for name, value in request.headers.items()}
        return {
            "method": request.method,
            "path": request.path,
            "headers": {name: headers.get(name) for name in kept},
            "encoded": "content-encoding" in headers,
            "keys": {frozenset(alert) for alert in request.alerts},
            "labels": [alert["labels"] for alert in request.alerts],
            "annotations": {frozenset(alert["annotations"]) for alert in request.alerts},
        }

    theirs = [look(one) for one in story.theirs]
    ours = [look(one) for one in story.ours]
    assert all(one == theirs[0] for one in theirs + ours)
    assert ours[0]["labels"] == [LABELS]


def test_instants_are_written_the_same_way(story: Story) -> None:
    for request in (*story.theirs, *story.ours):
        for name in ("startsAt", "endsAt"):
            text = request.alerts[0][name]
            assert text.endswith("Z")
            assert datetime.fromisoformat(text).microsecond % 1000 == 0


def test_the_link_is_written_the_same_way(story: Story) -> None:
    theirs = story.theirs[0].alerts[0]["generatorURL"]
    base, _, _ = theirs.partition("/graph")
    assert generator_url(base, "m > 0") == theirs


def test_an_episode_starts_when_for_has_passed(story: Story) -> None:
    for requests in (story.theirs, story.ours):
        for since, episode in zip((story.fired, story.again), episodes(requests), strict=True):
            # The next slot sees it first, and `for` later it fires.
            assert FOR - 0.1 <= starts(episode[0]) - since <= FOR + 2.5
            assert episode[0].at - starts(episode[0]) < 2.0


def test_both_tell_of_the_same_episodes_in_the_same_order(story: Story) -> None:
    for requests in (story.theirs, story.ours):
        assert len(episodes(requests)) == 2
        for episode in episodes(requests):
            words = ["ended" if left(one) <= 1.0 else "firing" for one in episode]
            assert [word for word, _ in itertools.groupby(words)] == ["firing", "ended"]


def test_a_firing_alert_is_good_for_as_long(story: Story) -> None:
    # Four times the delay; ours is never less than four minutes.
    for request in firing(story.theirs):
        assert 4 * RESEND - 2 <= left(request) <= 4 * RESEND + 1
    for request in firing(story.ours):
        assert 240 - 2 <= left(request) <= 240 + 1


def test_a_firing_alert_is_sent_again_as_often(story: Story) -> None:
    # The first slot that is more than three seconds later is the fourth.
    for requests in (story.theirs, story.ours):
        for gap in gaps(firing(requests)[:4]):
            assert 3.2 <= gap <= 5.5


def test_an_end_is_said_again_after_as_long_and_unchanged(story: Story) -> None:
    for requests, count in ((story.theirs, 4), (story.ours, 2)):
        over = ended(episodes(requests)[0])
        assert len(over) >= count
        assert len({(one.alerts[0]["startsAt"], one.alerts[0]["endsAt"]) for one in over}) == 1
        assert 0.0 <= unix(over[0].alerts[0]["endsAt"]) - story.normal <= 2.5
        for gap in gaps(over):
            assert 3.2 <= gap <= 5.5
