"""The text of the likely causes of an alert: who has how much of the damage, and since when."""

from __future__ import annotations

import math

from exporter.alerting.explanation.formatting import format_instant, format_numbers, format_span
from exporter.alerting.explanation.why_input import LikelyCause, LikelyCausesInput

__all__ = ["likely_causes"]


def likely_causes(source: LikelyCausesInput) -> str:
    """Return a line for each likely cause, or why there is none.

    >>> cause = LikelyCause("payments", 63.0, 60.0)
    >>> print(likely_causes(LikelyCausesInput((cause,), 93.0, 41, "service_seconds", "seconds", 180.0)))
    payments: 63 s of 93 s more than expected are its own (68 %), since 1970-01-01T00:01:00Z, 2 min before this alert
    >>> likely_causes(LikelyCausesInput((), 0.0, 41, "service_seconds"))
    'none of 41 components is likely: no service_seconds is higher than expected'
    """
    if source.earlier or not source.measure:
        return source.earlier
    if not source.causes:
        compared = f"none of {source.components} components is likely"
        if source.total <= 0:
            return f"{compared}: no {source.measure} is higher than expected"
        total, _ = format_numbers([source.total, 0.0], source.unit)
        return f"{compared}: the {total} by which {source.measure} differs is spread or nothing out of the ordinary"
    return "\n".join(_line(cause, source) for cause in source.causes)


def _line(cause: LikelyCause, source: LikelyCausesInput) -> str:
    who = f"{cause.component} itself" if cause.affected else cause.component
    percent = round(100 * cause.own / source.total)
    if percent == 100:
        total, _ = format_numbers([source.total, 0.0], source.unit)
        text = f"{who}: all of {total} more than expected are its own"
    else:
        own, total = format_numbers([cause.own, source.total], source.unit)
        text = f"{who}: {own} of {total} more than expected are its own ({percent} %)"
    if math.isnan(cause.since):
        return text
    ahead = source.began - cause.since
    if not round(ahead):
        return f"{text}, since {format_instant(cause.since)}, as this alert"
    side = "before" if ahead > 0 else "after"
    return f"{text}, since {format_instant(cause.since)}, {format_span(abs(ahead))} {side} this alert"
