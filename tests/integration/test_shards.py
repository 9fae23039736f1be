"""Several daemons over the same series: shards split them, replicas share them, and people are told once."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from exporter.cli.main import main
from tests.integration.daemon import Exporter, Feed, configuration
from tests.integration.process import eventually
from tests.integration.servers import Alertmanager, Prometheus
from tests.integration.webhook import Notification, Webhook

pytestmark = pytest.mark.integration

INSTANCES = 8


def told(notes: list[Notification]) -> list[tuple[str, str]]:
    return [(alert["status"], alert["labels"]["instance"]) for note in notes for alert in note.alerts]


def instances(exporter: Exporter) -> set[str]:
    return {dict(labels)["instance"] for labels in exporter.samples("anomaly_score")}


@pytest.mark.parametrize("flags", [[("0", "2"), ("1", "2")], [("0", "1"), ("0", "1")]], ids=["shards", "replicas"])
def test_two_processes_alert_once(
    flags: list[tuple[str, str]],
    prometheus: Prometheus,
    alertmanager: Alertmanager,
    webhook: Webhook,
    stack: ExitStack,
    tmp_path: Path,
) -> None:
    feed = stack.enter_context(Feed(prometheus, INSTANCES))
    config = configuration(prometheus.url, [alertmanager.url])
    both = [
        stack.enter_context(
            Exporter(tmp_path / f"exporter{number}", config, f"--shard.index={index}", f"--shard.count={count}")
        )
        for number, (index, count) in enumerate(flags)
    ]
    for exporter in both:
        exporter.wait_for_scores()
    one, two = map(instances, both)
    everyone = {f"host{number}:9100" for number in range(INSTANCES)}
    assert one | two == everyone
    assert (one & two) == (set() if flags[0][1] == "2" else everyone)
    assert one
    assert two

    feed.factor[1] = 3.0
    webhook.wait_for(lambda notes: ("firing", "host1:9100") in told(notes), 30.0)
    eventually(
        lambda: (
            sum(exporter.sample("anomaly_exporter_alerts", query="load", state="firing") or 0 for exporter in both)
            == (1 if flags[0][1] == "2" else 2)
        ),
        30.0,
        what="alerts of both",
    )
    assert len(alertmanager.alerts()) == 1
    feed.factor[1] = 1.0
    webhook.wait_for(lambda notes: ("resolved", "host1:9100") in told(notes), 30.0)
    time.sleep(5.0)  # The subject: within some resends and group intervals nothing more comes.
    assert told(webhook.notifications) == [("firing", "host1:9100"), ("resolved", "host1:9100")]


# ---------------------------------------------------------------- queries that one shard asks

WHOLE = [f"whole{number}" for number in range(6)]


def query_log(file: Path) -> dict[str, list[float]]:
    """Return the instants at which each expression was evaluated, Unix seconds."""
    asked: dict[str, list[float]] = {}
    for line in file.read_text().splitlines():
        params = json.loads(line)["params"]
        if params["start"] == params["end"]:
            asked.setdefault(params["query"], []).append(datetime.fromisoformat(params["start"]).timestamp())
    return asked


def judged(exporters: Sequence[Exporter]) -> list[tuple[str, str]]:
    """Return query and instance of every score, of all exporters."""
    return [
        (labels["query"], labels["exported_instance"] if "exported_instance" in labels else labels["instance"])
        for exporter in exporters
        for labels in map(dict, exporter.samples("anomaly_score"))
    ]


def test_a_small_query_is_asked_once_and_moves_with_what_was_learned(
    run_prometheus: Any, stack: ExitStack, tmp_path: Path
) -> None:
    log = tmp_path / "queries.log"
    prometheus = run_prometheus(config={"global": {"query_log_file": str(log)}})
    stack.enter_context(Feed(prometheus, 3, days=2.0))
    config = configuration(prometheus.url, [])
    config["queries"] = [{"name": name, "expr": f"load + {at}", "shard_by": "query"} for at, name in enumerate(WHOLE)]
    config["queries"].append({"name": "split", "expr": "load"})
    everything = sorted((name, f"host{at}:9100") for name in [*WHOLE, "split"] for at in range(3))

    def start(count: int) -> list[Exporter]:
        flags = [(f"--shard.index={index}", f"--shard.count={count}") for index in range(count)]
        return [
            stack.enter_context(Exporter(tmp_path / f"exporter{at}", config, *each)) for at, each in enumerate(flags)
        ]

    def watch(exporters: list[Exporter]) -> dict[str, set[int]]:
        """Wait until every series is judged by one, and for some slots; return which asks each query."""
        eventually(lambda: sorted(judged(exporters)) == everything, 60.0, what="each series once")
        begin = time.time()
        eventually(lambda: min(map(len, after(begin).values()), default=0) >= 2 * len(exporters), 60.0, what="slots")
        for at, name in enumerate(WHOLE):
            slots = after(begin)[f"load + {at}"]
            assert len(slots) == len(set(slots)), name
        slots = after(begin)["load"]
        assert len(slots) - len(set(slots)) >= len(exporters)
        assert sorted(judged(exporters)) == everything
        owners = [{query for query, _ in judged([each])} for each in exporters]
        return {name: {at for at, queries in enumerate(owners) if name in queries} for name in WHOLE}

    def after(begin: float) -> dict[str, list[float]]:
        return {expr: [at for at in slots if at > begin] for expr, slots in query_log(log).items()}

    exporters = start(2)
    before = watch(exporters)
    storage = [f"--storage.path={exporter.directory / 'data'}" for exporter in exporters]
    archives = [str(tmp_path / f"{at}.archive") for at in range(2)]
    for exporter in exporters:
        exporter.stop()
    assert [main(["state", "export", each, file]) for each, file in zip(storage, archives, strict=True)] == [0, 0]
    for at in range(3):
        for file in archives:
            assert main(["state", "import", f"--storage.path={tmp_path / f'exporter{at}' / 'data'}", file]) == 0
    stopped = time.time()
    exporters = start(3)
    moved = {name for name, owner in watch(exporters).items() if owner != before[name]}
    assert moved
    for exporter in exporters:
        exporter.stop()
    # What moved goes on with what was learned: only the time in between is read.
    texts = [(exporter.directory / "log").read_text() for exporter in exporters]
    for name in moved:
        assert any(f'msg="learned state restored" query={name}' in text for text in texts), name
    # No slot of the time in between is judged twice.
    for at in range(len(WHOLE)):
        slots = [slot for slot in query_log(log)[f"load + {at}"] if slot > stopped]
        assert len(slots) - len(set(slots)) <= 1
