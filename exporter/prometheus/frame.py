"""Results of queries as arrays over series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.prometheus.completeness import incomplete

__all__ = ["HistoryChunk", "FloatArray", "Frame"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """Result of an instant query.

    Attributes
    ----------
    at : float
        Evaluation instant, Unix seconds.
    keys : list of bytes, length n
        Each label set as the JSON object that the server sent, unparsed; `labels_of` parses one. Rows where it is
        not an object of strings are rejected.
    values : array (n,)
        Samples in the order of `keys`; NaN where the server sent NaN, infinities kept.
    timestamps : array (n,)
        Unix seconds.
    rejected : int
        Rows that could not be decoded: native histograms, malformed numbers, wrong types.
    warnings : tuple of str
        Of the server, and a text for every other mark of an incomplete answer.
    server_time : float or None
        Clock of the server at its response, in whole Unix seconds, to measure clock skew.
    infos : tuple of str
        Remarks of the server on the expression.
    """

    at: float
    keys: list[bytes]
    values: FloatArray
    timestamps: FloatArray
    rejected: int = 0
    warnings: tuple[str, ...] = ()
    server_time: float | None = None
    infos: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether series may be missing: what is not in it is unknown, not gone."""
        return incomplete(self.warnings)


@dataclass(frozen=True, slots=True)
class HistoryChunk:
    """One chunk of a range query on its grid.

    Attributes
    ----------
    times : array (t,)
        Grid instants, Unix seconds, rising by the step.
    keys : list of bytes, length n
        As in `Frame`.
    values : array (t, n)
        NaN = no sample.
    rejected : int
        Series or samples that could not be decoded.
    warnings : tuple of str
        As in `Frame`.
    """

    times: FloatArray
    keys: list[bytes]
    values: FloatArray
    rejected: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether series may be missing: what is not in it is unknown, not gone."""
        return incomplete(self.warnings)
