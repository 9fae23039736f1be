"""A pair, and shards that become more and fewer, through many episodes: each is one notification and one end.

They take minutes, so they have a command of their own::

    ANOMALY_EXPORTER_EPISODES=40 pytest tests/faults/test_several_daemons.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.faults.test_daemon_kill import Episodes, told
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Notification, Webhook

EPISODES = int(os.environ.get("ANOMALY_EXPORTER_EPISODES", "0"))
PATIENCE = 180.0
UNHURRIED = {"peer_timeout": "4s", "group_wait": "2s", "group_interval": "8s"}
"""A machine that is busy with more is no reason for both Alertmanagers to notify."""

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not EPISODES, reason="takes minutes: ANOMALY_EXPORTER_EPISODES=40"),
    pytest.mark.timeout(1200 + 10 * EPISODES),
]


class Together:
    """Several exporters as one: which slot `any` or `all` of them have judged."""

    def __init__(self, exporters: list[Exporter], newest: Callable[[list[float]], float]) -> None:
        self._exporters, self._newest = exporters, newest

    def sample(self, name: str, **labels: str) -> float:
        return self._newest([self._of(one, name, **labels) for one in self._exporters])

    @staticmethod
    def _of(one: Exporter, name: str, **labels: str) -> float:
        with suppress(OSError):  # It was killed: that is the subject.
            return (one.sample(name, **labels) or 0.0) if one.process.alive else 0.0
        return 0.0


def single(alertmanagers: list[str], prometheus: str, **changes: object) -> dict[str, object]:
    config = configuration(prometheus, alertmanagers, silences={"interval": "1s"}, **changes)
    config["queries"][0]["alert"] |= {"for": "0s", "storm": {"enabled": False}}
    return config


def assert_each_told_once(webhook: Webhook, everyone: set[str]) -> None:
    def all_over(notes: list[Notification]) -> bool:
        heard = told(notes)
        return all("resolved" in heard.get(name, []) for name in everyone)

    webhook.wait_for(all_over, PATIENCE)
    time.sleep(20.0)  # Nothing more comes.
    assert_told(webhook, ["firing", "resolved"], everyone)


def assert_told(webhook: Webhook, expected: list[str], everyone: set[str]) -> None:
    """Check what everybody was told, and show when and by which Alertmanager where it is something else."""
    heard = told(webhook.notifications)
    odd = {name for name, said in heard.items() if said != expected}
    details = [
        (round(note.at, 1), note.body["externalURL"][-5:], alert["status"], alert["labels"]["instance"])
        for note in webhook.notifications
        for alert in note.alerts
        if alert["labels"]["instance"] in odd
    ]
    assert details == []
    assert heard.keys() == everyone


PAIR = [(), ()]
SHARDS = [(f"--shard.index={index}", "--shard.count=3") for index in range(3)]


@pytest.mark.parametrize(
    ("flags", "newest"), [pytest.param(PAIR, max, id="pair"), pytest.param(SHARDS, min, id="shards")]
)
def test_kills_and_a_rollout(
    prometheus: Prometheus,
    run_cluster: Callable[..., list[Alertmanager]],
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
    flags: list[tuple[str, ...]],
    newest: Callable[[list[float]], float],
) -> None:
    seed = np.random.SeedSequence().entropy
    print("seed", seed)
    rng = np.random.default_rng(seed)
    cluster = run_cluster(webhook=webhook.url, group_by=["instance"], **UNHURRIED)
    feed = stack.enter_context(Feed(prometheus, instances=EPISODES))
    config = single([one.url for one in cluster], prometheus.url)
    exporters = [
        stack.enter_context(Exporter(tmp_path / f"exporter{number}", config, *each))
        for number, each in enumerate(flags)
    ]
    for one in exporters:
        one.wait_for_scores(PATIENCE)
    kills = 0
    with Episodes(feed, Together(exporters, newest).sample, every=5.0, lasts=15.0) as episodes:
        while not episodes.over.wait(rng.uniform(2.0, 6.0)):
            one = exporters[int(rng.integers(len(exporters)))]
            if kills % 4 == 3:
                # A configuration that reaches one after the other, and has other bands.
                wider = {**config, "queries": [{**config["queries"][0], "min_relative_deviation": 0.4}]}  # type: ignore[index]
                for each in exporters:
                    each.write(wider if kills % 8 == 3 else config)
                    each.hang_up()
                    episodes.over.wait(rng.uniform(1.0, 4.0))
            one.kill()
            episodes.over.wait(rng.uniform(0.0, 8.0))
            one.start()
            kills += 1
    print("kills", kills, "slots", episodes.slots)
    assert_each_told_once(webhook, {f"host{number}:9100" for number in range(EPISODES)})
    assert kills >= EPISODES / 8


def test_shards_become_more_and_fewer_while_alerts_fire(
    prometheus: Prometheus,
    run_cluster: Callable[..., list[Alertmanager]],
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    cluster = run_cluster(webhook=webhook.url, group_by=["instance"], **UNHURRIED)
    feed = stack.enter_context(Feed(prometheus, instances=EPISODES))
    config = single([one.url for one in cluster], prometheus.url)
    everyone = {f"host{number}:9100" for number in range(EPISODES)}

    def run(count: int) -> list[Exporter]:
        shards = [
            Exporter(tmp_path / f"shard{index}", config, f"--shard.index={index}", f"--shard.count={count}").start()
            for index in range(count)
        ]
        for one in shards:
            one.wait_for_scores(PATIENCE)
        return shards

    def all_fire(shards: list[Exporter]) -> bool:
        firing = (one.sample("anomaly_exporter_alerts", query="load", state="firing") or 0.0 for one in shards)
        return sum(firing) == EPISODES

    shards = run(2)
    feed.factor[:] = [3.0] * EPISODES
    webhook.wait_for(lambda notes: told(notes).keys() == everyone, PATIENCE)
    for count in (3, 2, 4, 2):
        for one in shards:
            one.stop()
        shards = run(count)
        eventually(lambda shards=shards: all_fire(shards), PATIENCE)
        time.sleep(20.0)
        assert_told(webhook, ["firing"], everyone)
    feed.factor[:] = [1.0] * EPISODES
    assert_each_told_once(webhook, everyone)
    for one in shards:
        one.stop()
