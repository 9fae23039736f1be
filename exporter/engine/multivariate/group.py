"""One group: its entities, the learned state of their metrics, and the joint verdict on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.engine.multivariate.failures import Failures
from exporter.engine.multivariate.inputs import GroupMatrix
from exporter.engine.multivariate.isolation_forest import JointForest
from exporter.engine.multivariate.joint import NEWEST, Array, FloatArray, JointDetector, Rows
from exporter.engine.multivariate.load import NOISES, load_of
from exporter.engine.multivariate.members import MemberLoad, MemberLoads
from exporter.engine.multivariate.noise import GrowthNoise
from exporter.engine.multivariate.settings import GroupSettings
from exporter.engine.multivariate.votes import together
from exporter.engine.multivariate.whitened import Whitened
from exporter.engine.series import SeriesTable, key_of
from exporter.engine.shape import ShapeKind, shape_of
from exporter.engine.vote import score_of

__all__ = ["AlertsUnderLoad", "Group", "GroupVerdict", "alerts_under_load"]

BoolArray = npt.NDArray[np.bool_]

_FARTHEST = 1e6
"""Standard deviations that a metric counts at most in that mean, so that it stays finite."""
_SHAPED = 16
"""Instants from which the shape of an anomaly is read."""
_LEAST = 1e-6
"""Part of the expected value that is left at least, where a deviation was accepted."""


@dataclass(frozen=True, slots=True)
class GroupVerdict:
    """The verdict on every entity at one instant; arrays with the entity as first axis.

    Attributes
    ----------
    score : ndarray, shape (n,)
        0..1; >= 0.5 is anomalous. NaN: fewer than two metrics have a sample, or too little was learned.
    share : ndarray, shape (n, p)
        Part of each metric in the score, 0 to 1.
    load : ndarray, shape (n,)
        The common factor by which the metrics of an entity are up, where that is why it, or one of them, does not
        alert; else NaN.
    members : MemberLoad
        Which metrics go with a load.
    """

    at: float
    score: FloatArray
    share: FloatArray
    load: FloatArray
    members: MemberLoad

    @property
    def anomalous(self) -> npt.NDArray[np.bool_]:
        """Entities that are anomalous, shape (n,)."""
        return self.score >= 0.5  # NaN compares false.


@dataclass(frozen=True, slots=True)
class AlertsUnderLoad:
    """Which alerts of entities and their metrics a load holds.

    Attributes
    ----------
    held, suspected : ndarray of bool, shape (n, p)
        Metrics; see `MemberLoad`.
    replaced : ndarray of bool, shape (n,)
        Entities whose own alert is held, because what fails under the load has the alert of its query.
    factor : ndarray, shape (n,)
        Of the load of each entity whose alerts are held; NaN: there is none.
    """

    held: BoolArray
    suspected: BoolArray
    replaced: BoolArray
    factor: FloatArray


def alerts_under_load(verdict: GroupVerdict, alerting: BoolArray, *, group_alerts: bool) -> AlertsUnderLoad:
    """Return which alerts are held.

    Where a metric fails under a load and no alert would say so, nothing is held.

    Parameters
    ----------
    alerting : ndarray of bool, shape (p,)
        Whether the queries alert.
    group_alerts : bool
        Whether the group does.
    """
    members = verdict.members
    replaced: BoolArray = np.any(members.failing & alerting, axis=1)
    silent = members.failing.any(axis=1) & ~replaced & ~(verdict.anomalous & group_alerts)
    spoken = ~silent[:, None]
    factor = np.where(silent, np.nan, members.factor)
    return AlertsUnderLoad(members.held & spoken, members.suspected & spoken, replaced, factor)


class Group:
    """Learned state of one group.

    Parameters
    ----------
    settings : GroupSettings
    memory : float, seconds
        Time over which metrics are averaged.
    """

    def __init__(self, settings: GroupSettings, memory: float) -> None:
        self.settings = settings
        self.table = SeriesTable(settings.max_things)
        self.at = -np.inf
        """The newest instant that was judged."""
        metrics = len(settings.queries)
        self.detector: JointDetector
        if settings.detector == "whitened":
            self.detector = Whitened(metrics, settings.contamination, memory)
        else:
            self.detector = JointForest(metrics, settings.forest_contamination, memory)
        self._members = MemberLoads(metrics)
        self._noise = GrowthNoise(metrics)
        self._failures = Failures(metrics)
        self._seen = np.zeros(0)
        self._recent = np.zeros((0, metrics), np.float32)
        """Running mean of each metric's distance from its mean."""
        self._accepted = np.zeros((0, metrics), np.float32)
        """The part of it that feedback accepted as normal."""
        self._newest = np.full((_SHAPED, 0, metrics), np.nan, np.float32)
        """Distances of the newest instants, oldest first. Nothing of it need survive a restart."""

    def admit(self, keys: Sequence[bytes], at: float) -> Rows:
        """Return the row of each entity, shape (m,), -1 where there are too many; new ones are admitted.

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
                self._recent, self._accepted = (np.concatenate([old, empty]) for old in (self._recent, self._accepted))
                nothing = np.full((_SHAPED, more, empty.shape[1]), np.nan, np.float32)
                self._newest = np.concatenate([self._newest, nothing], axis=1)
                self.detector.grow(capacity)
                self._noise.grow(capacity)
                self._failures.grow(capacity)
            again = np.array(admitted, np.intp)
            self.detector.forget(again)
            self._members.forget(again)
            self._noise.forget(again)
            self._failures.forget(again)
            self._seen[again] = at
            self._recent[again] = self._accepted[again] = 0.0
            self._newest[:, again] = np.nan
        return rows

    def step(self, at: float, matrix: GroupMatrix, seconds: float) -> GroupVerdict:
        """Judge one instant, then learn it.

        Parameters
        ----------
        at : float, Unix seconds
        matrix : GroupMatrix
            By the rows of `table`.
        seconds : float
            How much time an instant stands for.
        """
        present = ~np.isnan(matrix.z)
        recent, accepted = self._recent[: len(matrix.z)], self._accepted[: len(matrix.z)]
        recent += np.where(present, NEWEST * (np.clip(matrix.z, -_FARTHEST, _FARTHEST) - recent), 0.0)
        self._newest[:-1] = self._newest[1:]
        self._newest[-1, : len(matrix.z)] = np.clip(matrix.z, -_FARTHEST, _FARTHEST)
        with np.errstate(all="ignore"):
            adjusted = _without(matrix, accepted) if accepted.any() else matrix
            adjusted = replace(adjusted, noise=self._noise.of(adjusted))
            load, members = load_of(adjusted), self._members.step(adjusted)
            self._noise.learn(adjusted, load)
            joint = self.detector.judge(at, adjusted, load, seconds)
            if self.settings.votes is not None:
                joint = together(joint, adjusted.severity, members, self.settings.voters, self.settings.votes.quorum)
        self._seen[: len(joint.severity)][present.any(axis=1)] = at
        self.at = at
        failing = self._failures.step(members.failing, members.unwell, joint.severity >= 1.0)
        members = replace(members, failing=failing)
        factor = np.where(members.named, members.factor, np.where(joint.excused, load, np.nan))
        return GroupVerdict(at, score_of(joint.severity), joint.share, factor, members)

    def shape_of(self, row: int, metric: int) -> ShapeKind | None:
        """Return how the metric of an entity came to be where it is; None where its newest samples do not say."""
        z = self._newest[:, row, metric].astype(np.float64)
        if np.isnan(z[-1]):
            return "missing" if not np.isnan(z).all() else None
        shape = shape_of(z / NOISES, z, np.zeros(0), adds_up=False)
        return None if shape is None else shape.kind

    def accept(self, rows: Rows) -> None:
        """Accept the present level of the metrics of `rows`, shape (m,), as normal."""
        self._accepted[rows] = self._recent[rows]
        self.detector.settle(rows)

    def expire(self, before: float) -> list[int]:
        """Forget the entities that were not seen since `before`, Unix seconds; return their rows."""
        used = np.array([row for row, _ in self.table.items()], np.intp)
        gone = used[self._seen[used] < before]
        self.table.release(gone)
        return [int(row) for row in gone]

    def arrays(self) -> dict[str, Array]:
        """Return copies of all of the state but the entities themselves, by name."""
        own: dict[str, Array] = {"seen": self._seen, "recent": self._recent, "accepted": self._accepted}
        own |= self._noise.arrays() | self._failures.arrays() | self.detector.arrays()
        return {name: array.copy() for name, array in own.items()}

    def entities(self) -> list[tuple[int, bytes]]:
        """Return the row and the labels, as a JSON object, of each entity."""
        return [(row, key_of(labels)) for row, labels in self.table.items()]

    def restore(self, at: float, parts: Mapping[str, Array], entities: Sequence[tuple[int, bytes]]) -> bool:
        """Restore stored state; only for a new group. False, with nothing changed, where it does not fit."""
        seen = parts.get("seen")
        if seen is None or seen.ndim != 1 or any(not 0 <= row < len(seen) for row, _ in entities):
            return False
        shape = (len(seen), len(self.settings.queries))
        own = [parts.get(name, np.zeros(shape)) for name in ("recent", "accepted")]
        if any(array.shape != shape or not np.isfinite(array).all() for array in own):
            return False
        if not self.detector.restore(parts, len(seen)):
            return False
        self._recent, self._accepted = (array.astype(np.float32) for array in own)
        self._noise.restore(parts, len(seen))
        self._failures.restore(parts, len(seen))
        self._newest = np.full((_SHAPED, *shape), np.nan, np.float32)
        self._seen = seen.astype(np.float64)
        self.table.restore(entities, max((row + 1 for row, _ in entities), default=0))
        self.at = at
        return True


def _without(matrix: GroupMatrix, accepted: npt.NDArray[np.float32]) -> GroupMatrix:
    """Return inputs as they would be without the deviation that was accepted; shapes (n, p)."""
    growth = np.log(np.maximum(np.exp(matrix.growth) - accepted * matrix.noise, _LEAST))
    growth = np.where(accepted == 0.0, matrix.growth, growth)
    observed = matrix.observed - accepted * matrix.noise * np.abs(matrix.expected)
    return replace(matrix, z=matrix.z - accepted, growth=growth, observed=observed)
