"""The page of one series: what is expected of it, what it was, who voted, and what people said about it."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.alerting.explanation.formatting import format_numbers
from exporter.web.pages.components import score_bar
from exporter.web.pages.frame import page
from exporter.web.pages.markup import Markup, Node, join, tag
from exporter.web.pages.models import Anomaly, Part, QueryState, Range, Shown
from exporter.web.pages.overview import band, marks
from exporter.web.pages.text import address, ago, instant, label_chips, number, span

__all__ = ["error_page", "series_page"]

_HOUR = 3600.0
_RANGES = (("3 h", 3 * _HOUR), ("12 h", 12 * _HOUR), ("1 d", 24 * _HOUR), ("3 d", 72 * _HOUR), ("7 d", 168 * _HOUR))
_USUAL = 12 * _HOUR
_WIDTHS = {"wide": 960, "narrow": 440}
_HEIGHTS = {Part.BAND: 430, Part.WEEKS: 260, Part.DECOMPOSITION: 520}
_VARIANTS = (
    ("(prefers-color-scheme: dark) and (max-width: 720px)", "dark", "narrow"),
    ("(prefers-color-scheme: dark)", "dark", "wide"),
    ("(max-width: 720px)", "light", "narrow"),
)
"""Of a chart, the first that fits; light and wide where none does."""
_VERDICTS = (
    ("confirmed", "It was real"),
    ("false alarm", "False alarm"),
    ("expected", "Known beforehand"),
    ("new normal", "This is the new normal"),
)


def usual_range(at: float) -> Range:
    """Return what a graph shows where nothing was asked for."""
    return Range(at - _USUAL, at)


def series_page(shown: Shown, within: Range | None, *, may_write: bool, charts: bool, assets: str) -> Markup:
    """Make the page of a series.

    Parameters
    ----------
    within : Range or None
        None is the last twelve hours.
    may_write : bool
        Whether the one who asks has proved a name, so that buttons would work.
    charts : bool
        Whether charts can be drawn.
    """
    one = shown.series
    chosen = within or usual_range(shown.at)
    first, *others = _charts(shown, chosen, charts=charts, fixed=within is not None)
    content = [
        tag("h1", one.query),
        tag("p", label_chips(one.labels), class_="labels"),
        _several(shown, within),
        _now(shown),
        first,
        _anomalies(shown, may_write=may_write),
        others,
        _why(shown),
    ]
    return page(one.query, *content, at=shown.at, zone=shown.zone, version=shown.version, assets=assets)


def error_page(message: str, *, assets: str) -> Markup:
    """Make the page for something that cannot be shown."""
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", "Not shown · Anomaly Exporter"),
        tag("link", rel="icon", href=f"static/icon.svg?v={assets}", type="image/svg+xml"),
        tag("link", rel="stylesheet", href=f"static/style.css?v={assets}"),
    ]
    content = [
        tag("h1", "This cannot be shown"),
        tag(
            "section",
            tag("p", message[:1].upper() + message[1:] + "."),
            tag("p", tag("a", "To the overview", href="./")),
        ),
    ]
    body = [tag("header", tag("a", "Anomaly Exporter", href="./", class_="brand")), tag("main", content, id="content")]
    document = tag("html", tag("head", head), tag("body", body), lang="en")
    return join([Markup("<!DOCTYPE html>\n"), document, Markup("\n")])


def _several(shown: Shown, within: Range | None) -> Node:
    if not shown.candidates:
        return None
    links = [
        tag("li", tag("a", label_chips(labels), href=address("graph", shown.query.name, labels, within)))
        for labels in shown.candidates
    ]
    said = "Several series have these labels. This is the one with the highest score; the others:"
    return tag("details", tag("summary", said), tag("ul", links), open=len(links) <= 5)


def _now(shown: Shown) -> Node:
    one = shown.series
    seen, usual, low, high = format_numbers([one.observed, one.expected, one.lower, one.upper], one.unit)
    state: Node = tag("span", "as expected", class_="badge good")
    if shown.query.state is QueryState.FAILED:
        state = tag("span", "unknown: the query fails", class_="badge bad")
    elif one.score != one.score:
        state = tag("span", "nothing can be said so far", class_="badge learning")
    elif one.score >= 0.5:
        state = tag("span", "anomalous", class_="badge bad")
    elif one.observed < one.lower or one.observed > one.upper:
        state = tag("span", "outside the band, too few votes", class_="badge warn")
    facts = [
        ("State", [state, " ", marks(one)]),
        ("Score", score_bar(one.score)),
        ("Observed", number(one.observed, seen)),
        ("Expected", number(one.expected, usual)),
        ("Band", band(one.lower, one.upper, low, high)),
        ("Votes", f"{one.votes:.0f} ({shown.quorum} are enough)" if one.votes == one.votes else number(one.votes, "")),
        ("Judged", ago(one.at, shown.at) if one.at == one.at else "not yet"),
    ]
    cells = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts]
    trouble = tag("p", shown.query.trouble, class_="why") if shown.query.trouble else None
    return tag("section", tag("h2", "Now", class_="hidden"), tag("dl", cells, class_="facts"), trouble)


def _anomalies(shown: Shown, *, may_write: bool) -> Node:
    if not shown.anomalies:
        return None
    items = [_anomaly(one, shown, may_write=may_write) for one in shown.anomalies]
    title = tag("h2", "Anomalies of this series", id="anomalies")
    return tag("section", title, tag("ul", items, class_="cards"), aria_labelledby="anomalies")


def _anomaly(one: Anomaly, shown: Shown, *, may_write: bool) -> Node:
    kind = {"firing": "bad", "open": "bad", "resolved": "good"}.get(one.state, "warn")
    length = span((shown.at if one.until is None else one.until) - one.since)
    margin = 2 * _HOUR
    around = Range(one.since - margin, min(shown.at, (one.until or shown.at) + margin))
    return tag(
        "li",
        tag(
            "p",
            tag("span", one.state, class_=f"badge {kind}"),
            f" for {length}, since ",
            tag("a", instant(one.since, shown.zone), href=address("graph", one.query, shown.series.labels, around)),
        ),
        tag("p", one.summary),
        _notes(one.notes),
        [tag("p", said, class_="muted") for said in one.said],
        _forms(one, may_write=may_write),
    )


def _notes(notes: Sequence[tuple[str, str]]) -> Node:
    """Show what explains an anomaly; an address can be followed."""
    if not notes:
        return None
    rows = []
    for name, text in notes:
        followed = text.startswith(("https://", "http://")) and not set(text) & set(" \n")
        value: Node = tag("a", text, href=text, rel="noreferrer") if followed else text
        rows.append([tag("dt", name.replace("_", " ")), tag("dd", value)])
    return tag("dl", rows, class_="notes")


def _forms(one: Anomaly, *, may_write: bool) -> Node:
    """Make the forms that the script sends; without it, or without a name, nothing could be sent."""
    if one.id is None:
        return None
    if not may_write:
        said = "To acknowledge it or give feedback here, configure users in the file of --web.config.file and log in."
        return tag("p", said, class_="muted")
    at = f"api/v1/anomalies/{one.id}/"
    comment = tag("label", "Comment ", tag("input", name="comment", maxlength=2000, autocomplete="off"))
    said = tag("p", "", class_="said", role="status")
    acknowledge = None
    if one.state in ("open", "firing", "pending"):
        acknowledge = tag(
            "form",
            comment,
            tag("button", "Acknowledge"),
            said,
            class_="act",
            hidden=True,
            data_send=at + "acknowledge",
            data_done="Acknowledged.",
        )
    buttons = [tag("button", text, name="verdict", value=value) for value, text in _VERDICTS]
    feedback = tag(
        "form",
        comment,
        buttons,
        said,
        class_="act",
        hidden=True,
        data_send=at + "feedback",
        data_done="Thank you; noted.",
    )
    return [acknowledge, feedback]


def _charts(shown: Shown, chosen: Range, *, charts: bool, fixed: bool) -> list[Node]:
    labels, query = shown.series.labels, shown.query.name
    title = tag("h2", "Expected versus observed", id="chart")
    if not charts:
        install = tag("code", "pip install 'prometheus-anomaly-exporter[charts]'")
        said = tag("p", "Charts need matplotlib: ", install, class_="empty")
        return [tag("section", title, said, aria_labelledby="chart")]
    sections = {
        Part.BAND: (
            "chart",
            "Expected versus observed",
            [
                "Line: observed. Dashed: expected. Shaded: the band outside which the vote can pass. Red: anomalous. ",
                tag("a", "As a picture", href=address("chart.png", query, labels, chosen)),
                " for a message.",
            ],
        ),
        Part.WEEKS: ("weeks", "The four weeks before, at these hours", [f"By the wall clock of {shown.zone}."]),
        Part.DECOMPOSITION: (
            "parts",
            "What it is made of",
            ["Hourly means of four weeks up to the end of the chart, and what STL makes of them: trend, daily and ",
             "weekly season, and what is left."],
        ),
    }  # fmt: skip
    return [
        tag(
            "section",
            tag("h2", heading, id=place),
            _ranges(shown, chosen, fixed=fixed) if part is Part.BAND else None,
            _figure(shown, chosen, part, caption),
            aria_labelledby=place,
        )
        for part, (place, heading, caption) in sections.items()
    ]


def _figure(shown: Shown, chosen: Range, part: Part, caption: Sequence[Node]) -> Node:
    """Show a chart in the theme and the size that fit, without a script."""
    labels, query = shown.series.labels, shown.query.name

    def source(theme: str, size: str) -> str:
        more = {"part": str(part), "theme": theme, "size": size}
        return address("chart.svg", query, labels, chosen, **more)

    height = _HEIGHTS[part]
    sources = [
        tag("source", media=media, srcset=source(theme, size), width=_WIDTHS[size], height=height)
        for media, theme, size in _VARIANTS
    ]
    names = {
        Part.BAND: "observed and expected values with the band",
        Part.WEEKS: "the same hours of the four weeks before",
        Part.DECOMPOSITION: "trend, daily season, weekly season and residual",
    }
    said = f"Chart of {query}: {names[part]}"
    lazy = None if part is Part.BAND else "lazy"
    image = tag("img", src=source("light", "wide"), alt=said, width=960, height=height, loading=lazy)
    return tag("figure", tag("picture", sources, image), tag("figcaption", caption))


def _ranges(shown: Shown, chosen: Range, *, fixed: bool) -> Node:
    labels, query = shown.series.labels, shown.query.name
    length = chosen.end - chosen.start

    def link(text: str, start: float, end: float, *, current: bool = False) -> Node:
        href = address("graph", query, labels, Range(start, end)) + "#chart"
        return tag("a", text, href=href, aria_current="true" if current else None)

    links = [
        link(text, chosen.end - size, chosen.end, current=abs(size - length) < 0.02 * size) for text, size in _RANGES
    ]
    moves = [link("‹ earlier", chosen.start - length / 2, chosen.end - length / 2)]  # noqa: RUF001
    if chosen.end < shown.at - 60:
        later = min(shown.at, chosen.end + length / 2)
        moves += [link("later ›", later - length, later), link("now", shown.at - length, shown.at)]  # noqa: RUF001
    ends = (
        [instant(chosen.start, shown.zone), " to ", instant(chosen.end, shown.zone)] if fixed else "the last 12 hours"
    )
    return tag(
        "p",
        [[one, " "] for one in links],
        [[one, " "] for one in moves],
        tag("span", ends, class_="muted"),
        class_="ranges",
    )


def _why(shown: Shown) -> Node:
    one = shown.series
    votes = [
        tag(
            "tr",
            tag("th", kind, scope="row"),
            tag("td", number(severity, f"{severity:.2f}"), class_="n bad" if severity >= 1.0 else "n"),
            tag(
                "td", "votes for an anomaly" if severity >= 1.0 else "cannot say" if severity != severity else "no vote"
            ),
        )
        for kind, severity in one.severities
    ]
    if not votes:
        votes = [tag("tr", tag("td", "Nobody so far.", colspan=3))]
    head = tag(
        "tr",
        tag("th", "Detector", scope="col"),
        tag("th", "Severity", scope="col", class_="n"),
        tag("th", "", scope="col"),
    )
    source = tag("a", "Open it in Prometheus", href=shown.source_url, rel="noreferrer") if shown.source_url else None
    return [
        tag("section", tag("h2", "Explanation", id="why"), _notes(shown.explanation), aria_labelledby="why")
        if shown.explanation
        else None,
        tag(
            "section",
            tag("h2", "Who votes", id="votes"),
            tag("table", tag("thead", head), tag("tbody", votes)),
            tag("p", "Severity 1 is a detector's own threshold.", class_="muted"),
            aria_labelledby="votes",
        ),
        tag(
            "section",
            tag("h2", "Expression", id="expr"),
            tag("pre", shown.query.expr),
            tag("p", source),
            aria_labelledby="expr",
        ),
    ]
