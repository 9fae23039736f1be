"""Facts for pages, as a running program would give them; tests change what they are about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from exporter.charts.drawing import draw
from exporter.web.pages.models import (
    AnomalyCard,
    Chart,
    ChartPart,
    ChartStyle,
    ComponentHealth,
    DisplayError,
    EntityRow,
    EventRow,
    GraphPage,
    GroupRow,
    Labels,
    OverviewPage,
    QueryRow,
    QueryState,
    SeriesFilter,
    SeriesRow,
    TimeRange,
)

__all__ = ["AT", "EVIL", "Pages", "anomaly", "chart", "entity", "overview", "query", "series", "shown"]

AT = 1_764_000_000.0
EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&'`$x^2$\x00\x1b日本"


def query(**changes) -> QueryRow:
    one = QueryRow("cpu", "rate(cpu[5m])", QueryState.SCORED, 1.0, 3, 2, 1, 1, True, AT - 20.0, 60.0)
    return replace(one, **changes)


def series(**changes) -> SeriesRow:
    positions = np.append(np.linspace(-0.5, 0.9, 58), [np.nan, 2.5])
    votes = (("zscore", 4.2), ("iqr", 1.1), ("novelty", float("nan")), ("collective", 0.2))
    labels = (("instance", "a:9100"), ("job", "node"))
    one = SeriesRow(
        "cpu", labels, AT - 20.0, 0.93, 0.91, 0.4, 0.3, 0.5, 4.0, ready=True, positions=positions, severities=votes
    )
    return replace(one, **changes)


def anomaly(**changes) -> AnomalyCard:
    one = AnomalyCard(
        "cpu", series().labels, "firing", AT - 600.0, "cpu is 0.91, expected 0.40", notes=[("votes", "zscore")]
    )
    return replace(one, **changes)


def entity(**changes) -> EntityRow:
    shares = (("latency", 0.61), ("cpu", 0.36), ("errors", 0.03))
    return replace(EntityRow("payment_api", (("pod", "api-7"),), 0.82, shares, float("nan")), **changes)


def overview(**changes) -> OverviewPage:
    facts = OverviewPage(
        at=AT,
        zone="Europe/Berlin",
        version="1.2.3",
        queries=[query()],
        anomalies=[anomaly()],
        events=[EventRow("black-friday", AT + 3600.0, AT + 90000.0, "expect", 'query=~"http_.*"')],
        health=[ComponentHealth("Prometheus", "http://prom:9090", healthy=True)],
        series=[series()],
        matching=1,
        total=3,
        groups=[GroupRow("payment_api", AT - 30.0, 12, 1)],
        entities=[entity()],
    )
    return replace(facts, **changes)


def shown(**changes) -> GraphPage:
    facts = GraphPage(
        AT, "Europe/Berlin", "1.2.3", query(), series(), 3, [anomaly()], "http://prom:9090/graph?g0.expr=x"
    )
    return replace(facts, **changes)


def chart(part: ChartPart = ChartPart.BAND, **changes) -> Chart:
    times = AT + 60.0 * np.arange(240)
    wave = 10.0 + np.sin(times / 3000.0)
    if part is ChartPart.BAND:
        observed = wave.copy()
        observed[100:110], observed[50] = 20.0, np.nan
        bad = np.where(np.arange(240) // 10 == 10, 0.9, 0.1)
        lines = {"observed": observed, "expected": wave, "lower": np.full(240, np.nan), "upper": wave + 1.0}
        lines |= {"score": bad, "votes": np.where(bad > 0.5, 4.0, 0.0)}
    elif part is ChartPart.WEEKS:
        lines = {name: wave + number for number, name in enumerate(["-4 w", "-3 w", "-2 w", "-1 w", "now"])}
    else:
        lines = dict.fromkeys(("observed, hourly mean", "trend", "daily", "weekly", "residual"), wave)
    one = Chart(part, "cpu", "instance=a:9100", "Europe/Berlin", times, lines, 3, "From history.", gaps=90.0)
    return replace(one, **changes)


@dataclass
class Pages:
    """The data of the pages, changed by tests."""

    front: OverviewPage = field(default_factory=overview)
    one: GraphPage = field(default_factory=shown)
    wrong: DisplayError | None = None
    requests: list[object] = field(default_factory=list)

    def overview(self, filters: SeriesFilter) -> OverviewPage:
        self.requests.append(filters)
        return self.front

    def series(self, query: str, labels: Labels) -> GraphPage:
        self.requests.append((query, labels))
        if self.wrong is not None:
            raise self.wrong
        return self.one

    def now(self) -> float:
        return AT

    def preload(self) -> None:
        self.requests.append("preload")

    def chart(self, query: str, labels: Labels, within: TimeRange | None, part: ChartPart, style: ChartStyle) -> bytes:
        self.requests.append((query, labels, within, part))
        if self.wrong is not None:
            raise self.wrong
        return draw(chart(part), style)
