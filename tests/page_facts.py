"""Facts for pages, as a running program would give them; tests change what they are about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from exporter.charts.drawing import draw
from exporter.web.api.what_if import OtherSettings, WhatIf, WhatIfOutcome
from exporter.web.pages.explore_models import ExploreForm, ExplorePage, Trial
from exporter.web.pages.incident_models import (
    AnomaliesPage,
    AnomalyFilter,
    IncidentPage,
    TimelineEntry,
    WhatIfPage,
)
from exporter.web.pages.models import (
    AnomalyCard,
    Chart,
    ChartPart,
    ChartStyle,
    ComponentHealth,
    DisplayError,
    EntityRow,
    EpisodeRow,
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

__all__ = [
    "AT",
    "EVIL",
    "Pages",
    "anomalies",
    "anomaly",
    "chart",
    "entity",
    "episode",
    "incident",
    "overview",
    "query",
    "series",
    "shown",
]

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


def episode(**changes) -> EpisodeRow:
    one = EpisodeRow(
        "0b7f", "cpu", series().labels, "firing", AT - 600.0, None, "cpu is 0.91, expected 0.40", score=0.93
    )
    return replace(one, **changes)


def anomalies(**changes) -> AnomaliesPage:
    return replace(AnomaliesPage(AT, "Europe/Berlin", "1.2.3", [episode()], ["cpu", "latency"]), **changes)


def incident(**changes) -> IncidentPage:
    timeline = [
        TimelineEntry(AT - 600.0, "pending", "became anomalous"),
        TimelineEntry(AT - 900.0, "change", "deploy v1.4.2"),
        TimelineEntry(AT - 540.0, "firing", "its alert fired"),
        TimelineEntry(AT - 500.0, "member", "latency became anomalous", link="77aa"),
        TimelineEntry(AT - 300.0, "acknowledged", "acknowledged: on it", "eve"),
    ]
    one = IncidentPage(
        AT, "Europe/Berlin", "1.2.3", episode(), TimeRange(AT - 7200.0, AT), timeline, [("votes", "zscore")],
        ["Alertmanager http://am:9093: notifies pager."], [episode(id="77aa", query="latency")], "firing: cpu is 0.91",
    )  # fmt: skip
    return replace(one, **changes)


@dataclass
class Pages:
    """The data of the pages, changed by tests."""

    front: OverviewPage = field(default_factory=overview)
    one: GraphPage = field(default_factory=shown)
    many: AnomaliesPage = field(default_factory=anomalies)
    whole: IncidentPage = field(default_factory=incident)
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

    def anomalies(self, filters: AnomalyFilter) -> AnomaliesPage:
        self.requests.append(filters)
        return self.many

    def incident(self, episode: str) -> IncidentPage:
        self.requests.append(episode)
        if self.wrong is not None:
            raise self.wrong
        return self.whole

    def what_if(self, query: str, settings: OtherSettings | None) -> WhatIfPage:
        self.requests.append((query, settings))
        outcome = WhatIfOutcome(settings or OtherSettings(min_deviation=0.05), 17, 14, 3, 0, 240.0, 5, 5, 2)
        fields = [("min_deviation", "Least deviation", ""), ("for", "For", "5m")]
        return WhatIfPage(AT, "UTC", "1.2.3", WhatIf(query, 17, 19, (outcome,)), fields)

    def explore(self, form: ExploreForm) -> ExplorePage:
        self.requests.append(form)
        if not form.expr:
            return ExplorePage(AT, "UTC", "1.2.3", form)
        trial = Trial(1000, 12, 980, [(AT - 900.0, AT - 300.0)], 60.0)
        within = TimeRange(AT - 86400.0, AT)
        return ExplorePage(AT, "UTC", "1.2.3", form, [("a=b", [("a", "b")])], [("a", "b")], within, trial)

    def explore_chart(self, form: ExploreForm, style: ChartStyle) -> bytes:
        self.requests.append(form)
        return draw(chart(), style)

    def now(self) -> float:
        return AT

    def preload(self) -> None:
        self.requests.append("preload")

    def chart(self, query: str, labels: Labels, within: TimeRange | None, part: ChartPart, style: ChartStyle) -> bytes:
        self.requests.append((query, labels, within, part))
        if self.wrong is not None:
            raise self.wrong
        return draw(chart(part), style)
