"""Charts as data, and their rendering in a worker process. Nothing heavy is imported at module level."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import Unit

__all__ = ["Chart", "ChartPart", "ChartStyle", "DisplayError", "preload", "render"]

FloatArray = npt.NDArray[np.float64]


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


@dataclass(frozen=True, slots=True)
class ChartStyle:
    """How a chart is drawn: `form` is ``svg`` or ``png``."""

    form: str
    dark: bool = False
    narrow: bool = False


def render(chart: Chart, style: ChartStyle) -> bytes:
    """Draw a chart and return the file."""
    from exporter.charts.drawing import draw  # Slow to import.

    return draw(chart, style)


def preload() -> None:
    """Import matplotlib, which the first chart would have to wait for."""
    gc.disable()  # What an import makes stays: collecting garbage meanwhile only takes time.
    from exporter.charts import drawing  # noqa: F401 - slow to import.

    gc.enable()
