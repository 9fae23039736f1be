"""A report as one HTML file: no other file, no script, nothing from elsewhere; light and dark."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.backtest.chart_windows import ChartWindow
from exporter.backtest.recorder import RecordedAlert
from exporter.backtest.report import BacktestReport, length
from exporter.backtest.tables import (
    alert_row,
    heading,
    incident_table,
    notes,
    only_in,
    query_table,
    verdicts,
    when,
)
from exporter.charts.chart import Chart, ChartPart, ChartStyle
from exporter.charts.rendering import render
from exporter.web.templating import Templates

__all__ = ["to_html"]

_CHARTS = 30
"""Charts in one file: some 60 kB each."""
_LISTED = 500
_WIDTH, _LANE, _LEFT = 1000, 26, 180
"""Of the timeline, in its own units: its width, the height of a lane, and where the lanes begin."""
_TICKS = 4

_TEMPLATES = Templates("exporter.backtest", filters={"zip": zip})


def to_html(report: BacktestReport, windows: Mapping[int, ChartWindow]) -> str:
    """Write a report.

    Parameters
    ----------
    windows : mapping
        Samples and verdicts around alerts, by the identity of each.
    """
    return _TEMPLATES.render(
        "report.html",
        heading=heading(report),
        verdicts=list(verdicts(report)),
        queries=query_table(report),
        timeline=_timeline(report),
        compared=report.old is not None,
        incidents=incident_table(report) if report.new.met else None,
        notes=list(notes(report)),
        lists=_lists(report, windows),
        most_charts=_CHARTS,
    )


# ---------------------------------------------------------------- alerts


@dataclass(frozen=True, slots=True)
class _ChartImages:
    caption: str
    alt: str
    light: str
    dark: str


@dataclass(frozen=True, slots=True)
class _Card:
    title: str
    when: str
    text: str
    chart: _ChartImages | None


@dataclass(frozen=True, slots=True)
class _AlertList:
    title: str
    total: int
    cards: list[_Card]

    @property
    def without_chart(self) -> bool:
        return any(card.chart is None for card in self.cards)


def _lists(report: BacktestReport, windows: Mapping[int, ChartWindow]) -> list[_AlertList]:
    lists: list[tuple[str, Sequence[RecordedAlert]]] = [("Alerts", only_in(report.new, None))]
    if report.old is not None:
        only_new = only_in(report.new, report.old)
        identities = {id(alert) for alert in only_new}
        lists = [
            ("Alerts of the new configuration only", only_new),
            ("Alerts of the old configuration only", only_in(report.old, report.new)),
            (
                "Alerts of both, as the new one tells them",
                [alert for alert in report.new.notified if id(alert) not in identities],
            ),
        ]
    charted = iter(range(_CHARTS))
    return [
        _AlertList(
            title,
            len(alerts),
            [_card(alert, report, windows.get(id(alert)), charted) for alert in alerts[:_LISTED]],
        )
        for title, alerts in lists
        if alerts
    ]


def _card(alert: RecordedAlert, report: BacktestReport, window: ChartWindow | None, charted: Iterator[int]) -> _Card:
    begin, lasted, name, labels = alert_row(alert, report)
    chart = _chart(window) if window is not None and next(charted, None) is not None else None
    text = "\n".join([alert.summary, *alert.reasons.values()])
    return _Card(f"{name}: {labels}", f"{begin} {report.zone}, {lasted}", text, chart)


def _chart(window: ChartWindow) -> _ChartImages:
    times, lines = window.lines()
    labels = " ".join(f"{name}={value}" for name, value in window.labels)
    chart = Chart(
        ChartPart.BAND, window.alert.name, labels, window.zone, times, lines, window.quorum, "Replayed from history.",
        gaps=1.5 * window.interval,
    )  # fmt: skip

    def image(*, dark: bool) -> str:
        # As an image, because two inline drawings would share the names inside of them.
        return f"data:image/svg+xml;base64,{base64.b64encode(render(chart, ChartStyle('svg', dark=dark))).decode()}"

    caption = f"Its worst series: {labels}" if "storm" in window.alert.labels else ""
    alt = f"Expected and observed {window.alert.name} around the alert"
    return _ChartImages(caption, alt, image(dark=False), image(dark=True))


# ---------------------------------------------------------------- timeline


@dataclass(frozen=True, slots=True)
class _Bar:
    label: str
    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class _Timeline:
    """A lane for incidents and a lane for each query with its alerts."""

    lanes: list[tuple[str, int]]
    """Name and top."""
    bars: list[_Bar]
    ticks: list[tuple[str, int]]
    """Text and place."""
    width: int = _WIDTH
    left: int = _LEFT
    lane_height: int = _LANE

    @property
    def height(self) -> int:
        return len(self.lanes) * _LANE


def _timeline(report: BacktestReport) -> _Timeline:
    sides = [(report.new, "new")] if report.old is None else [(report.new, "new"), (report.old, "old")]
    names = list(dict.fromkeys(counted.name for side, _ in sides for counted in side.counted))
    lanes = (["incidents"] if report.incidents else []) + names
    bars = [
        _bar(
            report,
            incident.start,
            incident.end,
            y=3.0,
            height=_LANE - 6.0,
            kind="known",
            label=f"{incident.name or 'incident'}, {when(incident.start, report.zone)}",
        )
        for incident in report.incidents or ()
    ]
    height = (_LANE - 6) / len(sides)
    first_query = len(lanes) - len(names)
    for number, (side, kind) in enumerate(sides):
        for alert in side.notified:
            y = (names.index(alert.name) + first_query) * _LANE + 3 + number * height
            start = alert.fired_at if alert.notified_at is None else alert.notified_at
            end = alert.fired_at + length(alert, report.within)
            bars.append(_bar(report, start, end, y=y, height=height, kind=kind, label=alert.summary))
    within = report.within
    instants = [within.start + (within.end - within.start) * number / _TICKS for number in range(_TICKS + 1)]
    return _Timeline(
        [(name, number * _LANE) for number, name in enumerate(lanes)],
        bars,
        [(when(at, report.zone), round(_x(report, at))) for at in instants],
    )


def _x(report: BacktestReport, at: float) -> float:
    within = report.within
    share = (min(max(at, within.start), within.end) - within.start) / (within.end - within.start)
    return _LEFT + share * (_WIDTH - _LEFT)


def _bar(report: BacktestReport, start: float, end: float, *, y: float, height: float, kind: str, label: str) -> _Bar:
    left, right = _x(report, start), _x(report, end)
    # Minutes of a month are thinner than a line.
    width = max(2.5, right - left)
    return _Bar(label, kind, round(min(left, _WIDTH - width), 1), round(y, 1), round(width, 1), round(height, 1))
