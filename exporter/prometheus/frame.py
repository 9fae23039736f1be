"""Results of queries as arrays over series."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from exporter.completeness import incomplete
from exporter.prometheus.unread_history import UnreadHistory
from exporter.prometheus.unreadable import LeftOut

__all__ = ["AnswerEnds", "HistoryChunk", "FloatArray", "Frame"]

FloatArray = npt.NDArray[np.float64]
AnswerEnds = tuple[bytes, bytes]
"""The text of an answer before its first label set and behind its last sample."""


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
    unreadable : LeftOut
        Rows that could not be decoded: native histograms, malformed numbers, wrong types.
    own : int
        Rows that this exporter wrote: they are left out.
    warnings : tuple of str
        Of the server, and a text for every other mark of an incomplete answer.
    server_time : float or None
        Clock of the server at its response, in whole Unix seconds, to measure clock skew.
    infos : tuple of str
        Remarks of the server on the expression.
    refused : int
        Rows of new series that were not decoded, because there is no memory for all of them.
    ends : AnswerEnds or None
        Of an answer whose rows are all here, so that only the samples of the next one need be parsed.
    """

    at: float
    keys: list[bytes]
    values: FloatArray
    timestamps: FloatArray
    unreadable: LeftOut = field(default_factory=LeftOut)
    warnings: tuple[str, ...] = ()
    server_time: float | None = None
    infos: tuple[str, ...] = ()
    own: int = 0
    refused: int = 0
    ends: AnswerEnds | None = None

    @property
    def partial(self) -> bool:
        """Whether series may be missing: a series that is not in it is unknown, not gone."""
        return incomplete(self.warnings) or self.unreadable.nameless

    @property
    def whole(self) -> bool:
        """Whether a series that is not in it is away."""
        return not self.partial and not self.unreadable.rows


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
    unread : UnreadHistory or None
        Samples that could not be decoded.
    warnings : tuple of str
        As in `Frame`.
    refused : bool
        The server refuses these instants, whatever is asked with them: there is nothing to be had.
    """

    times: FloatArray
    keys: list[bytes]
    values: FloatArray
    unread: UnreadHistory | None = None
    warnings: tuple[str, ...] = ()
    refused: bool = False

    @property
    def partial(self) -> bool:
        """Whether series may be missing: a series that is not in it is unknown, not gone."""
        return incomplete(self.warnings) or (self.unread is not None and self.unread.nameless > 0)

    def part(self, when: slice) -> HistoryChunk:
        """Return some of its instants."""
        unread = None if self.unread is None else self.unread.part(when)
        return replace(self, times=self.times[when], values=self.values[when], unread=unread)
