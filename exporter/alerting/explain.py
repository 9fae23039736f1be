"""Why an alert is there, in words: its annotations, and the link to its expression."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from exporter.alerting.labels import bounded_annotations, is_link
from exporter.alerting.template import expand

__all__ = ["explain", "format_numbers", "generator_url"]

_LONGEST_VALUE = 64
_LONGEST_SERIES = 512
_DIGITS = 4
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


def explain(
    query: str,
    labels: Mapping[str, str],
    *,
    observed: float,
    expected: float,
    lower: float,
    upper: float,
    score: float,
    votes: Sequence[str],
    quorum: int,
    templates: Mapping[str, str],
    cast: int | None = None,
    since: float | None = None,
    series: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the annotations of one anomalous series.

    Parameters
    ----------
    query : str
    labels : mapping
        Of the alert.
    observed, expected, lower, upper : float
        In source units; NaN where it cannot be said, an infinite edge where the band has none.
    score : float
        0 to 1.
    votes : sequence of str
        The detectors that call it anomalous.
    quorum : int
        How many votes it takes.
    cast : int, optional
        How many votes those detectors have together; one each unless given.
    templates : mapping
        The user's annotations; they win over the built-in ones. They may use ``{{ observed }}``, ``expected``,
        ``lower``, ``upper``, ``score``, ``query`` and ``labels.NAME``.
    since : float, optional
        When the series became anomalous, in Unix seconds.
    series : mapping, optional
        The series' own labels, for the summary; `labels` unless given.

    Examples
    --------
    >>> found = explain("api_latency_p99", {"instance": "a:9100"}, observed=0.93, expected=0.21, lower=0.1,
    ...                 upper=0.35, score=0.97, votes=["zscore", "iqr"], quorum=2, templates={})
    >>> found["summary"]
    'api_latency_p99 of instance=a:9100 is 0.93, expected 0.21 (band 0.10 to 0.35)'
    >>> found["votes"]
    'zscore, iqr (2 of 2 needed)'
    """
    seen, usual, low, high = format_numbers([observed, expected, lower, upper])
    band = _band(lower, upper, low, high)
    sentence = f"{_series(query, labels if series is None else series)} is {seen}"
    if not math.isnan(expected):
        sentence += f", expected {usual}"
    if band:
        sentence += f" (band {band})"
    built = {
        "summary": sentence,
        "observed": seen,
        "expected": "" if math.isnan(expected) else usual,
        "band": band,
        "votes": f"{', '.join(votes) or 'none'} ({len(votes) if cast is None else cast} of {quorum} needed)",
        "score": "" if math.isnan(score) else f"{score:.2f}",
        "since": "" if since is None else _instant(since),
    }
    variables = {
        "observed": seen,
        "expected": usual,
        "lower": low,
        "upper": high,
        "score": built["score"],
        "query": query,
    }
    built |= {name: expand(template, variables, labels) for name, template in templates.items()}
    return bounded_annotations(built)


def format_numbers(numbers: Sequence[float]) -> list[str]:
    """Write numbers that are read side by side: as many decimals as it takes to tell them apart, in all of them.

    >>> format_numbers([0.1 + 0.2, 0.21, 0.1])
    ['0.30', '0.21', '0.10']
    >>> format_numbers([1234567.8, 1300000.0, float("inf")])
    ['1234568', '1300000', '+Inf']
    """
    finite = [number for number in numbers if math.isfinite(number)]
    decimals = _decimals(finite)
    return [_number(number, decimals) for number in numbers]


def generator_url(external_url: str, expr: str) -> str:
    """Return the page of Prometheus that shows an expression, or an empty text where there is no such URL.

    >>> generator_url("http://prom.example/", "m > 0")
    'http://prom.example/graph?g0.expr=m+%3E+0&g0.tab=1'
    """
    base = external_url.rstrip("/") + "/graph"
    # An expression that is too long for a link still has a Prometheus to be typed into.
    links = (f"{base}?g0.expr={_escaped(expr)}&g0.tab=1", base)
    return next((link for link in links if is_link(link)), "")


def _decimals(finite: Sequence[float]) -> int | None:
    """Return the decimals that tell `finite` apart with two digits to spare, or None for significant digits."""
    if not finite:
        return None
    largest = max(abs(number) for number in finite)
    # Halves, because the difference of two finite numbers need not be finite.
    spread = 2 * (max(finite) / 2 - min(finite) / 2)
    if not 0 < spread < math.inf or not 1e-4 <= largest < 1e15:
        return None
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    # More digits than a float has would be noise, and then the significant ones are not shared.
    return decimals if decimals + max(0, math.floor(math.log10(largest))) <= 12 else None


def _number(number: float, decimals: int | None) -> str:
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if decimals is not None:
        text = f"{number:.{decimals}f}"
        # A number far below the others is not zero, and must not be read as zero.
        if number == 0 or float(text) != 0:
            return text
    text = f"{number:.{_DIGITS}g}"
    if "e+" in text and abs(number) < 1e15:
        return f"{number:.0f}"
    return "0" if text == "-0" else text


def _band(lower: float, upper: float, low: str, high: str) -> str:
    if math.isfinite(lower) and math.isfinite(upper):
        return f"{low} to {high}"
    if math.isfinite(upper):
        return f"up to {high}"
    return f"from {low}" if math.isfinite(lower) else ""


def _series(query: str, labels: Mapping[str, str]) -> str:
    own = [(name, value) for name, value in sorted(labels.items()) if name not in ("__name__", "alertname", "query")]
    pairs = " ".join(f"{name}={_short(value, _LONGEST_VALUE)}" for name, value in own)
    return _short(f"{query} of {pairs}" if pairs else query, _LONGEST_SERIES)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _escaped(text: str) -> str:
    """Encode `text` for a query string as Prometheus does: a space is ``+``."""
    return "".join(_escapes(text.encode("utf-8", "replace")))


def _escapes(raw: bytes) -> Iterable[str]:
    for byte in raw:
        if byte in _PLAIN:
            yield chr(byte)
        else:
            yield "+" if byte == 0x20 else f"%{byte:02X}"
