"""Storms: series of one query that become anomalous together are one alert.

A storm begins when at least `members` series become anomalous within `window`. A series that becomes anomalous later
joins it if another joined within the last `window`; after that the storm is closed. It ends when none of its members is
anomalous. A member that was normal for a whole window has left it.

A pending alert whose series becomes a member ends without a notification; the storm counts its waiting time (`for`).
A firing alert of a member stays, because "resolved" for a series that is still anomalous would be wrong.

A pending storm of which less than half of `members` are left is dissolved: each remaining series waits by itself,
since it became anomalous. A firing storm stays, however small it gets.

The result follows from the alerts and storms before and from the states now: a slot that is replayed after a crash
gives the same storms.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import fingerprint
from exporter.alerting.label_index import Hashes, LabelIndex, Labels, Rows
from exporter.alerting.settings import StormSettings

__all__ = [
    "StormAssignment",
    "Naming",
    "RowAlert",
    "RowStates",
    "OpenStorm",
    "assign_storms",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Naming = Callable[[Labels, int], dict[str, str]]
"""From the labels that identify a storm, and its number, to the labels of its alert."""


@dataclass(frozen=True, slots=True)
class OpenStorm:
    """One storm whose alert is open.

    Attributes
    ----------
    identity : str
        Fingerprint of its alert.
    key : tuple of (name, value)
        Labels of `by` that all members share.
    number : int
        Distinguishes storms with the same key that are open at the same time; 1 for the first.
    grown_at : float, Unix seconds
        When the last member joined.
    total : int
        How many have joined so far.
    members : ndarray of uint64
        Hashes of the series.
    joined, left : ndarray of float64, Unix seconds
        When each member became anomalous, and since when it is normal again; NaN while it is not.
    """

    identity: str
    key: Labels
    number: int
    grown_at: float
    total: int
    members: Hashes
    joined: FloatArray
    left: FloatArray

    @property
    def active(self) -> int:
        """How many members were anomalous in their newest sample."""
        return int(np.count_nonzero(np.isnan(self.left)))


@dataclass(frozen=True, slots=True)
class RowStates:
    """The state of every row in this slot; arrays of shape (size,).

    Attributes
    ----------
    anomalous
        And old enough to alert.
    scored
        Whether anything can be said.
    present
        Whether the answer has a sample.
    silenced
        Rows that join no storm, because a silence covers their alerts and would not cover the storm's. None: no row.
    """

    at: float
    anomalous: BoolArray
    scored: BoolArray
    present: BoolArray
    silenced: BoolArray | None = None

    @property
    def eligible(self) -> BoolArray:
        """Anomalous rows that may be in a storm."""
        return self.anomalous if self.silenced is None else self.anomalous & ~self.silenced


@dataclass(frozen=True, slots=True)
class RowAlert:
    """The open alert of a single series."""

    identity: str
    active_at: float
    fired: bool


@dataclass(frozen=True, slots=True)
class StormAssignment:
    """Which rows are in which storm now.

    Attributes
    ----------
    storms : tuple of OpenStorm
        Those that were open before and those that begin; a storm is over when its alert is.
    rows : mapping
        By identity: the members that are anomalous now.
    begun : mapping
        By identity, of the storms that begin: the labels of the alert, and since when its first member has waited.
    alone : ndarray of intp
        Anomalous rows that alert by themselves.
    since : mapping
        By row, of members of dissolved storms: when the series became anomalous.
    absorbed : frozenset of str
        Fingerprints of pending alerts that end because a storm replaces them, or because their storm is dissolved.
    missing, unknown : frozenset of str
        Identities of storms of whose members nothing is seen, or nothing can be said.
    """

    storms: tuple[OpenStorm, ...]
    rows: Mapping[str, Rows]
    begun: Mapping[str, tuple[dict[str, str], float]]
    alone: Rows
    since: Mapping[int, float] = field(default_factory=dict)
    absorbed: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()


def assign_storms(
    settings: StormSettings,
    storms: Iterable[OpenStorm],
    states: RowStates,
    index: LabelIndex,
    row_alerts: Mapping[int, RowAlert],
    *,
    waiting: Collection[str],
    taken: Collection[str],
    name: Naming,
    sent: Mapping[str, tuple[int, float]] = MappingProxyType({}),
    joins_any: bool = False,
) -> StormAssignment:
    """Assign the anomalous rows of a slot to storms.

    Parameters
    ----------
    settings : StormSettings
    storms : iterable of OpenStorm
        Those whose alerts are open.
    states : RowStates
    index : LabelIndex
        Of the same rows.
    row_alerts : mapping
        By row: the open alerts of single series.
    waiting : collection of str
        Identities of pending storms.
    taken : collection of str
        Fingerprints of all open alerts.
    name : callable
        Gives a storm its labels.
    sent : mapping
        By fingerprint: number and beginning of the storms that another replica sends and that are not open here.
    joins_any : bool
        Whether what begins here may have begun long ago: this process has just been started.
    """
    slot = _StormSlot(settings, states, index, row_alerts)
    slot.sent, slot.joins_any = sent, joins_any
    for storm in storms:
        slot.advance(storm)
    slot.join()
    slot.begin(name, set(taken))
    slot.dissolve(waiting)
    return slot.assignment()


class _StormSlot:
    """One slot of `assign_storms`, in the order of its methods."""

    def __init__(
        self, settings: StormSettings, states: RowStates, index: LabelIndex, row_alerts: Mapping[int, RowAlert]
    ) -> None:
        self._settings = settings
        self._states = states
        self._index = index
        self._row_alerts = row_alerts
        self._storms: dict[str, OpenStorm] = {}
        self._rows: dict[str, Rows] = {}
        self._begun: dict[str, tuple[dict[str, str], float]] = {}
        self._since: dict[int, float] = {}
        self._absorbed: set[str] = set()
        self._missing: set[str] = set()
        self._unknown: set[str] = set()
        self._unassigned = states.anomalous.copy()
        """Anomalous rows that are in no storm."""
        self._eligible = states.eligible
        self.sent: Mapping[str, tuple[int, float]] = {}
        self.joins_any = False

    def advance(self, storm: OpenStorm) -> None:
        """Update the members of a storm."""
        states = self._states
        rows = self._index.rows_of(storm.members)
        here = rows >= 0
        anomalous = here & _values_at(states.eligible, rows)
        normal = here & _values_at(states.scored, rows) & ~anomalous
        left = np.where(anomalous, np.nan, np.where(normal & np.isnan(storm.left), states.at, storm.left))
        # Not after now: the clock may have been set back.
        left = np.minimum(left, states.at)
        stays = np.isnan(left) | (states.at - left <= self._settings.window)
        self._unassigned[rows[anomalous]] = False
        self._rows[storm.identity] = rows[anomalous]
        self._storms[storm.identity] = replace(
            storm,
            members=storm.members[stays],
            joined=storm.joined[stays],
            left=left[stays],
            grown_at=min(storm.grown_at, states.at),
        )
        doubtful = np.isnan(left) & ~anomalous
        if not anomalous.any() and doubtful.any():
            seen = (here & _values_at(states.present, rows))[doubtful].any()
            (self._unknown if seen else self._missing).add(storm.identity)

    def join(self) -> None:
        """Add series that become anomalous now to the storms that are open to them."""
        settings = self._settings
        names = set(settings.by)
        free = [
            storm
            for storm in self._storms.values()
            if settings.enabled
            and self._states.at - storm.grown_at <= settings.window
            and {name for name, _ in storm.key} <= names
        ]
        if not free:
            return
        new = self._new_rows()
        numbers, keys = self._index.combinations(new, settings.by)
        # The newest storm of each key comes last; new members join it.
        by_key = {storm.key: storm for storm in sorted(free, key=lambda storm: storm.number)}
        for number, places in _by_number(numbers):
            if keys[number] in by_key:
                self._add(by_key[keys[number]], new[places], np.full(len(places), self._states.at))

    def begin(self, name: Naming, taken: set[str]) -> None:
        """Begin storms of series that became anomalous within the window."""
        settings, at = self._settings, self._states.at
        new = self._new_rows()
        recent = [
            row
            for row, alert in self._row_alerts.items()
            if self._unassigned[row] and self._eligible[row] and at - settings.window < alert.active_at <= at
        ]
        if not settings.enabled or len(new) + len(recent) < settings.members:
            return
        rows = np.concatenate([new, np.array(recent, np.intp)])
        onsets = np.concatenate([np.full(len(new), at), [self._row_alerts[row].active_at for row in recent]])
        numbers, keys = self._index.combinations(rows, settings.by)
        for number, places in _by_number(numbers):
            if len(places) >= settings.members:
                self._begin_storm(keys[number], rows[places], onsets[places], name, taken)

    def _begin_storm(self, key: Labels, rows: Rows, onsets: FloatArray, name: Naming, taken: set[str]) -> None:
        number, identity, labels = self._identify(key, float(onsets.min()), name, taken)
        taken.add(identity)
        alerts = (self._row_alerts.get(row) for row in rows.tolist())
        waiting = [alert for alert in alerts if alert is not None and not alert.fired]
        self._absorbed.update(alert.identity for alert in waiting)
        since = min((alert.active_at for alert in waiting), default=self._states.at)
        self._begun[identity] = (labels, since)
        none: Hashes = np.zeros(0, np.uint64)
        storm = OpenStorm(identity, key, number, self._states.at, 0, none, np.zeros(0), np.zeros(0))
        self._storms[identity], self._rows[identity] = storm, np.zeros(0, np.intp)
        self._add(storm, rows, onsets)

    def _identify(
        self, key: Labels, onset: float, name: Naming, taken: Collection[str]
    ) -> tuple[int, str, dict[str, str]]:
        """Return number, fingerprint and labels of a storm that begins: those that another replica gave it, if any.

        A storm of another replica that began long before is another one, and its number is taken.
        """

        def storm(number: int) -> tuple[int, str, dict[str, str]]:
            labels = name(key, number)
            return number, fingerprint(labels), labels

        # Those with lower numbers may be over since.
        numbered = (storm(number) for number in {number for number, _ in self.sent.values()})
        begun = [(self.sent[each[1]][1], each) for each in numbered if each[1] in self.sent]
        same = [each for each in begun if self.joins_any or each[0] >= onset - self._settings.window]
        if same:
            return max(same, key=lambda each: (each[0], each[1][0]))[1]
        return next(each for each in map(storm, count(1)) if each[1] not in taken and each[1] not in self.sent)

    def dissolve(self, waiting: Collection[str]) -> None:
        """End pending storms with too few members; their members get their own alerts."""
        for identity, storm in list(self._storms.items()):
            few = 0 < 2 * storm.active < self._settings.members or not self._settings.enabled
            if identity not in waiting or not few:
                continue
            rows = self._rows.pop(identity)
            order = np.argsort(storm.members, kind="stable")
            place = order[np.searchsorted(storm.members, self._index.hashes[rows], sorter=order)]
            self._since.update(zip(rows.tolist(), storm.joined[place].tolist(), strict=True))
            self._unassigned[rows] = True
            self._absorbed.add(identity)
            self._missing.discard(identity)
            self._unknown.discard(identity)
            del self._storms[identity]

    def assignment(self) -> StormAssignment:
        """Return the result of the slot."""
        alone = self._unassigned.copy()
        # An alert of a single series resolves by itself.
        for row, alert in self._row_alerts.items():
            if self._states.anomalous[row] and alert.identity not in self._absorbed:
                alone[row] = True
        return StormAssignment(
            storms=tuple(self._storms.values()),
            rows=self._rows,
            begun=self._begun,
            alone=np.flatnonzero(alone),
            since=self._since,
            absorbed=frozenset(self._absorbed),
            missing=frozenset(self._missing),
            unknown=frozenset(self._unknown),
        )

    def _new_rows(self) -> Rows:
        """Return the anomalous rows that have neither a storm nor an alert."""
        new = self._unassigned & self._eligible
        new[list(self._row_alerts)] = False
        return np.flatnonzero(new)

    def _add(self, storm: OpenStorm, rows: Rows, joined: FloatArray) -> None:
        self._unassigned[rows] = False
        storm = self._storms[storm.identity]
        self._rows[storm.identity] = np.concatenate([self._rows[storm.identity], rows])
        self._storms[storm.identity] = replace(
            storm,
            grown_at=self._states.at,
            total=storm.total + len(rows),
            members=np.concatenate([storm.members, self._index.hashes[rows]]),
            joined=np.concatenate([storm.joined, joined]),
            left=np.concatenate([storm.left, np.full(len(rows), np.nan)]),
        )


def _values_at(values: BoolArray, rows: Rows) -> BoolArray:
    """Return the values of rows; of removed rows, -1, an arbitrary value."""
    return values[rows] if len(values) else np.zeros(len(rows), np.bool_)


def _by_number(numbers: Rows) -> Iterator[tuple[int, Rows]]:
    """Yield each number with the places that have it."""
    if not len(numbers):
        return
    order = np.argsort(numbers, kind="stable")
    places = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    yield from ((int(numbers[group[0]]), group) for group in places)
