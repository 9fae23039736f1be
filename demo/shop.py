"""The shop that is watched: what its metrics look like at any time, and when it goes wrong."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["HELP", "SERVICES", "Shop"]

SERVICES = ("cart", "checkout", "search")
HELP = {
    "shop_requests_per_second": "Requests that the service answers, a second.",
    "shop_latency_p99_seconds": "Latency that 99 percent of the requests stay below.",
    "shop_cpu_usage_ratio": "Share of its processors that the service uses.",
}
_BUSY = {"cart": 120.0, "checkout": 45.0, "search": 260.0}


@dataclass(frozen=True, slots=True)
class Shop:
    """Metrics as a function of time.

    Attributes
    ----------
    breaks_at, mends_at : float, Unix seconds
        Between the two, checkout is slow and loses nearly all of its requests.
    """

    breaks_at: float = math.inf
    mends_at: float = math.inf

    def at(self, now: float, rng: random.Random) -> Iterator[tuple[str, str, float]]:
        """Yield metric, service and value of every series at an instant."""
        for service in SERVICES:
            load = _BUSY[service] * _daily(now) * _weekly(now)
            latency = 0.080 + 0.10 * load / _BUSY[service]
            if service == "checkout" and self.breaks_at <= now < self.mends_at:
                load *= 0.05
                latency *= 6.0
            yield "shop_requests_per_second", service, load * rng.gauss(1.0, 0.04)
            yield "shop_latency_p99_seconds", service, latency * rng.gauss(1.0, 0.05)
            yield "shop_cpu_usage_ratio", service, min(1.0, (0.1 + 0.5 * load / _BUSY[service]) * rng.gauss(1.0, 0.03))

    def page(self, now: float, rng: random.Random) -> str:
        """Return the metrics as a page that Prometheus can scrape."""
        series = sorted(self.at(now, rng))
        lines = []
        for metric, text in HELP.items():
            lines += [f"# HELP {metric} {text}", f"# TYPE {metric} gauge"]
            lines += [f'{metric}{{service="{service}"}} {value!r}' for name, service, value in series if name == metric]
        return "\n".join(lines) + "\n"

    def history(self, start: float, end: float, step: float, labels: str, rng: random.Random) -> Iterator[str]:
        """Yield the past as lines of OpenMetrics, `labels` added to every series."""
        points = int((end - start) // step) + 1
        rows = [list(self.at(start + step * i, rng)) for i in range(points)]
        order = [(metric, service) for metric, service, _ in rows[0]]
        for metric, text in HELP.items():
            yield f"# HELP {metric} {text}\n# TYPE {metric} gauge\n"
            for service in SERVICES:
                column = order.index((metric, service))
                for i, row in enumerate(rows):
                    yield f'{metric}{{service="{service}",{labels}}} {row[column][2]!r} {start + step * i:.3f}\n'
        yield "# EOF\n"


def _daily(now: float) -> float:
    hour = now % 86400 / 3600
    return 0.55 + 0.45 * math.sin((hour - 9) / 24 * 2 * math.pi)


def _weekly(now: float) -> float:
    weekday = int(now // 86400 + 3) % 7
    return 0.7 if weekday >= 5 else 1.0
