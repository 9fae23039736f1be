"""Addresses of pages and charts: writing them, and reading their parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

from exporter.alerting.explanation.links import RESERVED, label_parameter
from exporter.settings import parse_duration
from exporter.web.pages.models import DisplayError, Labels, SeriesFilter, TimeRange

__all__ = ["labels_from", "overview_url", "parse_instant", "series_url", "time_range_from"]

_LATEST = 4e9
"""The year 2096; a larger number is milliseconds, as in the addresses of Grafana."""
_LONGEST, _SHORTEST = 31 * 86400.0, 60.0
_DEFAULT_LENGTH = 12 * 3600.0


def series_url(page: str, query: str, labels: Labels, within: TimeRange | None = None, **more: str) -> str:
    """Return the relative address of the graph or chart of a series.

    >>> series_url("graph", "cpu", [("job", "a&b"), ("to", "x")], TimeRange(60.0, 120.0))
    'graph?query=cpu&job=a%26b&label.to=x&from=60&to=120'
    """
    pairs = [("query", query)]
    pairs += [(label_parameter(name), value) for name, value in labels]
    if within is not None:
        pairs += [("from", f"{within.start:.0f}"), ("to", f"{within.end:.0f}")]
    return f"{page}?{urlencode([*pairs, *more.items()])}"


def overview_url(filters: SeriesFilter | None = None, page: int | None = None, *, query: str | None = None) -> str:
    """Return the relative address of the list of series on the overview.

    >>> overview_url(query="a b"), overview_url(SeriesFilter(text="x"), 2)
    ('./?query=a+b#series', './?text=x&which=all&page=2#series')
    """
    parameters = {"query": query}
    if filters is not None:
        parameters = {"query": filters.query, "text": filters.text, "which": str(filters.state), "page": str(page)}
    return f"./?{urlencode({name: value for name, value in parameters.items() if value})}#series"


def labels_from(parameters: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the labels among the parameters of a request: the inverse of `series_url`.

    A link of a Grafana dashboard names all labels that a row may have; those that it does not have come as written.

    >>> labels_from([("query", "cpu"), ("job", "a"), ("label.query", "x"), ("from", "0")])
    (('job', 'a'), ('query', 'x'))
    >>> labels_from([("job", "a"), ("pod", "${__data.fields.pod}")])
    (('job', 'a'),)
    """
    labels = {
        name.removeprefix("label."): value
        for name, value in parameters
        if name not in RESERVED and value and not value.startswith("${__")
    }
    return tuple(sorted(labels.items()))


def time_range_from(parameters: Mapping[str, str], now: float) -> TimeRange | None:
    """Read ``from`` and ``to``, as Prometheus and Grafana write them; None where neither is given.

    Raises
    ------
    DisplayError
        An instant cannot be read, or the range is too short or too long.
    """
    since, until = parameters.get("from"), parameters.get("to")
    if not since and not until:
        return None
    end = _instant("to", until, now) if until else now
    start = _instant("from", since, now) if since else end - _DEFAULT_LENGTH
    if not _SHORTEST <= end - start <= _LONGEST:
        raise DisplayError("from and to: a minute to 31 days apart", 400)
    return TimeRange(start, end)


def _instant(name: str, text: str, now: float) -> float:
    try:
        at = parse_instant(text, now)
    except ValueError:
        at = math.nan
    if not 0.0 <= at <= _LATEST:
        raise DisplayError(f"{name}: Unix seconds, 2026-03-01T09:00:00Z, now, or now-6h", 400)
    return at


def parse_instant(text: str, now: float) -> float:
    """Return Unix seconds.

    >>> parse_instant("1772323200.5", 0.0), parse_instant("1772323200000", 0.0)
    (1772323200.5, 1772323200.0)
    >>> parse_instant("2026-03-01T00:00:00Z", 0.0), parse_instant("now-1h30m", 1772323200.0)
    (1772323200.0, 1772317800.0)
    """
    text = text.strip()
    if text.startswith("now"):
        sign, length = text[3:4], text[4:]
        if not sign:
            return now
        if sign == "-":
            return now - parse_duration(length)
        raise ValueError(text)
    try:
        number = float(text)
    except ValueError:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return number / 1000.0 if number > _LATEST else number
