"""A thousand cycles against a real Prometheus that comes and goes, with series that come and go: nothing grows."""

from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from exporter.prometheus import PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from tests.faults.cycling import World, plan_of
from tests.integration.proxy import Proxy
from tests.integration.servers import Prometheus

pytestmark = pytest.mark.integration

SLOTS, HISTORY, MINUTE = 1000, 180, 60.0


class Api(PrometheusApi):
    """Makes further clients of itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        super().__init__(PrometheusSettings(url=url), user_agent="test")

    def connect(self) -> Api:
        return Api(self._url)


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_thousand_cycles_leave_nothing_behind(prometheus: Prometheus, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    start = float(int(time.time()) // 60 * 60) - MINUTE * (HISTORY + SLOTS + 10)
    at = start + MINUTE * np.arange(HISTORY + SLOTS + 1)
    steady = [({"__name__": "load", "instance": f"host{i}"}, at, 100 + rng.standard_normal(len(at))) for i in range(40)]
    for _, _, values in steady[:4]:
        values[HISTORY::50] *= 5.0
    # Each lives for twenty minutes, as pods do.
    pods = []
    for number in range(0, SLOTS, 10):
        life = slice(HISTORY + number, HISTORY + number + 20)
        pods.append(({"__name__": "load", "instance": f"pod{number}"}, at[life], np.full(len(at[life]), 100.0)))
    prometheus.push([*steady, *pods])
    baseline = {"window": "1d", "min_history": "1h", "series_ttl": "1h"}
    with Proxy(prometheus.address) as proxy:
        api = Api(proxy.url)
        world = World(tmp_path, api, plan=plan_of(baseline=baseline), start=start + MINUTE * HISTORY)
        assert world.prepare()
        seen: list[tuple[int, int, int]] = []
        for number in range(SLOTS):
            # One of twenty slots fails, and is read back by the next.
            proxy.mode = "reset" if number % 20 == 7 else "pass"
            if proxy.mode == "reset":
                proxy.cut()
            world.slot()
            if number % 100 == 99:
                gc.collect()
                seen.append((resident(), descriptors(), threading.active_count()))
        assert world.sample("cycles_total") == SLOTS
        assert world.sample("cycles_failed_total") == SLOTS / 20
        assert world.cycle.series < 60
        world.end()
        api.close()
    memory, files, threads = (list(column) for column in zip(*seen, strict=True))
    print(memory, files, threads)
    # The first hundreds fill caches and arrays.
    assert memory[-1] - memory[3] < 8 * 2**20, memory
    assert max(files[3:]) - min(files[3:]) <= 8, files
    assert max(threads[3:]) - min(threads[3:]) <= 6, threads
