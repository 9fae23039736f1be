"""What a chart is drawn from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from exporter.alerting.explanation.formatting import Unit

__all__ = ["Chart", "Look", "Part", "Unshowable"]

FloatArray = npt.NDArray[np.float64]


class Unshowable(Exception):  # noqa: N818 - nobody's mistake: the page says why.
    """Something that was asked for cannot be shown; the message is for the person who asked.

    Parameters
    ----------
    message : str
    status : int
        HTTP status.
    """

    def __init__(self, message: str, status: int = 404) -> None:
        super().__init__(message)
        self.status = status


class Part(StrEnum):
    """What a chart is of."""

    BAND = "band"
    """Expected versus observed, with the band, votes and anomalies."""
    WEEKS = "weeks"
    """The same hours of the four weeks before."""
    DECOMPOSITION = "decomposition"
    """Trend, daily and weekly season, and what is left."""


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart is drawn from. Arrays of shape (t,), source units; NaN = absent.

    Attributes
    ----------
    times : Unix seconds
    lines
        By name, in the order of drawing; what they are depends on `part`.
    source
        Where expected values and bands come from, in a sentence.
    """

    part: Part
    title: str
    subtitle: str
    zone: str
    times: FloatArray
    lines: Mapping[str, FloatArray]
    quorum: int = 0
    source: str = ""
    unit: Unit | None = None
    gaps: float = field(default=np.inf)
    """Seconds between two samples beyond which the line is broken."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a chart is drawn: `form` is ``svg`` or ``png``."""

    form: str
    dark: bool = False
    narrow: bool = False
