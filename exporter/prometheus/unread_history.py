"""Samples of a range query that cannot be read: it is known of which series they are, and mostly of which instants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Raw, Struct

from exporter.prometheus.unreadable import LeftOut

__all__ = ["UnreadHistory", "UnreadSeries", "unread_on_grid", "unread_samples", "unread_series"]

FloatArray = npt.NDArray[np.float64]


class UnreadSeries(Struct):
    """Samples of one series that cannot be read.

    Attributes
    ----------
    key : bytes or None
        Its label set as a JSON object; None: it cannot be read, either.
    times : array (k,) or None
        Unix seconds; None: nobody knows of which instants they are.
    histograms : bool
        Whether there are native histograms among them.
    """

    key: bytes | None
    times: FloatArray | None
    histograms: bool


class _Loose(Struct):
    metric: Raw = Raw(b"null")
    values: Raw = Raw(b"")
    histograms: Raw = Raw(b"")


_LOOSE = msgspec.json.Decoder(_Loose)
_LABELS = msgspec.json.Decoder(dict[str, str])
_PAIRS = msgspec.json.Decoder(list[list[Raw]])
_TIME = msgspec.json.Decoder(float | str)
_BROKEN = (ValueError, RecursionError)  # msgspec's errors are ValueErrors, as are those of numbers.


def unread_series(row: Raw) -> UnreadSeries:
    """Describe a row of a matrix that cannot be read."""
    try:
        loose = _LOOSE.decode(row)
    except _BROKEN:
        return UnreadSeries(None, None, histograms=False)
    try:
        _LABELS.decode(loose.metric)
    except _BROKEN:
        return UnreadSeries(None, None, histograms=False)
    return unread_samples(bytes(loose.metric), bytes(loose.values), bytes(loose.histograms))


def unread_samples(key: bytes, values: bytes, histograms: bytes, wrong: Sequence[int] | None = None) -> UnreadSeries:
    """Describe what cannot be read of a series.

    Parameters
    ----------
    values, histograms : bytes
        Its pairs of a time and a sample, as a JSON list; empty: there are none.
    wrong : sequence of int, optional
        Which of `values` cannot be read; by default all.
    """
    times = _times(values, wrong), _times(histograms, None)
    readable = [each for each in times if each is not None]
    complete = len(readable) == len(times) and (values or histograms)
    return UnreadSeries(key, np.concatenate(readable) if complete else None, bool(histograms))


def _times(text: bytes, wrong: Sequence[int] | None) -> FloatArray | None:
    """Return the times of some samples, of all by default; None where one of them cannot be read."""
    if not text or (wrong is not None and not len(wrong)):
        return np.empty(0)
    try:
        pairs = _PAIRS.decode(text)
        chosen = pairs if wrong is None else [pairs[index] for index in wrong]
        return np.array([float(_TIME.decode(pair[0])) for pair in chosen], np.float64)
    except (*_BROKEN, IndexError):
        return None


@dataclass(frozen=True, slots=True)
class UnreadHistory:
    """What cannot be read of a chunk of history.

    Attributes
    ----------
    keys : tuple of bytes, length m
        Label sets.
    where : array of bool, shape (t, m)
        The instants of each.
    histograms : array of bool, shape (m,)
        Which of them are native histograms.
    nameless : int
        Series of which not even the label set can be read.
    """

    keys: tuple[bytes, ...]
    where: npt.NDArray[np.bool_]
    histograms: npt.NDArray[np.bool_]
    nameless: int = 0

    def at(self, instant: int) -> LeftOut:
        """Return what cannot be read of one instant."""
        here = np.flatnonzero(self.where[instant])
        keys = tuple(self.keys[index] for index in here.tolist())
        return LeftOut(keys, len(keys) + self.nameless, int(self.histograms[here].sum()))

    @property
    def instants(self) -> npt.NDArray[np.bool_]:
        """The instants of which not everything can be read, shape (t,)."""
        return np.logical_or(self.where.any(axis=1), self.nameless > 0)

    def part(self, when: slice) -> UnreadHistory:
        """Return what cannot be read of some of the instants."""
        return replace(self, where=self.where[when])

    def only(self, belongs: npt.NDArray[np.bool_]) -> UnreadHistory:
        """Return what belongs to a shard, shape (m,), and what may."""
        keys = tuple(key for key, own in zip(self.keys, belongs.tolist(), strict=True) if own)
        return replace(self, keys=keys, where=self.where[:, belongs], histograms=self.histograms[belongs])

    def __str__(self) -> str:
        rows = len(self.keys) + self.nameless
        return str(LeftOut(self.keys, rows, int(self.histograms.sum())))


def unread_on_grid(series: Sequence[UnreadSeries], times: FloatArray, step: float) -> UnreadHistory | None:
    """Return what cannot be read at `times`, shape (t,), `step` seconds apart; None where there is nothing."""
    if not series:
        return None
    named = [each for each in series if each.key is not None]
    where = np.zeros((len(times), len(named)), np.bool_)
    for column, each in enumerate(named):
        if each.times is None:
            where[:, column] = True
            continue
        rows = np.rint((each.times - times[0]) / step)
        where[rows[(rows >= 0) & (rows < len(times))].astype(np.intp), column] = True
    keys = tuple(each.key for each in named if each.key is not None)
    histograms = np.array([each.histograms for each in named], np.bool_)
    return UnreadHistory(keys, where, histograms, len(series) - len(named))
