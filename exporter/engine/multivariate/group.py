"""One group: its things, what was learned of them, and the judgement on their metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.inputs import Matrix
from exporter.engine.multivariate.isolation_forest import IsolationForest
from exporter.engine.multivariate.joint import Array, FloatArray, JointDetector, Rows
from exporter.engine.multivariate.load import load_of
from exporter.engine.multivariate.settings import GroupSettings
from exporter.engine.multivariate.whitened import Whitened
from exporter.engine.series import SeriesTable, key_of
from exporter.engine.vote import score_of

__all__ = ["Group", "GroupVerdict"]


_NEWEST = 1.0 - 0.5 ** (1.0 / 3.0)
"""Share of the newest sample in what is taken as the present: a half-life of three samples."""
_FARTHEST = 1e6
_LEAST = 1e-6
"""Part of what is expected that is left at least, where something was accepted."""


@dataclass(frozen=True, slots=True)
class GroupVerdict:
    """What was said of every thing at one instant; arrays with the thing as first axis.

    Attributes
    ----------
    score : ndarray, shape (n,)
        0..1; >= 0.5 is anomalous. NaN: fewer than two metrics are known, or too little was learned.
    share : ndarray, shape (n, p)
        Part of each metric in it, 0 to 1.
    load : ndarray, shape (n,)
        The common factor by which all metrics are up, where that is why the thing is not anomalous; else NaN.
    """

    at: float
    score: FloatArray
    share: FloatArray
    load: FloatArray

    @property
    def anomalous(self) -> npt.NDArray[np.bool_]:
        """Things that are anomalous, shape (n,)."""
        return self.score >= 0.5  # NaN compares false.


class Group:
    """Learned state of one group.

    Parameters
    ----------
    settings : GroupSettings
    memory : float, seconds
        How far back is learned from.
    """

    def __init__(self, settings: GroupSettings, memory: float) -> None:
        self.settings = settings
        self.table = SeriesTable(settings.max_things)
        self.at = -np.inf
        """The newest instant that was judged."""
        metrics, share = len(settings.queries), settings.share
        kind = Whitened if settings.detector == "whitened" else IsolationForest
        self.detector: JointDetector = kind(metrics, share, memory)
        self._seen = np.zeros(0)
        self._recent = np.zeros((0, metrics), np.float32)
        """Running mean of each metric's distance from its mean."""
        self._accepted = np.zeros((0, metrics), np.float32)
        """What of it is usual, because somebody said so."""

    def admit(self, keys: Sequence[bytes], at: float) -> Rows:
        """Return the row of each thing, shape (m,), -1 where there are too many; new ones are admitted.

        Parameters
        ----------
        keys : sequence of bytes, length m
            The values of the `by` labels as JSON objects.
        at : float, Unix seconds
        """
        rows, admitted = self.table.find(keys)
        if admitted:
            if self.table.size > len(self._seen):
                capacity = max(self.table.size, 2 * len(self._seen))
                more = capacity - len(self._seen)
                self._seen = np.append(self._seen, np.zeros(more))
                empty = np.zeros((more, self._recent.shape[1]), np.float32)
                self._recent, self._accepted = (np.concatenate([one, empty]) for one in (self._recent, self._accepted))
                self.detector.grow(capacity)
            again = np.array(admitted, np.intp)
            self.detector.forget(again)
            self._seen[again] = at
            self._recent[again] = self._accepted[again] = 0.0
        return rows

    def step(self, at: float, matrix: Matrix, seconds: float) -> GroupVerdict:
        """Judge one instant, then learn it.

        Parameters
        ----------
        at : float, Unix seconds
        matrix : Matrix
            By the rows of `table`.
        seconds : float
            How much time an instant stands for.
        """
        present = ~np.isnan(matrix.z)
        recent, accepted = self._recent[: len(matrix.z)], self._accepted[: len(matrix.z)]
        recent += np.where(present, _NEWEST * (np.clip(matrix.z, -_FARTHEST, _FARTHEST) - recent), 0.0)
        with np.errstate(all="ignore"):
            usual = _without(matrix, accepted) if accepted.any() else matrix
            load = load_of(usual)
            joint = self.detector.judge(at, usual.z, load, seconds)
        self._seen[: len(joint.severity)][present.any(axis=1)] = at
        self.at = at
        return GroupVerdict(at, score_of(joint.severity), joint.share, np.where(joint.excused, load.factor, np.nan))

    def accept(self, rows: Rows) -> None:
        """Take where the metrics of `rows`, shape (m,), are now as usual: somebody said that it is."""
        self._accepted[rows] = self._recent[rows]
        self.detector.settle(rows)

    def expire(self, before: float) -> list[int]:
        """Forget the things that were not seen since `before`, Unix seconds; return their rows."""
        used = np.array([row for row, _ in self.table.items()], np.intp)
        gone = used[self._seen[used] < before]
        self.table.release(gone)
        return [int(row) for row in gone]

    def arrays(self) -> dict[str, Array]:
        """Return copies of all of the state but the things themselves, by name."""
        own: dict[str, Array] = {"seen": self._seen, "recent": self._recent, "accepted": self._accepted}
        return {name: array.copy() for name, array in (own | self.detector.arrays()).items()}

    def things(self) -> list[tuple[int, bytes]]:
        """Return the row and the labels, as a JSON object, of each thing."""
        return [(row, key_of(labels)) for row, labels in self.table.items()]

    def restore(self, at: float, parts: Mapping[str, Array], things: Sequence[tuple[int, bytes]]) -> bool:
        """Go on from an earlier run; only for a new group. False, with nothing changed, where it does not fit."""
        seen = parts.get("seen")
        if seen is None or seen.ndim != 1 or any(not 0 <= row < len(seen) for row, _ in things):
            return False
        shape = (len(seen), len(self.settings.queries))
        own = [parts.get(name, np.zeros(shape)) for name in ("recent", "accepted")]
        if any(one.shape != shape or not np.isfinite(one).all() for one in own):
            return False
        if not self.detector.restore(parts, len(seen)):
            return False
        self._recent, self._accepted = (one.astype(np.float32) for one in own)
        self._seen = seen.astype(np.float64)
        self.table.restore(things, max((row + 1 for row, _ in things), default=0))
        self.at = at
        return True


def _without(matrix: Matrix, accepted: npt.NDArray[np.float32]) -> Matrix:
    """Return readings as they would be without what was accepted as usual; shapes (n, p)."""
    growth = np.log(np.maximum(np.exp(matrix.growth) - accepted * matrix.noise, _LEAST))
    return Matrix(matrix.z - accepted, np.where(accepted == 0.0, matrix.growth, growth), matrix.noise)
