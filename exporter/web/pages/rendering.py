"""The templates of the pages, with the filters that write instants, durations, numbers and sparklines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import format_instant, format_numbers
from exporter.alerting.suppressed import SUPPRESSION_REASONS
from exporter.web.pages.models import Labels, SeriesRow, TimeRange
from exporter.web.pages.urls import overview_url, series_url
from exporter.web.templating import Templates

__all__ = ["TEMPLATES", "Sparkline", "ago", "below_threshold", "duration", "sparkline"]

FloatArray = npt.NDArray[np.float64]

_SUPPRESSION_WORDS = {
    "warming_up": "warming up",
    "masked": "silenced",
    "event": "known event",
    "incident": "incident over",
    "load": "load",
}
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_WIDTH, _HEIGHT = 132, 30
_UNIT = _HEIGHT / 2 / 3.2
"""Half the width of the band in a sparkline, from whose middle to its edge are 3.2 of them."""


def duration(seconds: float) -> str:
    """Write a duration by its two largest units.

    >>> duration(93784.0), duration(60.0), duration(0.4)
    ('1 d 2 h', '1 min', '0 s')
    """
    left = abs(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        count = int(left // size)
        if count or parts:
            parts.append(f"{count} {unit}" if count else "")
            left -= count * size
    return " ".join(filter(None, parts[:2])) or "0 s"


def ago(at: float, now: float) -> str:
    """Say how long ago an instant is, or how soon it comes.

    >>> ago(40.0, 100.0), ago(160.0, 100.0)
    ('1 min ago', 'in 1 min')
    """
    return f"{duration(now - at)} ago" if at <= now else f"in {duration(at - now)}"


_FOR_GOOD = 253_370_764_800.0
"""The year 9999: events without an end have one in it, and it may be the year 10000 elsewhere."""


def _local_time(at: float, zone: str) -> str:
    if at >= _FOR_GOOD:
        return "further notice"
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S %Z")


def _metric_first(labels: Labels) -> Labels:
    return sorted(labels, key=lambda label: label[0] != "__name__")


def _number_texts(series: SeriesRow) -> Sequence[str]:
    return format_numbers([series.observed, series.expected, series.lower, series.upper], series.unit)


def below_threshold(value: float, threshold: float) -> str:
    """Write a score or a severity by two digits; what is below its threshold is written as below it.

    >>> below_threshold(0.4976, 0.5), below_threshold(0.5, 0.5), below_threshold(0.123, 0.5)
    ('0.49', '0.50', '0.12')
    """
    text = f"{value:.2f}"
    return f"{threshold - 0.01:.2f}" if value < threshold <= float(text) else text


def _label_text(labels: Labels) -> str:
    return " ".join(value if name == "__name__" else f"{name}={value}" for name, value in _metric_first(labels))


def _named_in(labels: Labels, text: str) -> bool:
    return all(value in text for _, value in labels)


def _canary_numbers(numbers: Sequence[float | None]) -> list[str]:
    texts = iter(format_numbers([number for number in numbers if number is not None]))
    return ["-" if number is None else next(texts) for number in numbers]


def _canary_share(sides: tuple[float | None, float | None]) -> str:
    """Return how far a candidate is from its baseline, in per cent of that."""
    candidate, baseline = sides
    return f"{candidate / baseline - 1.0:+.1%}" if candidate is not None and baseline else "-"


def _is_address(text: str) -> bool:
    return text.startswith(("https://", "http://")) and not set(text) & set(" \n")


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A small drawing of where in its band a series was; points are x and y as text.

    Attributes
    ----------
    runs
        Samples that follow each other without a gap.
    outliers
        Samples outside the band.
    """

    caption: str
    runs: list[list[tuple[str, str]]]
    outliers: list[tuple[str, str]]
    last: tuple[str, str] | None
    width: int = _WIDTH
    height: int = _HEIGHT
    band_top: str = f"{_HEIGHT / 2 - _UNIT:.1f}"
    band_height: str = f"{2 * _UNIT:.1f}"


def sparkline(positions: FloatArray) -> Sparkline:
    """Lay out a sparkline.

    Parameters
    ----------
    positions : ndarray, shape (t,)
        Of the last samples, oldest first: 0 as expected, 1 at the upper edge of the band, -1 at the lower one; NaN
        where nothing can be said.
    """
    present, outlying = np.flatnonzero(~np.isnan(positions)), np.flatnonzero(np.abs(positions) > 1.0).tolist()
    x = np.linspace(2.0, _WIDTH - 2.0, len(positions))
    y = _HEIGHT / 2 - np.clip(positions, -3.0, 3.0) * _UNIT
    points = [(f"{left:.1f}", f"{top:.1f}") for left, top in zip(x.tolist(), y.tolist(), strict=True)]
    if not len(present):
        return Sparkline("nothing judged so far", [], [], None)
    runs = np.split(present, np.flatnonzero(np.diff(present) > 1) + 1)
    return Sparkline(
        f"{len(outlying)} of the last {len(present)} samples were outside the band",
        [[points[i] for i in run] for run in runs],
        [points[i] for i in outlying],
        points[present[-1]],
    )


TEMPLATES = Templates(
    "exporter.web.pages",
    functions={
        "overview_url": overview_url,
        "series_url": series_url,
        "suppression_meaning": SUPPRESSION_REASONS.__getitem__,
        "suppression_word": _SUPPRESSION_WORDS.__getitem__,
        "time_range": TimeRange,
    },
    filters={
        "ago": ago,
        "below_threshold": below_threshold,
        "canary_numbers": _canary_numbers,
        "canary_share": _canary_share,
        "duration": duration,
        "label_text": _label_text,
        "local": _local_time,
        "metric_first": _metric_first,
        "named_in": _named_in,
        "number_texts": _number_texts,
        "percent": "{:.0%}".format,
        "sparkline": sparkline,
        "thousands": "{:,}".format,
        "utc": format_instant,
    },
    tests={"absent": math.isnan, "address": _is_address},
)
