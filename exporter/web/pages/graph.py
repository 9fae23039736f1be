"""The page of one series: verdict, charts, anomalies, explanation and votes."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.web.pages.heat_map import week_map, week_unit
from exporter.web.pages.models import GraphPage, QueryState, TimeRange, Viewer
from exporter.web.pages.rendering import TEMPLATES

__all__ = ["FEEDBACK", "default_range", "error_page", "graph_page"]

_HOUR = 3600.0
_LENGTHS = (("3 h", 3 * _HOUR), ("12 h", 12 * _HOUR), ("1 d", 24 * _HOUR), ("3 d", 72 * _HOUR), ("7 d", 168 * _HOUR))
_DEFAULT_LENGTH = 12 * _HOUR
FEEDBACK = (
    ("confirmed", "It was real"),
    ("false alarm", "False alarm"),
    ("expected", "Known beforehand"),
    ("new normal", "This is the new normal"),
)
"""Verdicts of people, and what their buttons say."""
_ANOMALY_KINDS = {"firing": "bad", "open": "bad", "resolved": "good"}


def default_range(at: float) -> TimeRange:
    """Return the range of a graph whose address has none."""
    return TimeRange(at - _DEFAULT_LENGTH, at)


def graph_page(page: GraphPage, requested: TimeRange | None, viewer: Viewer) -> str:
    """Return the HTML.

    Parameters
    ----------
    requested : TimeRange or None
        None is the last twelve hours.
    """
    shown = requested or default_range(page.at)
    return TEMPLATES.render(
        "graph.html",
        page=page,
        requested=requested,
        shown=shown,
        viewer=viewer,
        assets=viewer.assets,
        verdict=_verdict(page),
        lengths=[
            (text, shown.end - length, shown.end, abs(length - shown.length) < 0.02 * shown.length)
            for text, length in _LENGTHS
        ],
        moves=list(_moves(shown, page.at)),
        feedback=FEEDBACK,
        anomaly_kinds=_ANOMALY_KINDS,
        week=None if page.baseline is None else week_map(page.baseline, page.series.unit),
        week_unit="" if page.baseline is None else week_unit(page.baseline, page.series.unit),
    )


def error_page(message: str, *, assets: str) -> str:
    """Return the HTML of a page that cannot be shown."""
    return TEMPLATES.render("error.html", message=message[:1].upper() + message[1:], assets=assets)


def _verdict(page: GraphPage) -> tuple[str, str]:
    """Return the kind of badge and the state of the series in words."""
    series = page.series
    if page.query.state is QueryState.FAILED:
        return "bad", "unknown: the query fails"
    if series.score != series.score:
        return "learning", "nothing can be said so far"
    if series.score >= 0.5:
        return "bad", "anomalous"
    if series.observed < series.lower or series.observed > series.upper:
        return "warn", "outside the band, too few votes"
    return "good", "as expected"


def _moves(shown: TimeRange, now: float) -> Iterator[tuple[str, float, float]]:
    """Yield text, start and end of the links to an earlier and a later range."""
    yield "‹ earlier", shown.start - shown.length / 2, shown.end - shown.length / 2  # noqa: RUF001
    if shown.end < now - 60:
        later = min(now, shown.end + shown.length / 2)
        yield "later ›", later - shown.length, later  # noqa: RUF001
        yield "now", now - shown.length, now
