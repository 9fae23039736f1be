"""A small shop in Prometheus: four weeks of its past at once, then a sample every half second.

Checkout was slow for some time five hours ago, so that there is something to see.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Self

import numpy as np

from tests.integration.servers import Prometheus

__all__ = ["ODD", "ShopFeed"]

HOUR, DAY = 3600.0, 86400.0
WEEKS = 4
ODD = '"><script>window.hacked = 1</script><img src=x onerror="window.hacked = 2"><b>&amp;'
"""What a service is called: whoever shows it as it is has a hole."""
_BUSY = {"cart": 120.0, "checkout": 45.0, "search": 260.0, ODD: 80.0}


class ShopFeed:
    """Writes ``requests`` and ``latency`` of four services.

    Parameters
    ----------
    prometheus : Prometheus
    """

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._rng = np.random.default_rng(3)
        self.slow: set[str] = set()
        """Services whose latency is six times what it should be."""
        self._began = time.time()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)

    def _series(self, at: np.ndarray) -> list[tuple[dict[str, str], np.ndarray, np.ndarray]]:
        daily = 0.55 + 0.45 * np.sin((at % DAY / 3600.0 - 9.0) / 24.0 * 2.0 * np.pi)
        weekend = np.where((at // DAY + 3) % 7 >= 5, 0.7, 1.0)
        found = []
        for service, busy in _BUSY.items():
            labels = {"job": "shop", "service": service}
            load = daily * weekend
            noise = 1.0 + 0.04 * self._rng.standard_normal((2, len(at)))
            latency = (0.08 + 0.1 * load) * noise[1] * (6.0 if service in self.slow else 1.0)
            if service == "checkout":
                latency = np.where((at >= self._began - 5 * HOUR) & (at < self._began - 4.3 * HOUR), 3.0, 1.0) * latency
            found.append(({"__name__": "requests", **labels}, at, busy * load * noise[0]))
            found.append(({"__name__": "latency", **labels}, at, latency))
        return found

    def _feed(self) -> None:
        while not self._stopping.wait(0.5):
            with contextlib.suppress(OSError):
                self._prometheus.push(self._series(np.array([time.time()])))

    def __enter__(self) -> Self:
        now = self._began
        self._prometheus.push(self._series(np.arange(now - WEEKS * 7 * DAY - DAY, now, 300.0)))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
