"""The templates of the pages, with the filters that write instants, durations, numbers and sparklines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import format_numbers
from exporter.web.pages.models import Labels, SeriesRow, TimeRange
from exporter.web.pages.urls import overview_url, series_url
from exporter.web.templating import Templates

__all__ = ["TEMPLATES", "Sparkline", "ago", "duration", "sparkline"]

FloatArray = npt.NDArray[np.float64]

_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
_HALF_WIDTHS = 3.2
"""Half-widths of the band from the middle of a sparkline to its edge."""


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


def _local_time(at: float, zone: str) -> str:
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S %Z")


def _utc_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _metric_first(labels: Labels) -> Labels:
    return sorted(labels, key=lambda label: label[0] != "__name__")


def _number_texts(series: SeriesRow) -> Sequence[str]:
    return format_numbers([series.observed, series.expected, series.lower, series.upper], series.unit)


def _is_address(text: str) -> bool:
    return text.startswith(("https://", "http://")) and not set(text) & set(" \n")


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a drawing, in its own units."""

    x: str
    y: str

    def __str__(self) -> str:
        return f"{self.x},{self.y}"


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A small drawing of where in its band a series was.

    Attributes
    ----------
    runs : list of list of Point
        Samples that follow each other without a gap.
    outliers : list of Point
        Samples outside the band.
    """

    caption: str
    runs: list[list[Point]]
    outliers: list[Point]
    last: Point | None
    width: int = 132
    height: int = 30

    @property
    def unit(self) -> float:
        """Half the width of the band."""
        return self.height / 2 / _HALF_WIDTHS

    @property
    def band_top(self) -> str:
        """The upper edge of the band."""
        return f"{self.height / 2 - self.unit:.1f}"

    @property
    def band_height(self) -> str:
        """The width of the band."""
        return f"{2 * self.unit:.1f}"


def sparkline(positions: FloatArray) -> Sparkline:
    """Lay out a sparkline.

    Parameters
    ----------
    positions : ndarray, shape (t,)
        Of the last samples, oldest first: 0 as expected, 1 at the upper edge of the band, -1 at the lower one; NaN
        where nothing can be said.
    """
    line = Sparkline("", [], [], None)
    present, outlying = ~np.isnan(positions), np.abs(positions) > 1.0
    x = np.linspace(2.0, line.width - 2.0, len(positions))
    y = line.height / 2 - np.clip(positions, -3.0, 3.0) * line.unit
    points = [Point(f"{left:.1f}", f"{top:.1f}") for left, top in zip(x.tolist(), y.tolist(), strict=True)]
    samples = int(np.count_nonzero(present))
    caption = f"{np.count_nonzero(outlying)} of the last {samples} samples were outside the band"
    return Sparkline(
        caption if samples else "no samples so far",
        [[points[i] for i in run] for run in _runs(present)],
        [points[i] for i in np.flatnonzero(outlying).tolist()],
        points[int(np.flatnonzero(present)[-1])] if samples else None,
    )


def _runs(flags: npt.NDArray[np.bool_]) -> Iterator[list[int]]:
    """Yield the indices of every run of True."""
    run: list[int] = []
    for index, flag in enumerate([*flags.tolist(), False]):
        if flag:
            run.append(index)
        elif run:
            yield run
            run = []


TEMPLATES = Templates(
    "exporter.web.pages",
    functions={"overview_url": overview_url, "series_url": series_url, "time_range": TimeRange},
    filters={
        "ago": ago,
        "duration": duration,
        "local": _local_time,
        "metric_first": _metric_first,
        "number_texts": _number_texts,
        "percent": "{:.0%}".format,
        "sparkline": sparkline,
        "thousands": "{:,}".format,
        "utc": _utc_time,
    },
    tests={"absent": math.isnan, "address": _is_address},
)
