"""Storms: series of one query that turn anomalous together become one alert.

A storm begins when at least `members` series have turned within `window`. Who turns later joins it for as long as
somebody joined within the last `window`; then it is closed, and who turns after that has another story. It lasts until
none of its members is anomalous. A member that was usual for a whole window has left it.

An alert that still waits (`for`) when its series becomes a member ends unsaid, and the storm has waited for it. One
that fired keeps its own life, because "resolved" for a series that is still anomalous would be a lie.

A storm that still waits itself, and of which less than half of `members` are left, is dissolved: each of the rest waits
on by itself, since it turned. A storm that fires stays, however small it gets.

Everything follows from the alerts before, the storms before, and what is said now: a slot that is replayed after a
crash gives the same storms.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import fingerprint
from exporter.alerting.label_index import Hashes, LabelIndex, Labels, Rows
from exporter.alerting.settings import StormSettings

__all__ = [
    "StormAssignment",
    "StoredStorm",
    "Naming",
    "RowAlert",
    "RowStates",
    "OpenStorm",
    "decode_storms",
    "encode_storms",
    "assign_storms",
]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Naming = Callable[[Labels, int], dict[str, str]]
"""From the labels a storm stands for and its number to the labels of its alert."""


@dataclass(frozen=True, slots=True)
class OpenStorm:
    """One storm, as it is kept.

    Attributes
    ----------
    identity : str
        Fingerprint of its alert.
    key : tuple of (name, value)
        Labels of `by` that all members share.
    number : int
        Tells storms with one key apart that are open at the same time; 1 for the first.
    grown_at : float, Unix seconds
        When the last member joined.
    total : int
        How many have joined so far.
    members : ndarray of uint64
        Hashes of the series.
    joined, left : ndarray of float64, Unix seconds
        When each member turned anomalous, and since when it is usual again; NaN while it is not.
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
        """How many members were anomalous when they were seen last."""
        return int(np.count_nonzero(np.isnan(self.left)))


@dataclass(frozen=True, slots=True)
class RowStates:
    """What is said of every row in this slot; arrays of shape (size,).

    Attributes
    ----------
    anomalous
        And old enough to alert.
    known
        Whether anything can be said.
    present
        Whether the answer has a sample.
    apart
        Rows that are in no storm, because somebody silenced the alerts of theirs: the one of a storm is another, and
        would be heard. None: there are none.
    """

    at: float
    anomalous: BoolArray
    known: BoolArray
    present: BoolArray
    apart: BoolArray | None = None

    @property
    def gathering(self) -> BoolArray:
        """Anomalous rows that may be in a storm."""
        return self.anomalous if self.apart is None else self.anomalous & ~self.apart


@dataclass(frozen=True, slots=True)
class RowAlert:
    """The open alert that a series has of its own."""

    identity: str
    active_at: float
    fired: bool


