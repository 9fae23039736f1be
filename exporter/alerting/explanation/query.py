"""Why an alert is there, in words: its annotations.

The summary is the sentence that somebody reads who was asleep a moment ago; everything else is there to be looked
up. Numbers that are read together have the same unit and the same decimals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from exporter.alerting.explanation.formatting import format_instant, format_numbers, format_span
from exporter.alerting.explanation.input import ExplanationInput
from exporter.alerting.explanation.links import chart_links, generator_url
from exporter.alerting.explanation.reasons import reason
from exporter.alerting.explanation.template import expand
from exporter.alerting.labels import bounded_annotations

__all__ = ["explain", "format_numbers", "generator_url", "series_name"]

_LONGEST_VALUE = 64
_LONGEST_SERIES = 256
_TWICE = 2.0
_MANY_TIMES = 1000.0
"""From here on "times the expected" is no help: what was expected is next to nothing."""


def explain(case: ExplanationInput, templates: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations of one anomalous series; docs/annotations.md describes each.

    Parameters
    ----------
    case : ExplanationInput
    templates : mapping
        The user's annotations; they win over the built-in ones, and an empty one removes it. Their variables are
        `exporter.alerting.explanation.template.VARIABLES`.

    Examples
    --------
    >>> case = Case("api_latency_p99", {}, {"instance": "a:9100"}, at=720.0, since=0.0, observed=0.93, expected=0.21,
    ...             lower=0.1, upper=0.35, score=0.97, unit="seconds", cast=3, quorum=3)
    >>> found = explain(case, {})
    >>> found["summary"]
    'api_latency_p99 of instance=a:9100 is 0.93 s, 4.4 times the expected 0.21 s (band 0.10 s to 0.35 s), for 12 min'
    >>> found["deviation"]
    '0.72 s above expected, 0.58 s above the band'
    """
    built, variables = _built(case)
    if templates:
        built = built | {name: expand(template, variables, case.labels) for name, template in templates.items()}
    return bounded_annotations(built)


def _built(case: ExplanationInput) -> tuple[dict[str, str], dict[str, str]]:
    """Return the built-in annotations, and the variables of templates."""
    numbers = (case.observed, case.expected, case.lower, case.upper)
    seen, usual, low, high = format_numbers(numbers, case.unit)
    if case.missing_since is not None:
        seen = f"missing since {format_instant(case.missing_since)}"
    band = _band(case, low, high)
    # What is missing has been so for minutes when that is an anomaly.
    begun = case.since if case.missing_since is None else min(case.missing_since, case.since)
    lasted = format_span(case.at - begun) if case.at > begun else ""
    name = series_name(case.query, case.series)
    chart, image = chart_links(case.external_url, case.query, case.series, since=begun, at=case.at)
    built = {
        "summary": _summary(case, name, seen, usual, band, lasted),
        "observed": "" if math.isnan(case.observed) and case.missing_since is None else seen,
        "expected": "" if math.isnan(case.expected) else usual,
        "band": band,
        "deviation": _deviation(case),
        "since": format_instant(begun),
        "lasted": lasted,
        "score": "" if math.isnan(case.score) else f"{case.score:.2f}",
        "votes": _votes(case),
        "why": "\n".join(f"{vote.kind}: {reason(vote, case)}" for vote in case.votes if vote.severity >= 1.0),
        "history": _history(case),
        "level_shift": _level_shift(case),
        "also": _also(case),
        "chart_url": chart,
        "chart_image": image,
        **case.more,
    }
    return built, built | {"lower": low, "upper": high, "query": case.query, "series": name}


def series_name(query: str, series: Mapping[str, str]) -> str:
    """Return what a series is called in a sentence.

    >>> series_name("cpu", {"__name__": "x", "job": "node"})
    'cpu of job=node'
    """
    own = [(name, value) for name, value in sorted(series.items()) if name not in ("__name__", "alertname", "query")]
    pairs = " ".join(f"{name}={_short(value, _LONGEST_VALUE)}" for name, value in own)
    return _short(f"{query} of {pairs}" if pairs else query, _LONGEST_SERIES)


