"""The texts of a series that will reach a limit: when, and how sure that is."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

from exporter.alerting.explanation.formatting import format_numbers, format_span
from exporter.alerting.explanation.input import ExplanationInput, LimitAhead

__all__ = ["limit", "limit_reason", "limit_sentence", "time_range"]

_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))
_SURE = 0.99


def limit(source: ExplanationInput) -> str:
    """Return which limit will be reached, between which instants, and with which probability; or nothing."""
    ahead = source.limit
    if ahead is None:
        return ""
    number, _ = _numbers(source, ahead)
    if ahead.earliest <= 0.0:
        return f"{number} is reached"
    return f"{number} {_time_range(ahead)}{_instants(source, ahead)}, {_chance(ahead)}"


def limit_sentence(source: ExplanationInput, name: str) -> str:
    """Return the summary of a series that will reach its limit, or has; empty where there is none."""
    ahead = source.limit
    if ahead is None:
        return ""
    number, now = _numbers(source, ahead)
    if ahead.earliest <= 0.0:
        return f"{name} has reached its limit of {number}: it is {now}"
    verb = "will reach" if ahead.above else "will be down to"
    return f"{name} {verb} {number} {_time_range(ahead)}{_instants(source, ahead)}, {_chance(ahead)}; it is {now}"


def limit_reason(source: ExplanationInput) -> str:
    """Return why that is an anomaly, a clause without a full stop."""
    ahead = source.limit
    if ahead is None:
        return ""
    number, _ = _numbers(source, ahead)
    if ahead.earliest <= 0.0:
        return f"it is at its limit of {number}"
    return f"it reaches {number} within {format_span(ahead.within)}, {_chance(ahead)}"


def time_range(earliest: float, latest: float) -> str:
    """Return between how many seconds something happens, as people say it.

    >>> time_range(2.2 * 86400, 4.4 * 86400), time_range(5 * 3600, 5.2 * 3600), time_range(2 * 86400, float("inf"))
    ('in 2 to 4 days', 'in about 5 hours', 'in 2 days or later')
    """
    size, name = next((pair for pair in _UNITS if earliest >= 1.5 * pair[0]), _UNITS[-1])
    first = max(1, round(earliest / size))
    if math.isinf(latest):
        return f"in {_counted(first, name)} or later"
    last = round(latest / size)
    return f"in {first} to {_counted(last, name)}" if last > first else f"in about {_counted(first, name)}"


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'s' * (count != 1)}"


def _time_range(ahead: LimitAhead) -> str:
    return time_range(ahead.earliest, ahead.latest)


def _instants(source: ExplanationInput, ahead: LimitAhead) -> str:
    """Return the instants between which it happens with a probability of 0.8, in the zone of the query."""
    zone = ZoneInfo(source.zone)
    ends = [
        datetime.fromtimestamp(source.at + seconds, zone).strftime("%a %d %b %H:%M")
        for seconds in (ahead.earliest, ahead.latest)
        if math.isfinite(seconds)
    ]
    place = "" if source.zone == "UTC" else f" {source.zone}"
    return f" ({' to '.join(ends) if len(ends) == 2 else f'{ends[0]} at the earliest'}{place})"


def _chance(ahead: LimitAhead) -> str:
    """Return the probability that it happens within the time that alerts."""
    percent = "over 99" if ahead.probability > _SURE else f"{100 * ahead.probability:.0f}"
    return f"probability {percent} % within {format_span(ahead.within)}"


def _numbers(source: ExplanationInput, ahead: LimitAhead) -> tuple[str, str]:
    limit, now = format_numbers([ahead.value, source.observed], source.unit)
    return limit, now