@dataclass(frozen=True, slots=True)
class StormAssignment:
    """Who is in which storm now.

    Attributes
    ----------
    storms : tuple of Storm
        Those that were open before and those that begin; a storm is over when its alert is.
    rows : mapping
        By identity: the members that are anomalous now.
    begun : mapping
        By identity, of the storms that begin: the labels of the alert, and since when its first member has waited.
    alone : ndarray of intp
        Anomalous rows that alert by themselves.
    since : mapping
        By row, of members of dissolved storms: when the series turned.
    absorbed : frozenset of str
        Fingerprints of waiting alerts that end because a storm speaks for them or is dissolved.
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
    said: RowStates,
    population: LabelIndex,
    own: Mapping[int, RowAlert],
    *,
    waiting: Collection[str],
    taken: Collection[str],
    name: Naming,
) -> StormAssignment:
    """Find out which series turn together.

    Parameters
    ----------
    settings : StormSettings
    storms : iterable of Storm
        Those whose alerts are open.
    said : RowStates
    population : LabelIndex
        Of the same rows.
    own : mapping
        By row: the open alerts of single series.
    waiting : collection of str
        Identities of storms that have not fired so far.
    taken : collection of str
        Fingerprints of all open alerts.
    name : callable
        Gives a storm its labels.
    """
    turned = _Gatherer(settings, said, population, own)
    for storm in storms:
        turned.go_on(storm)
    turned.join()
    turned.begin(name, set(taken))
    turned.dissolve(waiting)
    return turned.gathered()


class _Gatherer:
    """One slot of `assign_storms`, in the order of its methods."""

    def __init__(
        self, settings: StormSettings, said: RowStates, population: LabelIndex, own: Mapping[int, RowAlert]
    ) -> None:
        self._settings = settings
        self._said = said
        self._population = population
        self._own = own
        self._storms: dict[str, OpenStorm] = {}
        self._rows: dict[str, Rows] = {}
        self._begun: dict[str, tuple[dict[str, str], float]] = {}
        self._since: dict[int, float] = {}
        self._absorbed: set[str] = set()
        self._missing: set[str] = set()
        self._unknown: set[str] = set()
        self._loose = said.anomalous.copy()
        """Anomalous rows that are in no storm."""
        self._free = said.gathering

    def go_on(self, storm: OpenStorm) -> None:
        """Bring the members of a storm up to now."""
        said = self._said
        rows = self._population.rows_of(storm.members)
        here = rows >= 0
        anomalous = here & _of(said.gathering, rows)
        usual = here & _of(said.known, rows) & ~anomalous
        left = np.where(anomalous, np.nan, np.where(usual & np.isnan(storm.left), said.at, storm.left))
        # Not after now: the clock may have been set back.
        left = np.minimum(left, said.at)
        stays = np.isnan(left) | (said.at - left <= self._settings.window)
        self._loose[rows[anomalous]] = False
        self._rows[storm.identity] = rows[anomalous]
        self._storms[storm.identity] = replace(
            storm,
            members=storm.members[stays],
            joined=storm.joined[stays],
            left=left[stays],
            grown_at=min(storm.grown_at, said.at),
        )
        doubtful = np.isnan(left) & ~anomalous
        if not anomalous.any() and doubtful.any():
            seen = (here & _of(said.present, rows))[doubtful].any()
            (self._unknown if seen else self._missing).add(storm.identity)

    def join(self) -> None:
        """Let series that turn now join the storms that are open to them."""
        settings = self._settings
        names = set(settings.by)
        free = [
            storm
            for storm in self._storms.values()
            if settings.enabled
            and self._said.at - storm.grown_at <= settings.window
            and {name for name, _ in storm.key} <= names
        ]
        if not free:
            return
        new = self._new_rows()
        numbers, keys = self._population.chosen(new, settings.by)
        # The newest of those with one key comes last, and is the one that is joined.
        by_key = {storm.key: storm for storm in sorted(free, key=lambda storm: storm.number)}
        for number, places in _together(numbers):
            if keys[number] in by_key:
                self._add(by_key[keys[number]], new[places], np.full(len(places), self._said.at))

    def begin(self, name: Naming, taken: set[str]) -> None:
        """Make storms of those who turned within the window."""
        settings, at = self._settings, self._said.at
        new = self._new_rows()
        recent = [
            row
            for row, alert in self._own.items()
            if self._loose[row] and self._free[row] and at - settings.window < alert.active_at <= at
        ]
        if not settings.enabled or len(new) + len(recent) < settings.members:
            return
        rows = np.concatenate([new, np.array(recent, np.intp)])
        onsets = np.concatenate([np.full(len(new), at), [self._own[row].active_at for row in recent]])
        numbers, keys = self._population.chosen(rows, settings.by)
        for number, places in _together(numbers):
            if len(places) >= settings.members:
                self._begin_one(keys[number], rows[places], onsets[places], name, taken)

    def _begin_one(self, key: Labels, rows: Rows, onsets: FloatArray, name: Naming, taken: set[str]) -> None:
        number, labels = 1, name(key, 1)
        while (identity := fingerprint(labels)) in taken:
            number += 1
            labels = name(key, number)
        taken.add(identity)
        waited = [one for one in (self._own.get(row) for row in rows.tolist()) if one is not None and not one.fired]
        self._absorbed.update(one.identity for one in waited)
        since = min((one.active_at for one in waited), default=self._said.at)
        self._begun[identity] = (labels, since)
        none: Hashes = np.zeros(0, np.uint64)
        storm = OpenStorm(identity, key, number, self._said.at, 0, none, np.zeros(0), np.zeros(0))
        self._storms[identity], self._rows[identity] = storm, np.zeros(0, np.intp)
        self._add(storm, rows, onsets)

    def dissolve(self, waiting: Collection[str]) -> None:
        """Give members of storms that have not fired and are hardly any more their own alerts."""
        for identity, storm in list(self._storms.items()):
            few = 0 < 2 * storm.active < self._settings.members or not self._settings.enabled
            if identity not in waiting or not few:
                continue
            rows = self._rows.pop(identity)
            order = np.argsort(storm.members, kind="stable")
            place = order[np.searchsorted(storm.members, self._population.hashes[rows], sorter=order)]
            self._since.update(zip(rows.tolist(), storm.joined[place].tolist(), strict=True))
            self._loose[rows] = True
            self._absorbed.add(identity)
            self._missing.discard(identity)
            self._unknown.discard(identity)
            del self._storms[identity]

    def gathered(self) -> StormAssignment:
        """Return what came of it."""
        alone = self._loose.copy()
        # What was said of a series alone is unsaid alone.
        for row, alert in self._own.items():
            if self._said.anomalous[row] and alert.identity not in self._absorbed:
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
        new = self._loose & self._free
        new[list(self._own)] = False
        return np.flatnonzero(new)

    def _add(self, storm: OpenStorm, rows: Rows, joined: FloatArray) -> None:
        self._loose[rows] = False
        storm = self._storms[storm.identity]
        self._rows[storm.identity] = np.concatenate([self._rows[storm.identity], rows])
        self._storms[storm.identity] = replace(
            storm,
            grown_at=self._said.at,
            total=storm.total + len(rows),
            members=np.concatenate([storm.members, self._population.hashes[rows]]),
            joined=np.concatenate([storm.joined, joined]),
            left=np.concatenate([storm.left, np.full(len(rows), np.nan)]),
        )


def _of(values: BoolArray, rows: Rows) -> BoolArray:
    """Return the values of rows; of those that are gone, -1, any."""
    return values[rows] if len(values) else np.zeros(len(rows), np.bool_)


def _together(numbers: Rows) -> Iterator[tuple[int, Rows]]:
    """Yield each number with the places that have it."""
    if not len(numbers):
        return
    order = np.argsort(numbers, kind="stable")
    places = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    yield from ((int(numbers[one[0]]), one) for one in places)


class StoredStorm(msgspec.Struct, frozen=True):
    """A storm in bytes."""

    identity: str
    key: list[tuple[str, str]]
    number: int
    grown_at: float
    total: int
    members: bytes
    joined: bytes
    left: bytes


def encode_storms(storms: Sequence[OpenStorm]) -> list[StoredStorm]:
    """Return storms as they are kept in the store."""
    return [
        StoredStorm(
            storm.identity,
            list(storm.key),
            storm.number,
            storm.grown_at,
            storm.total,
            storm.members.astype("<u8").tobytes(),
            storm.joined.astype("<f8").tobytes(),
            storm.left.astype("<f8").tobytes(),
        )
        for storm in storms
    ]


def decode_storms(kept: Iterable[StoredStorm]) -> tuple[OpenStorm, ...]:
    """Return storms from what the store kept; one that does not fit together is left out."""
    found = []
    for one in kept:
        if len(one.members) % 8 or not len(one.members) == len(one.joined) == len(one.left):
            continue
        members = np.frombuffer(one.members, "<u8").astype(np.uint64)
        joined, left = (np.frombuffer(part, "<f8").astype(np.float64) for part in (one.joined, one.left))
        key = tuple((name, value) for name, value in one.key)
        found.append(OpenStorm(one.identity, key, one.number, one.grown_at, one.total, members, joined, left))
    return tuple(found)
