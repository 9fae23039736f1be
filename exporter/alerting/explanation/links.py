"""Links that an alert carries: to its expression in Prometheus, and to its chart here."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.alerting.limits import is_link

__all__ = ["RESERVED", "chart_links", "generator_url", "label_parameter"]

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")
RESERVED = frozenset({"query", "from", "to", "theme", "part", "quick", "size"})
"""Parameters of a chart that are no labels; a label of such a name is written ``label.NAME``."""
_LONGEST = 2000
"""Characters that every mail program and pager takes."""
_BEFORE = 3 * 3600.0
"""Seconds that a chart shows before an anomaly began."""
_WIDEST = 30 * 86400.0


def generator_url(external_url: str, expr: str) -> str:
    """Return the page of Prometheus that shows an expression, or an empty text where there is no such URL.

    >>> generator_url("http://prom.example/", "m > 0")
    'http://prom.example/graph?g0.expr=m+%3E+0&g0.tab=1'
    """
    base = external_url.rstrip("/") + "/graph"
    # An expression that is too long for a link still has a Prometheus to be typed into.
    links = (f"{base}?g0.expr={_escaped(expr)}&g0.tab=1", base)
    return next((link for link in links if is_link(link)), "")


def chart_links(
    external_url: str, query: str, series: Mapping[str, str], *, since: float, at: float
) -> tuple[str, str]:
    """Return the page and the image of a series before and during its anomaly; empty texts where there is no URL.

    Parameters
    ----------
    external_url : str
        Where people reach this exporter; empty where it is not configured.
    series : mapping
        The series' own labels.
    since, at : float, Unix seconds
        The beginning of the anomaly, and now.

    >>> chart_links("http://x/", "cpu", {"job": "a&b", "to": "x"}, since=20_000.0, at=20_060.4)[1]
    'http://x/chart.png?query=cpu&job=a%26b&label.to=x&from=9200&to=20061'
    """
    if not external_url:
        return "", ""
    base = external_url.rstrip("/")
    pairs = ((label_parameter(name), value) for name, value in sorted(series.items()))
    labels = "".join(f"&{_escaped(name)}={_escaped(value)}" for name, value in pairs)
    end = -int(-at // 1)
    window = f"&from={max(since - _BEFORE, end - _WIDEST):.0f}&to={end}"
    parameters = f"?query={_escaped(query)}"
    # Without its labels the chart is that of the worst series of the query, which is better than none.
    links = (f"{parameters}{labels}{window}", f"{parameters}{window}")
    fitting = next((link for link in links if len(base) + len(link) <= _LONGEST - 16), "")
    page, image = (f"{base}/{page}{fitting}" for page in ("graph", "chart.png"))
    return (page, image) if fitting and is_link(page) else ("", "")


def label_parameter(name: str) -> str:
    """Return the parameter of a chart for a label."""
    return f"label.{name}" if name in RESERVED or name.startswith("label.") else name


def _escaped(text: str) -> str:
    """Encode `text` for a query string as Prometheus does: a space is ``+``."""
    if text.isascii() and text.isalnum():
        return text
    raw = text.encode("utf-8", "replace")
    return "".join(chr(byte) if byte in _PLAIN else "+" if byte == 0x20 else f"%{byte:02X}" for byte in raw)
