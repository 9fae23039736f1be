"""A report as one HTML file: no other file, no script, nothing from elsewhere; light and dark."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec

from exporter.backtest.chart_windows import ChartWindow
from exporter.backtest.recorder import RecordedAlert
from exporter.backtest.report import BacktestReport, length
from exporter.backtest.tables import (
    Table,
    alert_row,
    alerts_of_one,
    heading,
    incident_table,
    notes,
    query_table,
    verdicts,
    when,
)
from exporter.charts.chart import Chart, Look, Part
from exporter.web.pages.markup import Markup, Node, tag

__all__ = ["to_html"]

_CHARTS = 30
"""Charts in one file: some 60 kB each."""
_LISTED = 500
_WIDTH, _LANE, _LABEL, _LONGEST_NAME = 1000, 26, 180, 24
"""Of the picture of the whole range, in its own units."""

_STYLE = """
:root{color-scheme:light dark;--back:#f5f7fa;--card:#fff;--text:#18202c;--soft:#566174;--line:#dde3ea;--bad:#c3261f;
--new:#14427f;--old:#a3862d;--known:#c3261f}
@media(prefers-color-scheme:dark){:root{--back:#10151c;--card:#181e27;--text:#e5eaf1;--soft:#9dabbd;--line:#2b3440;
--bad:#ff7a70;--new:#9cc2fb;--old:#e0c36a;--known:#ff7a70}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:1060px;margin:0 auto;padding:1.5rem 1rem 4rem}h1{font-size:1.4rem;margin:0 0 .3rem}
h2{font-size:1.1rem;margin:2rem 0 .6rem}.soft,small{color:var(--soft)}.bad{color:var(--bad);font-weight:600}
section,.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:1rem;margin:0 0 1rem}
.wide{overflow-x:auto;padding:0}table{border-collapse:collapse;width:100%}th,td{padding:.45rem .8rem;text-align:left;
border-top:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}tr:first-child th{border-top:0}
th{font-weight:600;color:var(--soft);white-space:nowrap}.r{text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}td.k{white-space:nowrap}h3{font-size:1rem;margin:0 0 .3rem;overflow-wrap:anywhere}
p{margin:.2rem 0}img,svg{display:block;max-width:100%;height:auto}picture{display:block;margin-top:.6rem}
svg text{fill:var(--soft);font-size:13px}.lane{fill:var(--line)}.new{fill:var(--new)}.old{fill:var(--old)}
.known{fill:var(--known)}.key::before{content:"";display:inline-block;width:.8em;height:.8em;margin:0 .35em 0 1em;
background:currentColor}.key.knew{color:var(--new)}.key.kold{color:var(--old)}
"""

Draw = Callable[[Chart, Look], bytes]


def to_html(report: BacktestReport, windows: Mapping[int, ChartWindow]) -> str:
    """Write a report.

    Parameters
    ----------
    report : BacktestReport
    windows : mapping
        What is known around alerts, by the identity of each.
    """
    draw = _drawing()
    lists = [("Alerts", alerts_of_one(report.new, None))]
    if report.old is not None:
        lists = [
            ("Alerts of the new configuration only", alerts_of_one(report.new, report.old)),
            ("Alerts of the old configuration only", alerts_of_one(report.old, report.new)),
            ("Alerts of both, as the new one tells them", _both(report)),
        ]
    left = _CHARTS
    parts: list[Node] = []
    for title, alerts in lists:
        if alerts:
            parts.append(tag("h2", f"{title} ({len(alerts)})"))
            cards, left = _cards(report, alerts, windows, draw, left)
            parts.append(cards)
    body = tag(
        "main",
        tag("h1", "Backtest"),
        tag("p", heading(report).removeprefix("Backtest of "), class_="soft"),
        tag("section", [tag("p", text) for text in verdicts(report)]),
        tag("h2", "Queries"),
        _table(query_table(report)),
        tag("h2", "When"),
        tag("section", _timeline(report)),
        [tag("h2", "Incidents"), _table(incident_table(report))] if report.new.met else None,
        _noted(report, [] if draw is not None else [_NO_CHARTS]),
        parts,
    )
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("title", heading(report)),
            tag("style", Markup(_STYLE)),
        ),
        tag("body", body),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


_NO_CHARTS = "There are no charts: matplotlib is missing. pip install 'prometheus-anomaly-exporter[charts]'"


def _both(report: BacktestReport) -> list[RecordedAlert]:
    only = {id(alert) for alert in alerts_of_one(report.new, report.old)}
    return [alert for alert in report.new.told if id(alert) not in only]


def _drawing() -> Draw | None:
    if find_spec("matplotlib") is None:
        return None
    from exporter.charts.drawing import draw

    return draw


def _noted(report: BacktestReport, more: Sequence[str]) -> Node:
    said = [*notes(report), *more]
    return [tag("h2", "Notes"), tag("section", [tag("p", text) for text in said])] if said else None


def _table(table: Table) -> Markup:
    def row(cells: Sequence[str], kind: str) -> Markup:
        return tag("tr", [tag(kind, cell, class_=_class(side)) for cell, side in zip(cells, table.sides, strict=True)])

    head = row([name.capitalize() for name in table.head], "th")
    return tag("div", tag("table", head, [row(cells, "td") for cells in table.rows]), class_="card wide")


def _class(side: str) -> str | None:
    return "r" if side == "r" else None


def _cards(
    report: BacktestReport,
    alerts: Sequence[RecordedAlert],
    windows: Mapping[int, ChartWindow],
    draw: Draw | None,
    left: int,
) -> tuple[Node, int]:
    cards: list[Node] = []
    bare = 0
    for alert in alerts[:_LISTED]:
        begin, lasted, name, labels = alert_row(alert, report)
        window = windows.get(id(alert))
        picture: Node = None
        if draw is not None and window is not None and left > 0:
            picture, left = _picture(window, draw), left - 1
        bare += picture is None
        cards.append(
            tag(
                "div",
                tag("h3", f"{name}: {labels}"),
                tag("p", f"{begin} {report.zone}, {lasted}", class_="soft"),
                tag("p", alert.summary),
                picture,
                class_="card",
            )
        )
    if draw is not None and bare:
        cards.append(tag("p", f"At most {_CHARTS} alerts have charts, and those of groups none.", class_="soft"))
    if len(alerts) > _LISTED:
        cards.append(tag("p", f"and {len(alerts) - _LISTED} more; --format=json has all.", class_="soft"))
    return cards, left


def _picture(window: ChartWindow, draw: Draw) -> Node:
    times, lines = window.lines()
    labels = " ".join(f"{name}={value}" for name, value in window.labels)
    chart = Chart(
        Part.BAND, window.alert.name, labels, window.zone, times, lines, window.quorum, "Replayed from history.",
        gaps=1.5 * window.interval,
    )  # fmt: skip

    def data(*, dark: bool) -> str:
        # As an image, because the names inside of one picture are those inside of the next.
        return f"data:image/svg+xml;base64,{base64.b64encode(draw(chart, Look('svg', dark=dark))).decode()}"

    picture = tag(
        "picture",
        tag("source", media="(prefers-color-scheme: dark)", srcset=data(dark=True)),
        tag("img", src=data(dark=False), alt=f"Expected and observed {window.alert.name} around the alert"),
    )
    return (
        picture
        if "storm" not in window.alert.labels
        else [tag("p", "Its worst series: ", labels, class_="soft"), picture]
    )


# ---------------------------------------------------------------- the whole range in one picture


def _timeline(report: BacktestReport) -> Node:
    """Draw a lane for incidents, and one a query with its alerts."""
    sides = [(report.new, "new")] if report.old is None else [(report.new, "new"), (report.old, "old")]
    names = list(dict.fromkeys(counted.name for side, _ in sides for counted in side.counted))
    lanes = (["incidents"] if report.incidents else []) + names
    rows: list[Node] = []
    for number, name in enumerate(lanes):
        top = number * _LANE
        rows.append(tag("rect", x=_LABEL, y=top + 3, width=_WIDTH - _LABEL, height=_LANE - 6, class_="lane"))
        rows.append(
            tag("text", name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…", x=0, y=top + 17)
        )
    for one in report.incidents or ():
        label = f"{one.name or 'incident'}, {when(one.start, report.zone)}"
        rows.append(_bar(report, one.start, one.end, 3.0, _LANE - 6.0, "known", label))
    high = (_LANE - 6) / len(sides)
    for place, (side, kind) in enumerate(sides):
        for alert in side.told:
            begin = (names.index(alert.name) + len(lanes) - len(names)) * _LANE + 3 + place * high
            told = alert.fired_at if alert.told_at is None else alert.told_at
            rows.append(
                _bar(report, told, alert.fired_at + length(alert, report.within), begin, high, kind, alert.summary)
            )
    rows += _ticks(report, len(lanes) * _LANE)
    view = f"0 0 {_WIDTH} {len(lanes) * _LANE + 24}"
    keys = [("knew", "new"), ("kold", "old")] if report.old is not None else []
    return [
        tag("svg", rows, viewBox=view, role="img", aria_label="Alerts and incidents over time"),
        [tag("p", [tag("small", text, class_=f"key {kind}") for kind, text in keys])] if keys else None,
    ]


def _place(report: BacktestReport, at: float) -> float:
    within = report.within
    share = (min(max(at, within.start), within.end) - within.start) / (within.end - within.start)
    return _LABEL + share * (_WIDTH - _LABEL)


def _bar(report: BacktestReport, start: float, end: float, top: float, high: float, kind: str, label: str) -> Markup:
    left, right = _place(report, start), _place(report, end)
    # Minutes of a month are thinner than a line.
    wide = max(2.5, right - left)
    return tag(
        "g",
        tag("title", label),
        tag("rect", x=round(min(left, _WIDTH - wide), 1), y=round(top, 1), width=round(wide, 1), height=round(high, 1),
            class_=kind),
    )  # fmt: skip


def _ticks(report: BacktestReport, top: int) -> Iterator[Markup]:
    within = report.within
    for number in range(5):
        at = within.start + (within.end - within.start) * number / 4
        anchor = "start" if number == 0 else "end" if number == 4 else "middle"
        yield tag("text", when(at, report.zone), x=round(_place(report, at)), y=top + 18, text_anchor=anchor)
