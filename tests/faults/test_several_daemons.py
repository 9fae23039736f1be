"""A pair, and shards that become more and fewer, through many episodes: each is one notification and one end.

They take minutes, so they have a command of their own::

    ANOMALY_EXPORTER_EPISODES=40 pytest tests/faults/test_several_daemons.py
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
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

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not EPISODES, reason="takes minutes: ANOMALY_EXPORTER_EPISODES=40"),
    pytest.mark.timeout(1200 + 10 * EPISODES),
]


class Together:
    """Several exporters of which one at least has judged a slot lately."""

    def __init__(self, exporters: list[Exporter]) -> None:
        self._exporters = exporters

    def sample(self, name: str, **labels: str) -> float | None:
        newest = 0.0
        for one in self._exporters:
            if one.process.alive:
                try:
                    newest = max(newest, one.sample(name, **labels) or 0.0)
                except OSError:  # It was killed: that is the subject.
                    continue
        return newest


def single(alertmanagers: list[str], prometheus: str, **changes: object) -> dict[str, object]:
    config = configuration(prometheus, alertmanagers, silences={"interval": "1s"}, **changes)
    config["queries"][0]["alert"] |= {"for": "0s", "storm": {"enabled": False}}
    return config


def assert_each_told_once(webhook: Webhook, everyone: set[str]) -> None:
    def all_over(notes: list[Notification]) -> bool:
        heard = told(notes)
        return all("resolved" in heard.get(name, []) for name in everyone)

    webhook.wait_for(all_over, PATIENCE)
    time.sleep(10.0)  # Nothing more comes.
    heard = told(webhook.notifications)
    assert {name: said for name, said in heard.items() if said != ["firing", "resolved"]} == {}
    assert heard.keys() == everyone


def test_a_pair_under_kills_and_a_rollout(
    prometheus: Prometheus,
    run_cluster: Callable[..., list[Alertmanager]],
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    seed = np.random.SeedSequence().entropy
    print("seed", seed)
    rng = np.random.default_rng(seed)
    cluster = run_cluster(webhook=webhook.url, group_by=["instance"], group_wait="2s")
    feed = stack.enter_context(Feed(prometheus, instances=EPISODES))
    config = single([one.url for one in cluster], prometheus.url)
    pair = [stack.enter_context(Exporter(tmp_path / name, config)) for name in ("first", "second")]
    for one in pair:
        one.wait_for_scores(PATIENCE)
    kills = 0
    with Episodes(feed, Together(pair)) as episodes:  # type: ignore[arg-type]
        while not episodes.over.wait(rng.uniform(2.0, 6.0)):
            one = pair[int(rng.integers(2))]
            if kills % 4 == 3:
                # A configuration that reaches one after the other, and has other bands.
                wider = {**config, "queries": [{**config["queries"][0], "min_relative_deviation": 0.4}]}  # type: ignore[index]
                for each in pair:
                    each.write(wider if kills % 8 == 3 else config)
                    each.hang_up()
                    episodes.over.wait(rng.uniform(1.0, 4.0))
            one.kill()
            episodes.over.wait(rng.uniform(0.0, 8.0))
            one.start()
            kills += 1
    print("kills", kills)
    assert_each_told_once(webhook, {f"host{number}:9100" for number in range(EPISODES)})


def test_shards_become_more_and_fewer_while_alerts_fire(
    prometheus: Prometheus,
    run_cluster: Callable[..., list[Alertmanager]],
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    cluster = run_cluster(webhook=webhook.url, group_by=["instance"], group_wait="2s")
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
        time.sleep(10.0)
        assert set(map(tuple, told(webhook.notifications).values())) == {("firing",)}, count
    feed.factor[:] = [1.0] * EPISODES
    assert_each_told_once(webhook, everyone)
    for one in shards:
        one.stop()
