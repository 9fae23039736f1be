"""Input and output of the engine: aligned samples, verdicts, checkpoints."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.forecast.forecast import Forecast
from exporter.engine.peers.samples import PeerVerdicts
from exporter.engine.row_details import RowDetails

__all__ = ["Aligned", "Checkpoint", "Verdict", "Verdicts"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Scores and bands of every row at one instant. Arrays of shape (size,), in source units, NaN = absent.

    Attributes
    ----------
    score
        0..1; >= 0.5 is anomalous. NaN: no sample, or too little was learned.
    lower, upper
        The band outside which the vote can pass; NaN where there is no such edge.
    votes
        How many votes call the sample anomalous.
    z
        Distance from the mean of this time of the week, in its standard deviations; negative below it.
    each
        Severity of every detector, shape (d, size).
    ready
        Whether the series is old enough to be alerted on.
    masked
        Whether the sample was judged and is not learned.
    missing_since
        Unix seconds of the newest sample, where there is none now and there should be; NaN elsewhere.
    absent
        Whether that has lasted long enough to be anomalous: then `score` and `expected` are set, `observed` is not.
    zero
        Whether it is anomalous that the sample is zero, because it never is at this hour.
    unread
        Rows whose sample is in the answer and could not be read: nothing is known of them. None: no row.
    complete : bool
        Whether every series that exists was in the answer: otherwise nothing is known of one without a sample.
    forecast : Forecast or None
        From this instant on, where the query asks for it.
    first_day : ndarray of bool, optional
        Rows that were judged by their own few samples, and not by the detectors; None: no row.
    peers : PeerVerdicts, optional
        What the siblings of each row say of it, where the query asks for that; arrays of shape (size,).
    near_limit : ndarray of bool, optional
        Rows that are anomalous because a limit is near, if for nothing else. None: no row.
    """

    at: float
    observed: FloatArray
    score: FloatArray
    expected: FloatArray
    lower: FloatArray
    upper: FloatArray
    votes: FloatArray
    z: FloatArray
    each: FloatArray
    ready: npt.NDArray[np.bool_]
    masked: npt.NDArray[np.bool_]
    missing_since: FloatArray
    absent: npt.NDArray[np.bool_]
    zero: npt.NDArray[np.bool_]
    complete: bool = True
    unread: npt.NDArray[np.bool_] | None = None
    forecast: Forecast | None = None
    near_limit: npt.NDArray[np.bool_] | None = None
    first_day: npt.NDArray[np.bool_] | None = None
    peers: PeerVerdicts | None = None

    @property
    def anomalous(self) -> npt.NDArray[np.bool_]:
        """Rows whose sample is anomalous, shape (size,)."""
        return self.score >= 0.5  # NaN compares false


_BY_ROW = (
    *("observed", "score", "expected", "lower", "upper", "votes", "z", "each"),
    *("ready", "masked", "absent", "zero", "first_day", "missing_since"),
)
"""Arrays of `Verdicts` that have the rows as last axis."""


class Verdicts:
    """Verdicts at several instants: the same arrays with the instants as first axis, (t, size) and (t, d, size).

    Parameters
    ----------
    times : ndarray, shape (t,)
    observed : ndarray, shape (t, size)
        Copied.
    detectors : int
        How many detectors vote.
    """

    def __init__(self, times: FloatArray, observed: FloatArray, detectors: int) -> None:
        t, size = observed.shape
        self.times = times
        self.observed = observed.copy()
        self.score, self.expected, self.lower, self.upper, self.votes, self.z = np.full((6, t, size), np.nan)
        self.each = np.full((t, detectors, size), np.nan)
        self.ready, self.masked, self.absent, self.zero, self.first_day = np.zeros((5, t, size), np.bool_)
        self.missing_since = np.full((t, size), np.nan)
        self.complete = np.ones(t, np.bool_)
        self.unread: npt.NDArray[np.bool_] | None = None
        """By row, for all instants."""
        self.peers: PeerVerdicts | None = None
        self.details: dict[int, RowDetails] | None = None
        """What explanations say of anomalous rows, by instant, but for the last of a span; None: not wanted."""

    def __len__(self) -> int:
        return len(self.times)

    @classmethod
    def unwritten(cls, times: FloatArray, size: int, like: Verdicts) -> Verdicts:
        """Return verdicts that are to be `put` for all instants and rows; their arrays are those of `like`."""
        new = copy.copy(like)
        new.times, new.complete = times, np.ones(len(times), np.bool_)
        for name in _BY_ROW:
            array = getattr(like, name)
            setattr(new, name, np.empty((len(times), *array.shape[1:-1], size), array.dtype))
        return new

    def put(self, when: slice, rows: slice, part: Verdicts) -> None:
        """Write the verdicts on some instants and rows."""
        for name in _BY_ROW:
            getattr(self, name)[when, ..., rows] = getattr(part, name)

    def part(self, rows: slice) -> Verdicts:
        """Return the verdicts on some rows, in arrays of their own."""
        part = copy.copy(self)
        part.complete = self.complete.copy()
        for name in _BY_ROW:
            setattr(part, name, getattr(self, name)[..., rows].copy())
        return part

    def __getitem__(self, index: int) -> Verdict:
        return Verdict(
            float(self.times[index]),
            self.observed[index],
            self.score[index],
            self.expected[index],
            self.lower[index],
            self.upper[index],
            self.votes[index],
            self.z[index],
            self.each[index],
            self.ready[index],
            self.masked[index],
            self.missing_since[index],
            self.absent[index],
            self.zero[index],
            bool(self.complete[index]),
            self.unread,
            first_day=self.first_day[index],
            peers=None if self.peers is None else self.peers.at(index),
        )


@dataclass(frozen=True, slots=True)
class Aligned:
    """An answer put into rows.

    Attributes
    ----------
    samples
        Shape (size,) or (t, size); NaN where a series has no sample.
    admitted
        Rows that were given to new series.
    refused
        Series turned away because the table is full.
    repeated
        Label sets that came twice; the first counts.
    """

    samples: FloatArray
    admitted: tuple[int, ...]
    refused: int
    repeated: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Learned state as far as it changed: what `Engine.restore` needs, when all checkpoints are laid over each other.

    Attributes
    ----------
    at
        The newest instant that is in it.
    parts
        Named arrays over rows. Buckets that no sample fell in are left out: what was written of them still holds.
    series
        Rows that are new or have another series, with their label sets as JSON objects.
    removed
        Rows that have no series now.
    """

    at: float
    parts: dict[str, npt.NDArray[np.generic]]
    series: list[tuple[int, bytes]]
    removed: tuple[int, ...]
