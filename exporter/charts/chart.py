"""Charts as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import Unit

__all__ = ["PREFIXES", "Chart", "ChartPart", "ChartStyle", "DisplayError"]

FloatArray = npt.NDArray[np.float64]


PREFIXES = ((1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k"), (1e-3, 1.0, ""))
"""Of numbers without a unit: from which largest number on, the scale, and its letter."""


class DisplayError(Exception):
    """A page or chart cannot be shown; the message is for the user.

    Parameters
    ----------
    status : int
        HTTP status.
    """

    def __init__(self, message: str, status: int = 404) -> None:
        super().__init__(message)
        self.status = status


class ChartPart(StrEnum):
    """What a chart shows of a series."""

    BAND = "band"
    """Expected versus observed, with the band, votes and anomalies."""
    WEEKS = "weeks"
    """The same hours of the four weeks before."""
    DECOMPOSITION = "decomposition"
    """Trend, daily and weekly season, and residual."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The data of a chart. Arrays of shape (t,), source units; NaN = absent.

    Attributes
    ----------
    times : Unix seconds
    lines
        By name, in drawing order; which ones there are depends on `part`.
    source
        Small print below the chart: where its values come from.
    """

    part: ChartPart
    title: str
    subtitle: str
    zone: str
    times: FloatArray
    lines: Mapping[str, FloatArray]
    quorum: int = 0
    source: str = ""
    unit: Unit | None = None
    gaps: float = np.inf
    """Seconds between two samples beyond which the line is broken."""
    limit: float | None = None
    """That the series should not reach, where there is a forecast."""
    changes: Sequence[tuple[float, str]] = ()
    """When what changed: Unix seconds, and a text."""
    events: Sequence[tuple[float, float, str]] = ()
    """Known events: from and to, Unix seconds, and name with action."""
    anew: npt.NDArray[np.bool_] | None = None
    """Where the verdict is not that of the time, but judged anew; None: nowhere."""
    severities: Mapping[str, FloatArray] = field(default_factory=dict)
    """Of each detector, by its kind."""
    partial: bool = False
    """Whether verdicts are left out that would have to be judged anew."""


@dataclass(frozen=True, slots=True)
class ChartStyle:
    """How a chart is drawn: `form` is ``svg``, ``png`` or ``json``.

    `quick` leaves out what would have to be judged anew.
    """

    form: str
    dark: bool = False
    narrow: bool = False
    quick: bool = False
