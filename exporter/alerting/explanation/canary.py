"""The texts of a candidate that differs from its baseline."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from exporter.alerting.explanation.formatting import format_lasted, format_numbers, is_share
from exporter.alerting.explanation.input import CanaryInput
from exporter.alerting.explanation.links import chart_links

__all__ = ["baseline", "candidate", "chart", "compared", "difference", "lasted", "probability", "summary"]

_DAY = 86400.0
_MANY = 20.0
"""Times the baseline beyond which a share of it is no help."""
_LEAST_P = 1e-12


def summary(source: CanaryInput) -> str:
    """Return one sentence: which candidate, how far from which baseline, since when, and how sure that is."""
    group = " ".join(f"{label}={value}" for label, value in sorted(source.group.items()))
    name = f"{source.query} of {group}" if group else source.query
    return (
        f"{name}: {source.candidate_name} is {difference(source)} {_side(source)} {source.baseline_name} "
        f"since {_clock(source)} ({candidate(source)} against {baseline(source)}), {probability(source)}"
    )


def difference(source: CanaryInput) -> str:
    """Return how far apart they are: in per cent of the baseline where that says something, else in its unit."""
    distance, size = abs(source.candidate - source.baseline), abs(source.baseline)
    if is_share(source.unit):
        return f"{100.0 * distance if source.unit == 'ratio' else distance:.2g} percentage points"
    if size and distance < _MANY * size:
        share = 100.0 * distance / size
        return f"{share:.2g} %" if share < 100.0 else f"{share:.0f} %"
    return format_numbers([distance], source.unit, [source.candidate, source.baseline])[0]


def baseline(source: CanaryInput) -> str:
    """Return the value of the baseline."""
    return format_numbers([source.baseline, source.candidate], source.unit)[0]


def candidate(source: CanaryInput) -> str:
    """Return the value of the candidate."""
    return format_numbers([source.baseline, source.candidate], source.unit)[1]


def probability(source: CanaryInput) -> str:
    """Return the probability of so much evidence without a difference, as it is read: ``p < 0.001``.

    >>> from dataclasses import replace
    >>> source = CanaryInput("q", {}, {}, "a", "b", 1.0, 2.0, 0.0, (1, 1), 0.0, 0.0, 4e-4, 0.001, 9, "UTC")
    >>> probability(source), probability(replace(source, p_value=3e-7)), probability(replace(source, p_value=0.0))
    ('p < 0.001', 'p < 1e-06', 'p < 1e-12')
    """
    bound = source.alpha
    while bound / 10.0 > max(source.p_value, _LEAST_P / 1.01) and bound > _LEAST_P:
        bound /= 10.0
    return f"p < {bound:.0e}" if bound < 1e-4 else f"p < {bound:g}"


def compared(source: CanaryInput) -> str:
    """Return what was compared with what, and from which difference on that counts."""
    before, after = source.counts
    what = "the mean" if source.quantile is None else f"the quantile {source.quantile:g}"
    return (
        f"{what} of {after} series of {source.candidate_name} with that of {before} of {source.baseline_name}, in "
        f"{source.slots} slots; differences up to {format_numbers([source.floor], source.unit)[0]} do not count"
    )


def lasted(source: CanaryInput) -> str:
    """Return for how long they differ."""
    return format_lasted(source.since, source.at)


def chart(source: CanaryInput) -> tuple[str, str]:
    """Return page and image of the candidate's series."""
    return chart_links(source.external_url, source.query, source.labels, since=source.since, at=source.at)


def _side(source: CanaryInput) -> str:
    return "above" if source.candidate >= source.baseline else "below"


def _clock(source: CanaryInput) -> str:
    """Return when it began, on the clock of the query; with its day where that is not today."""
    began = datetime.fromtimestamp(source.since, ZoneInfo(source.zone))
    text = began.strftime("%H:%M" if source.at - source.since < 0.5 * _DAY else "%a %d %b %H:%M")
    return text if source.zone == "UTC" else f"{text} {source.zone}"
