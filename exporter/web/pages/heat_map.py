"""The baseline of a series as a map of the week: a cell an hour, the darker the higher its mean."""

from __future__ import annotations

from dataclasses import dataclass

from exporter.alerting.explanation.formatting import Unit, format_numbers, scale_of
from exporter.web.api.baseline import BaselineBucket, SeriesBaseline

__all__ = ["WeekCell", "week_map", "week_unit"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SHADES = 8
_SCOPES = {"week": "this hour of the week", "day": "this hour of every day", "all": "all times"}


@dataclass(frozen=True, slots=True)
class WeekCell:
    """One hour of the week: the text in its cell, its tooltip, its shade from 0 to 7, and its marks."""

    text: str
    title: str
    shade: int | None
    current: bool
    own: bool


def week_map(baseline: SeriesBaseline, unit: Unit | None) -> list[tuple[str, list[WeekCell]]]:
    """Return the days of the week with their 24 cells."""
    means = [bucket.mean for bucket in baseline.buckets if bucket.mean is not None]
    low, high = (min(means), max(means)) if means else (0.0, 0.0)
    largest = max(map(abs, means), default=0.0)
    size, _ = (1.0, "") if unit is None else scale_of(largest, unit)
    # Without the unit, which stands below: 24 numbers are side by side.
    texts = iter([f"{mean / size:.3g}" for mean in means])
    cells = [
        _cell(bucket, "" if bucket.mean is None else next(texts), low, high, unit, current=baseline.current)
        for bucket in baseline.buckets
    ]
    return [(day, cells[24 * index : 24 * index + 24]) for index, day in enumerate(_DAYS)]


def week_unit(baseline: SeriesBaseline, unit: Unit | None) -> str:
    """Return the sign of the unit of the cells; empty where there is none."""
    means = [abs(bucket.mean) for bucket in baseline.buckets if bucket.mean is not None]
    return "" if unit is None else scale_of(max(means, default=0.0), unit)[1]


def _cell(bucket: BaselineBucket, text: str, low: float, high: float, unit: Unit | None, *, current: int) -> WeekCell:
    name = f"{_DAYS[bucket.weekday]} {bucket.hour:02}:00"
    if bucket.mean is None:
        return WeekCell("", f"{name}: nothing was learned", None, bucket.bucket == current, own=False)
    mean, stddev, q1, q3 = format_numbers(
        [bucket.mean, bucket.stddev or 0.0, bucket.q1 or bucket.mean, bucket.q3 or bucket.mean], unit
    )
    kind = "weeks" if bucket.scope == "week" else "days"
    title = f"{name}: mean {mean}, standard deviation {stddev}, middle half {q1} to {q3}; {bucket.visits:.1f} {kind}"
    title += f", of {_SCOPES[bucket.scope]}"
    shade = 0 if high <= low else min(_SHADES - 1, int((bucket.mean - low) / (high - low) * _SHADES))
    return WeekCell(text, title, shade, bucket.bucket == current, own=bucket.scope == "week")
