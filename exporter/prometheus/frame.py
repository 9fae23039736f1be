"""What a query returned, as arrays over series."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.series import labels_of

__all__ = ["Block", "FloatArray", "Frame", "labels_of"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Frame:
    """One instant query.

    Attributes
    ----------
    at : float
        Evaluation instant, Unix seconds.
    keys : list of bytes, length n
        Each label set as the JSON object that the server sent, unparsed; `labels_of` reads one. It is an
        object of strings: rows where it is anything else are among the rejected ones.
    values : array (n,)
        Samples in the order of `keys`; NaN where the server said NaN, infinities kept.
    timestamps : array (n,)
        Unix seconds.
    rejected : int
        Rows that could not be read: native histograms, numbers outside the grammar, wrong types.
    warnings : tuple of str
        What the server wants said; with a warning, series may be missing.
    server_time : float or None
        When the server answered by its own clock, in whole Unix seconds, for the skew between the clocks.
    """

    at: float
    keys: list[bytes]
    values: FloatArray
    timestamps: FloatArray
    rejected: int = 0
    warnings: tuple[str, ...] = ()
    server_time: float | None = None


@dataclass(frozen=True, slots=True)
class Block:
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
        Series or samples that could not be read.
    warnings : tuple of str
    """

    times: FloatArray
    keys: list[bytes]
    values: FloatArray
    rejected: int = 0
    warnings: tuple[str, ...] = ()
