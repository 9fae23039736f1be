"""The daemon is killed again and again, its Alertmanager has troubles, and the answers of its source are spoiled.

Nobody hears less or more, and no series that an answer contains is silently not judged. One command runs it for long:

    ANOMALY_EXPORTER_EPISODES=300 python -m pytest -s tests/faults/test_daemon_kill.py
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Container
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import requests

from exporter.store import Store
from tests.faults.spoiler import Spoiler
from tests.integration.conftest import RunAlertmanager
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.proxy import Proxy
from tests.integration.servers import Prometheus
from tests.integration.webhook import Notification, Webhook

pytestmark = pytest.mark.integration

EPISODES = int(os.environ.get("ANOMALY_EXPORTER_EPISODES", "40"))
"""300 take ten minutes, and half an hour on a machine that is busy with more; with 60 kills and more."""
EVERY, LASTS = 0.2, 6.0
"""Slots from one episode to the next, and its length. Only slots count that were judged by an answer that was not
spoiled: an episode that no answer contained while it was looked at is nothing that anybody could tell."""


class Episodes:
    """Makes series anomalous, one after the other, in the time of judged slots: of all, or of those in `whole`."""

    def __init__(
        self,
        feed: Feed,
        sample: Callable[..., float | None],
        whole: Container[float] | None = None,
        *,
        every: float = EVERY,
        lasts: float = LASTS,
    ) -> None:
        self._feed, self._sample, self._whole = feed, sample, whole
        self._every, self._lasts = every, lasts
        self.slots = 0
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _judged(self) -> float:
        with suppress(requests.RequestException, AssertionError):  # It was killed: that is the subject.
            return self._sample("anomaly_exporter_last_success_timestamp_seconds", query="load") or 0.0
        return 0.0

    def _run(self) -> None:
        newest = 0.0
        while not self.over.wait(0.3):
            judged = round(self._judged(), 3)
            if judged <= newest or (self._whole is not None and judged not in self._whole):
                continue
            newest = judged
            self.slots += 1
            for number in range(EPISODES):
                begin = self._every * number
                self._feed.factor[number] = 3.0 if begin <= self.slots < begin + self._lasts else 1.0
            if self.slots > self._every * EPISODES + self._lasts:
                self.over.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()


class Page:
    """Looks at the page while it is served: a series that the answers contain is on it whenever its query is judged."""

    def __init__(self, spoiler: Spoiler, exporter: Exporter) -> None:
        self._spoiler, self._exporter = spoiler, exporter
        self.looks = 0
        self.silent: list[tuple[float, frozenset[str]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over.wait(0.7):
            with suppress(requests.RequestException, AssertionError, ValueError):  # It was killed: that is the subject.
                rows = self._exporter.samples("observed_value", query="load")
                newest = self._exporter.sample("anomaly_exporter_last_success_timestamp_seconds", query="load") or 0.0
                shown = frozenset(dict(labels)["instance"] for labels in rows)
                if not shown:
                    continue  # Not a score is shown: the ratio is 0, and the rules say so.
                self.looks += 1
                if missing := self._spoiler.missing(newest, shown):
                    self.silent.append((newest, missing))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def told(notes: list[Notification]) -> dict[str, list[str]]:
    heard: dict[str, list[str]] = {}
    for note in notes:
        for alert in note.alerts:
            heard.setdefault(alert["labels"]["instance"], []).append(alert["status"])
    return heard


@pytest.mark.timeout(600 + 6 * EPISODES)
def test_every_episode_is_told_exactly_once_whatever_is_killed(
    prometheus: Prometheus, run_alertmanager: RunAlertmanager, webhook: Webhook, stack: ExitStack, tmp_path: Path
) -> None:
    seed = int(np.random.default_rng().integers(2**31))
    print("seed", seed)
    rng = np.random.default_rng(seed)
    alertmanager = run_alertmanager(webhook=webhook.url, group_by=["instance"])
    feed = stack.enter_context(Feed(prometheus, instances=EPISODES))
    proxy = stack.enter_context(Proxy(alertmanager.address))
    spoiler = stack.enter_context(Spoiler(upstream=prometheus.url).run())
    assert isinstance(spoiler, Spoiler)
    config = configuration(spoiler.url, [proxy.url])
    config["queries"][0]["alert"] |= {"for": "0s", "storm": {"enabled": False}}
    # Full from the first rollout on: living series have to come before those that are gone.
    config["queries"][0]["max_series"] = EPISODES + 25
    exporter = stack.enter_context(Exporter(tmp_path / "exporter", config))
    exporter.wait_for_scores(60.0 + EPISODES)

    def trouble(mode: str, seconds: float) -> None:
        proxy.mode = mode
        proxy.cut()
        time.sleep(seconds)
        proxy.mode = "pass"
        proxy.cut()

    def outage(seconds: float) -> None:
        alertmanager.stop()
        time.sleep(seconds)
        alertmanager.start()

    troubles = [
        lambda: trouble("lose response", 3.0),
        lambda: outage(2.0),
        lambda: trouble("black hole", 4.0),
        lambda: trouble("reset", 3.0),
    ]

    kills = 0
    with Episodes(feed, exporter.sample, spoiler.whole) as episodes, Page(spoiler, exporter) as page:
        spoiling = threading.Thread(target=spoiler.trouble, args=(np.random.default_rng(seed + 1), episodes.over))
        spoiling.start()
        while not episodes.over.wait(rng.uniform(0.5, 5.0)):
            # Half of the kills fall into a trouble.
            helper = threading.Thread(target=troubles[kills // 2 % len(troubles)]) if kills % 2 else None
            if helper:
                helper.start()
                time.sleep(rng.uniform(0.0, 2.0))
            assert exporter.process.alive, exporter.process.tail()  # Only the test ends it.
            exporter.kill()
            kills += 1
            exporter.start()
            if helper:
                helper.join()
        spoiling.join()
        spoiler.mode = ""
    print("kills", kills, "slots", episodes.slots, "looks", page.looks, "spoiled answers", spoiler.counts)
    assert kills >= 5
    assert page.silent == []
    assert page.looks > EPISODES / 8
    # The table is full, and says so: with the first slot after the last kill.
    refused = "anomaly_exporter_series_rejected_total"
    eventually(lambda: exporter.sample(refused, query="load", reason="over_limit"), 30.0, what="a full table")

    everyone = {f"host{number}:9100" for number in range(EPISODES)}

    def all_over(notes: list[Notification]) -> bool:
        heard = told(notes)
        return all("resolved" in heard.get(name, []) for name in everyone)

    try:
        webhook.wait_for(all_over, 60.0)
    except AssertionError:
        silent = {name: told(webhook.notifications).get(name) for name in everyone}
        pytest.fail(f"not told: {[(name, said) for name, said in silent.items() if 'resolved' not in (said or [])]}")
    time.sleep(4.0)  # Nothing more comes.
    heard = told(webhook.notifications)
    assert {name: said for name, said in heard.items() if said != ["firing", "resolved"]} == {}
    assert heard.keys() == everyone
    eventually(lambda: exporter.sample("anomaly_exporter_alertmanager_dirty") == 0, 20.0)
    exporter.stop()
    assert exporter.process.exit_code == 0
    with Store.open(exporter.directory / "data", clock=time.time) as store:
        assert store.recovered == ()
        assert store.damaged == ()
        entries, after = [], None
        while not entries or after is not None:
            page = store.audit.page(limit=1000, after=after)
            entries, after = [*entries, *page.entries], page.next
    events = Counter((one.fingerprint, one.episode) for one in entries)
    assert len(events) == EPISODES
    assert Counter(str(one.event) for one in entries) == {"open": EPISODES, "firing": EPISODES, "resolved": EPISODES}
