"""Facts for pages, as a running program would give them; tests change what they are about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from exporter.charts.drawing import draw
from exporter.web.pages.models import (
    Anomaly,
    Chart,
    EventRow,
    GroupRow,
    Health,
    Labels,
    Look,
    Overview,
    Part,
    QueryRow,
    QueryState,
    Range,
    SeriesRow,
    Shown,
    ThingRow,
    Unshowable,
    Wanted,
)

__all__ = ["AT", "EVIL", "Pages", "anomaly", "chart", "overview", "query", "series", "shown", "thing"]

AT = 1_764_000_000.0
EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&'`$x^2$\x00\x1b日本"


def query(**changes) -> QueryRow:
    one = QueryRow("cpu", "rate(cpu[5m])", QueryState.SCORED, 1.0, 3, 2, 1, 1, True, AT - 20.0, 60.0)
    return replace(one, **changes)


def series(**changes) -> SeriesRow:
    place = np.append(np.linspace(-0.5, 0.9, 58), [np.nan, 2.5])
    votes = (("zscore", 4.2), ("iqr", 1.1), ("novelty", float("nan")), ("collective", 0.2))
    labels = (("instance", "a:9100"), ("job", "node"))
    one = SeriesRow("cpu", labels, AT - 20.0, 0.93, 0.91, 0.4, 0.3, 0.5, 4.0, ready=True, place=place, severities=votes)
    return replace(one, **changes)


def anomaly(**changes) -> Anomaly:
    one = Anomaly(
        "cpu", series().labels, "firing", AT - 600.0, "cpu is 0.91, expected 0.40", notes=[("votes", "zscore")]
    )
    return replace(one, **changes)


def thing(**changes) -> ThingRow:
    shares = (("latency", 0.61), ("cpu", 0.36), ("errors", 0.03))
    return replace(ThingRow("payment_api", (("pod", "api-7"),), 0.82, shares, float("nan")), **changes)


def overview(**changes) -> Overview:
    facts = Overview(
        at=AT,
        zone="Europe/Berlin",
        version="1.2.3",
        queries=[query()],
        anomalies=[anomaly()],
        events=[EventRow("black-friday", AT + 3600.0, AT + 90000.0, "expect", 'query=~"http_.*"')],
        health=[Health("Prometheus", "http://prom:9090", well=True)],
        series=[series()],
        matching=1,
        total=3,
        groups=[GroupRow("payment_api", AT - 30.0, 12, 1)],
        things=[thing()],
    )
    return replace(facts, **changes)


def shown(**changes) -> Shown:
    facts = Shown(AT, "Europe/Berlin", "1.2.3", query(), series(), 3, [anomaly()], "http://prom:9090/graph?g0.expr=x")
    return replace(facts, **changes)


def chart(part: Part = Part.BAND, **changes) -> Chart:
    times = AT + 60.0 * np.arange(240)
    wave = 10.0 + np.sin(times / 3000.0)
    if part is Part.BAND:
        observed = wave.copy()
        observed[100:110], observed[50] = 20.0, np.nan
        bad = np.where(np.arange(240) // 10 == 10, 0.9, 0.1)
        lines = {"observed": observed, "expected": wave, "lower": np.full(240, np.nan), "upper": wave + 1.0}
        lines |= {"score": bad, "votes": np.where(bad > 0.5, 4.0, 0.0)}
    elif part is Part.WEEKS:
        lines = {name: wave + number for number, name in enumerate(["-4 w", "-3 w", "-2 w", "-1 w", "now"])}
    else:
        lines = dict.fromkeys(("observed, hourly mean", "trend", "daily", "weekly", "residual"), wave)
    one = Chart(part, "cpu", "instance=a:9100", "Europe/Berlin", times, lines, 3, "From history.", gaps=90.0)
    return replace(one, **changes)


@dataclass
class Pages:
    """What the program tells the pages, changed by tests."""

    front: Overview = field(default_factory=overview)
    one: Shown = field(default_factory=shown)
    wrong: Unshowable | None = None
    charts: bool = True
    asked: list[object] = field(default_factory=list)

    def overview(self, wanted: Wanted) -> Overview:
        self.asked.append(wanted)
        return self.front

    def series(self, query: str, labels: Labels) -> Shown:
        self.asked.append((query, labels))
        if self.wrong is not None:
            raise self.wrong
        return self.one

    def now(self) -> float:
        return AT

    def prepare(self) -> None:
        self.asked.append("prepare")

    def chart(self, query: str, labels: Labels, within: Range | None, part: Part, look: Look) -> bytes:
        self.asked.append((query, labels, within, part))
        if self.wrong is not None:
            raise self.wrong
        return draw(chart(part), look)
