"""Why a detector calls a sample anomalous, for somebody who does not know it."""

from __future__ import annotations

import math

from exporter.alerting.explanation.formatting import format_numbers
from exporter.alerting.explanation.input import DetectorVote, ExplanationInput

__all__ = ["reason"]


def reason(vote: DetectorVote, case: ExplanationInput) -> str:
    """Return the reason of one detector, with how many times as far as it takes it is.

    >>> case = ExplanationInput("q", {}, {}, at=0.0, since=0.0, observed=9.0, expected=1.0, z=6.2,
    ...     when="Mondays 14:00-15:00")
    >>> reason(DetectorVote("zscore", 2.07), case)
    '6.2 standard deviations above the mean of Mondays 14:00-15:00 (2.1 times what it takes)'
    """
    text = _words(vote, case)
    if vote.severity < 1.05:
        return f"{text} (just what it takes)"
    times = f"{vote.severity:.1f}" if vote.severity < 10 else f"{min(vote.severity, 1000.0):.0f}"
    return f"{text} ({'over ' * (vote.severity > 1000)}{times} times what it takes)"


def _words(vote: DetectorVote, case: ExplanationInput) -> str:
    when = _when(case)
    side = "below" if case.observed < case.expected else "above"
    if vote.kind == "zscore" and math.isfinite(case.z):
        return f"{_deviations(case.z)} {'below' if case.z < 0 else 'above'} the mean of {when}"
    if vote.kind == "iqr":
        if case.past is None or math.isnan(case.past.q1):
            return f"far {side} the middle half of {when}"
        low, high = format_numbers([case.past.q1, case.past.q3], case.unit)
        return f"far {side} the middle half of {when}, {low} to {high}"
    if vote.kind == "stl":
        return f"{side} what its trend and its daily and weekly rhythm give"
    if vote.kind == "novelty":
        return "unlike anything that this series has shown before"
    if vote.kind == "collective":
        return f"hours a little {side} the usual have added up: a drift"
    return vote.what[:1].lower() + vote.what[1:].rstrip(".") if vote.what else "beyond its limit"


def _when(case: ExplanationInput) -> str:
    if case.past is None:
        return case.when or "this time of the week"
    if case.past.scope == "all":
        return "all values so far"
    return case.when if case.past.scope == "week" else f"this hour of the day, {case.when.partition(' ')[2]}"


def _deviations(z: float) -> str:
    return f"{abs(z):.1f} standard deviations" if abs(z) < 100 else "over 100 standard deviations"
