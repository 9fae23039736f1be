"""The texts of what is more than one series: storms, series with the same labels, and incidents."""

from __future__ import annotations

from collections.abc import Sequence

from exporter.alerting.explanation.formatting import format_instant, format_lasted, format_span
from exporter.alerting.explanation.input import CauseInput, SharedAlertInput, StormInput

__all__ = [
    "in_common",
    "members",
    "same_labels",
    "storm_lasted",
    "storm_summary",
    "suspected_cause",
    "suspected_effects",
]

_SHOWN = 5
"""Effects, and series of one alert, that are named."""


def storm_summary(source: StormInput) -> str:
    """Return one sentence: how many, what most have in common, and the worst member."""
    mostly = ", ".join(f"{label.name}={label.value}" for label in source.frequent)
    verb = "is" if source.now == 1 else "are"
    text = f"{source.now} of {source.series} {source.members} of {source.query} {verb} anomalous together"
    text = f"{text}{f', mostly {mostly}' if mostly else ''}"
    lasted = storm_lasted(source)
    return f"{text}{f', for {lasted}' if lasted else ''}; the worst: {source.summaries[0]}"


def storm_lasted(source: StormInput) -> str:
    """Return for how long there have been anomalous members; empty in the first slot."""
    return format_lasted(source.since, source.at)


def members(source: StormInput) -> str:
    """Return how many are anomalous now, of how many, and how many were so far."""
    more = f", {source.total} in the course of it" if source.total > source.now else ""
    return f"{source.now} of {source.series} {source.members}{more}"


def in_common(source: StormInput) -> str:
    """Return a line for every label value that is far more frequent among the members."""
    return "\n".join(
        f"{label.name}={label.value}: {label.members} of {source.now} members, {label.series} of all {source.series}"
        for label in source.frequent
    )


def suspected_cause(source: CauseInput) -> str:
    """Return which anomaly explains this one, since when, and how long before."""
    return _anomaly(source.cause, source.since, source.ahead) if source.cause else source.earlier


def suspected_effects(source: CauseInput) -> str:
    """Return the alerts that this one explains."""
    return _names(source.effects)


def same_incident(source: CauseInput) -> str:
    """Return the other alerts about the same thing, or the one of whose incident this is a part."""
    if source.first:
        return _anomaly(source.first, source.first_since, source.first_ahead)
    return _names(source.mates) or source.earlier_first


def same_labels(source: SharedAlertInput) -> str:
    """Return which series are anomalous under the labels of the alert, by the labels in which they differ."""
    names = sorted({name for labels in source.series for name in labels})
    names = [name for name in names if len({labels.get(name, "") for labels in source.series}) > 1]
    texts = [", ".join(f"{name}={labels.get(name, '')}" for name in names) for labels in source.series]
    more = len(texts) - 1 - _SHOWN
    others = "; ".join([*texts[1 : 1 + _SHOWN], *([f"{more} more"] if more > 0 else [])])
    return f"{len(texts)} series have the labels of this alert; the worst is {texts[0]}, beside it {others}"


def _anomaly(name: str, since: float, ahead: float) -> str:
    seconds = round(ahead)
    how = "at the same time"
    if seconds:
        how = f"{format_span(float(abs(seconds)))} {'before' if seconds > 0 else 'after'} this"
    return f"{name}, anomalous since {format_instant(since)}, {how}"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return "; ".join([*names[:_SHOWN], *([f"{more} more"] if more > 0 else [])])
