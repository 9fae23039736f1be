"""A run with kills comes to the same as a run without: every learned bit, every line of the audit."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from exporter.schedule import slot_at
from exporter.store import Store
from tests.faults.crashing import Nursery
from tests.faults.cycling import plan_of
from tests.integration.conftest import RunPrometheus
from tests.integration.remote_write import STALE
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

SLOTS, HISTORY, MINUTE = 400, 3 * 1440, 60.0
KILLS = 15

IMPORTS = """
import json, os
from pathlib import Path
from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.faults.cycling import World, plan_of
"""

# What a process does, without the schedule: the slots follow each other as fast as they can.
BODY = """
    os.write(1, b"begun\\n")
    job = json.loads(argument)

    class Api(PrometheusApi):
        def connect(self):
            return Api(PrometheusSettings(url=job["url"]), user_agent="test")

    api = Api(PrometheusSettings(url=job["url"]), user_agent="test")
    plan = plan_of(alert={"for": "3m", "keep_firing_for": "2m"})
    world = World(Path(job["directory"]), api, plan=plan, start=job["first"])
    assert world.prepare(), "no history"
    while world.now < job["last"]:
        world.slot()
    world.end()
"""


def values(start: float) -> list[tuple[dict[str, str], np.ndarray, np.ndarray]]:
    """Nine series: steady ones, anomalies long and short, gaps, one that comes late, one that comes and goes.

    And six that turn together, within some slots of each other: storms, one of which is too short to fire.
    """
    rng = np.random.default_rng(5)
    at = start + MINUTE * np.arange(HISTORY + SLOTS + 1)
    found = []
    for name in range(15):
        level = 100 + 20 * np.sin(at / 86400 * 2 * np.pi + name)
        load = level * (1 + 0.02 * rng.standard_normal(len(at)))
        now = np.arange(len(at)) - HISTORY
        for begin in range(20 + 13 * name, SLOTS, 90 + 11 * name):
            load[(now >= begin) & (now < begin + 4 + 3 * name)] *= 3
        if name < 3:
            # Too short to fire.
            load[(now > 0) & ((now + 7 * name) % 61 < 2)] *= 4
        if name >= 9:
            load = level * (1 + 0.02 * rng.standard_normal(len(at)))
            for begin, length in ((60, 25), (150, 3), (240, 40)):
                load[(now >= begin + name % 4) & (now < begin + length + 2 * (name % 3))] *= 4
        here = np.ones(len(at), bool)
        if name == 5:
            here = now > 150
        if name == 6:
            here = (now // 40) % 2 == 0
            load[:-1][here[:-1] & ~here[1:]] = STALE
        if name == 7:
            here = rng.random(len(at)) > 0.1
        if name == 8:
            load[now % 17 == 0] = np.nan
        found.append(({"__name__": "load", "instance": f"host{name}"}, at[here], load[here]))
    return found


@pytest.fixture
def server(run_prometheus: RunPrometheus) -> Prometheus:
    return run_prometheus()


def learned(directory: Path, version: str) -> dict[tuple[bytes, str], bytes]:
    """Everything that is on disk of every series, by its labels: rows are given in the order of appearance."""
    with Store.open(directory, clock=time.time) as store:
        found = store.learned_arrays.load("load", version)
    assert found is not None
    assert not found.damaged
    # When a checkpoint was written, and since when a row belongs to its series, is not learned.
    parts = {name: array for name, array in found.parts.items() if name not in ("saved_at", "admitted", "block")}
    columns = {}
    for row, key in found.series:
        for name, array in parts.items():
            # A bucket that nothing fell in since a series came is not as wide as there are series now.
            column = array[..., row] if row < array.shape[-1] else np.zeros(array.shape[:-1], array.dtype)
            columns[key, name] = column.tobytes()
    return columns | {(b"", "at"): repr(found.at).encode(), (b"", "block"): found.parts["block"].tobytes()}


def audit(directory: Path) -> list[tuple[object, ...]]:
    with Store.open(directory, clock=time.time) as store:
        entries = store.audit.page(limit=1000).entries
    # What else turned, and since when, is known to a process; the store has what the alert itself goes on from.
    details = [{name: text for name, text in one.details.items() if name != "also"} for one in entries]
    rows = zip(entries, details, strict=True)
    return sorted((one.fingerprint, one.at, str(one.event), one.episode, one.why, str(told)) for one, told in rows)


def test_a_run_with_kills_learns_and_says_the_same(server: Prometheus, tmp_path: Path) -> None:
    seed = np.random.SeedSequence().entropy
    print("seed", seed)
    rng = np.random.default_rng(seed)
    # As slots are: shifted by a number of milliseconds that floats do not have.
    start = int(time.time()) // 60 * 60 + 18.275 - MINUTE * (HISTORY + SLOTS + 10)
    server.push(values(start))
    first, last = (
        slot_at(start + MINUTE * HISTORY, MINUTE, 18.275),
        slot_at(start + MINUTE * (HISTORY + SLOTS), MINUTE, 18.275),
    )

    def argument(directory: Path) -> str:
        return json.dumps({"directory": str(directory), "url": server.url, "first": first, "last": last})

    version = plan_of().identity
    clean, killed = tmp_path / "clean", tmp_path / "killed"
    with Nursery(IMPORTS, BODY) as nursery:
        begun = time.monotonic()
        nursery.run(argument(clean), 1000.0)
        share = (time.monotonic() - begun) / KILLS
        kills = 0
        for _ in range(20 * KILLS):
            nursery.run(argument(killed), rng.uniform(0.0, 1.2 * share))
            with Store.open(killed, clock=time.time) as store:
                reached = store.alerts.watermarks().get("load")
            if reached == last:
                break
            kills += 1
        # The end may have been cut off; once more writes what is left.
        nursery.run(argument(killed), 1000.0)
    assert kills >= KILLS // 2, "too few"
    said = audit(clean)
    assert {event for _, _, event, *_ in said} == {"open", "firing", "resolved", "dropped"}
    # How many it is depends on the hours of the week that the test runs in.
    assert len({fingerprint for fingerprint, *_ in said}) > 3
    assert len(said) > 20
    assert {why for *_, why, _ in said} >= {"storm"}
    assert audit(killed) == said
    expected, found = learned(clean, version), learned(killed, version)
    assert found.keys() == expected.keys()
    assert [key for key in expected if found[key] != expected[key]] == []