def _summary(case: ExplanationInput, name: str, seen: str, usual: str, band: str, lasted: str) -> str:
    nothing = math.isnan(case.observed) and case.missing_since is None
    sentence = f"{name} has no sample" if nothing else f"{name} is {seen}"
    if not math.isnan(case.expected):
        sentence += f", {_compared(case.observed, case.expected)} {usual}"
    if band:
        sentence += f" (band {band})"
    return f"{sentence}, for {lasted}" if lasted else sentence


def _compared(observed: float, expected: float) -> str:
    """Return how `observed` compares with what is expected, up to the number that follows."""
    ratio = observed / expected if expected else math.nan
    if not 0.0 < ratio < _MANY_TIMES:
        return "expected"
    if ratio >= _TWICE:
        return f"{ratio:.2g} times the expected" if ratio < 100 else f"{ratio:.0f} times the expected"
    if ratio <= 1.0 / _TWICE:
        return f"{100 * ratio:.2g} % of the expected"
    percent = 100.0 * abs(ratio - 1.0)
    return f"{percent:.2g} % {'above' if observed > expected else 'below'} the expected" if percent else "expected"


def _deviation(case: ExplanationInput) -> str:
    off = case.observed - case.expected
    if math.isnan(off):
        return ""
    beyond = case.observed - case.upper if off >= 0 else case.lower - case.observed
    like = (case.observed, case.expected, case.lower, case.upper)
    distance, outside = format_numbers([abs(off), beyond], case.unit, like)
    side = "above" if off >= 0 else "below"
    ratio = off / abs(case.expected) if case.expected else math.nan
    part = f" ({abs(100 * ratio):.2g} %)" if abs(ratio) < _TWICE - 1.0 else ""
    text = f"{distance}{part} {side} expected"
    if math.isnan(beyond):
        return text
    return f"{text}, {outside} {side} the band" if beyond > 0 else f"{text}, inside the band"


def _band(case: ExplanationInput, low: str, high: str) -> str:
    if math.isfinite(case.lower) and math.isfinite(case.upper):
        return f"{low} to {high}"
    if math.isfinite(case.upper):
        return f"up to {high}"
    return f"from {low}" if math.isfinite(case.lower) else ""


def _votes(case: ExplanationInput) -> str:
    names = [
        f"{vote.kind} ({vote.votes})" if vote.votes > 1 else vote.kind for vote in case.votes if vote.severity >= 1
    ]
    if not names:
        return ""
    if any(vote.alone for vote in case.votes):
        return f"{case.votes[0].kind}, which decides alone"
    needed = f"{case.quorum} {'is' if case.quorum == 1 else 'are'} enough"
    return f"{', '.join(names)}: {case.cast} {'vote' if case.cast == 1 else 'votes'}, {needed}"


def _history(case: ExplanationInput) -> str:
    past = case.past
    if past is None or math.isnan(past.mean):
        return ""
    low, high, mean = format_numbers([past.q1, past.q3, past.mean], case.unit)
    count = max(1, round(past.visits))
    if past.scope == "week":
        hours, counted = f"past {case.when} were", f"{count} week{'s' * (count != 1)}"
    elif past.scope == "day":
        hours, counted = f"past days at {case.when.partition(' ')[2]} were", f"{count} day{'s' * (count != 1)}"
    else:
        hours, counted = "so far values were", f"{count} day{'s' * (count != 1)}"
    zone = f", {case.zone}" if past.scope != "all" else ""
    return f"{hours} mostly {low} to {high}, mean {mean} ({counted}{zone})"


def _level_shift(case: ExplanationInput) -> str:
    if case.moved is None:
        return ""
    before, after = format_numbers([case.moved.before, case.moved.after], case.unit)
    begun = format_instant(case.at - case.moved.seconds)
    return f"the level moved from {before} to {after} since {begun} ({format_span(case.moved.seconds)})"


def _also(case: ExplanationInput) -> str:
    if not case.coincident:
        return ""
    lines = [
        f"{series_name(one.query, one.series)} since {format_instant(one.since)[11:16]} UTC (score {one.score:.2f})"
        for one in case.coincident
    ]
    more = case.coincidences - len(lines)
    return "\n".join([*lines, f"and {more} more series"] if more > 0 else lines)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "\u2026"
