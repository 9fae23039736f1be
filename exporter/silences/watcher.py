"""The thread that follows silences, keeps those of the calendar, and sees how alerts stand in every Alertmanager."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry

from exporter.calendar import Calendar
from exporter.delivery.metrics import SilenceMetrics
from exporter.delivery.settings import AlertmanagerSettings, SilenceSettings
from exporter.errors import AlertmanagerError, ExporterError
from exporter.silences.alert_status import Standings, Told
from exporter.silences.alertmanager_api import Cluster, Peer, Requester
from exporter.silences.reconciler import End, Made, Make, body_of, steps, wanted
from exporter.silences.silence import Silence, SilenceIndex

__all__ = ["SilenceLedger", "SilenceWatcher"]

log = logging.getLogger(__name__)

_READERS = 8
"""Alertmanagers that are asked at the same time."""
_MOST_STEPS = 200
"""Silences that are made or ended in one round; the next round goes on."""


class SilenceLedger(Protocol):
    """The part of the store that is used here; an ExporterError of it costs nothing but a repetition."""

    def made_silences(self) -> Mapping[str, Made]:
        """Return what was made, by id."""

    def note_silences(self, made: Iterable[Made]) -> None:
        """Note silences that were made or ended."""


@dataclass
class _Followed:
    """What is known of one Alertmanager."""

    peer: Peer
    silences: Sequence[Silence] = ()
    read_at: float | None = None
    """Monotonic seconds of the newest answer."""
    answered: bool = False
    """In this round."""
    cluster: Cluster = field(default_factory=Cluster)
    trouble: str | None = None
    standings: Standings | None = None
    """How our alerts stand there; None where that is not known now."""
    unread: str | None = None
    """Why they could not be read."""


class SilenceWatcher:
    """Reads all silences in rounds, and keeps those of the calendar. `book` is what is known now.

    Parameters
    ----------
    connect : callable
        Makes the client of an Alertmanager.
    calendar : callable
        Returns the calendar in force.
    ledger : SilenceLedger
    clock : callable
        Unix seconds.
    registry : CollectorRegistry
    alertnames : callable
        Returns the names of the alerts that fire; how they stand is read where there are any.
    followed : callable
        Told after every round, in the thread of the watch: the book, and now.
    monotonic : callable
        Seconds that never go back.
    """

    def __init__(
        self,
        *,
        connect: Callable[[AlertmanagerSettings], Requester],
        calendar: Callable[[], Calendar],
        ledger: SilenceLedger,
        clock: Callable[[], float],
        registry: CollectorRegistry,
        alertnames: Callable[[], frozenset[str]] = frozenset,
        followed: Callable[[SilenceIndex, float], None] = lambda book, at: None,  # noqa: ARG005
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._calendar = calendar
        self._ledger = ledger
        self._clock = clock
        self._alertnames = alertnames
        self._followed = followed
        self._monotonic = monotonic
        self._metrics = SilenceMetrics(registry)
        self._settings = SilenceSettings()
        self._all: dict[str, _Followed] = {}
        self._made: dict[str, Made] | None = None
        self._unnoted: dict[str, Made] = {}
        self._book = SilenceIndex()
        self._change = threading.Condition()
        self._wake = self._stopping = False
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run, name="silences", daemon=True)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="silences")

    @property
    def book(self) -> SilenceIndex:
        """What is known now; the same object for as long as nothing changes."""
        return self._book

    def told(self, labels: Mapping[str, str], since: float) -> tuple[Told, ...]:
        """Return what each Alertmanager makes of an alert that fires since then, as far as that is known now."""
        silences = {silence.id: silence for silence in self._book.silences}
        known = ((key, one.standings) for key, one in self._all.items())
        found = (one.told(key, labels, since, silences) for key, one in known if one is not None)
        return tuple(one for one in found if one is not None)

    @property
    def alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin with the first round."""
        self._thread.start()

    def wait(self, timeout: float) -> None:
        """Wait until silences were asked for, answered or not."""
        self._first.wait(timeout)

    def apply(self, alertmanagers: Sequence[AlertmanagerSettings], settings: SilenceSettings) -> None:
        """Follow these from now on; what is known of those that stay is kept."""
        kept: dict[str, _Followed] = {}
        for one in alertmanagers:
            old = self._all.get(one.url)
            if old is not None and old.peer.settings == one:
                kept[one.url] = old
            else:
                kept[one.url] = _Followed(Peer(one, self._connect(one)))
                self._metrics.add(one.url)
        gone = [old for key, old in self._all.items() if kept.get(key) is not old]
        with self._change:
            self._all, self._settings = kept, settings
            self._wake = True
            self._change.notify()
        for old in gone:
            old.peer.cancel()
            old.peer.close()
            if old.peer.key not in kept:
                self._metrics.remove(old.peer.key)

    def poke(self) -> None:
        """Begin the next round now, because the calendar changed."""
        with self._change:
            self._wake = True
            self._change.notify()

    def stop(self, timeout: float) -> None:
        """End within about `timeout` seconds. Silences stay as they are: each has its own end."""
        with self._change:
            self._stopping = True
            self._change.notify()
        for one in list(self._all.values()):
            one.peer.cancel()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._readers.shutdown(wait=False, cancel_futures=True)
        for one in self._all.values():
            one.peer.close()

    def _run(self) -> None:
        while not self._stopping:
            with self._change:
                self._wake = False
            try:
                self._round()
            except Exception:
                # Without this thread nobody is silenced, so no mistake in it may end it.
                if not self._stopping:
                    log.exception("a round of silences failed")
            with self._change:
                if not self._wake and not self._stopping:
                    self._change.wait(self._settings.interval)

    def _round(self) -> None:
        everyone = list(self._all.values())
        plan = wanted(self._calendar(), self._clock())
        made = self._remembered()
        # Who is in a cluster with whom only matters where there is something to keep.
        keeping = bool(plan.needed) or any(not one.removed for one in made.values())
        list(self._readers.map(lambda one: self._read(one, cluster=keeping and len(everyone) > 1), everyone))
        firing = self._alertnames()
        list(self._readers.map(lambda one: self._see(one, firing), everyone))
        self._publish(everyone)
        self._first.set()
        self._followed(self._book, self._clock())
        if keeping and not self._stopping:
            for group in _clusters([one for one in everyone if one.answered]):
                present = {silence.id: silence for one in group for silence in one.silences}
                for step in steps(plan, list(present.values()), made, at=self._clock())[:_MOST_STEPS]:
                    self._do(step, group)
            self._note()

    # ------------------------------------------------------------------ read

    def _read(self, one: _Followed, *, cluster: bool) -> None:
        one.answered = False
        try:
            one.silences, rejected = one.peer.silences(self._settings.max_bytes)
            one.cluster = one.peer.cluster() if cluster else one.cluster
        except AlertmanagerError as fault:
            self._failed(one, fault)
            return
        one.read_at, one.answered = self._monotonic(), True
        if one.trouble is not None:
            log.info("silences can be read again", extra={"alertmanager": one.peer.key})
        one.trouble = None
        living = sum(not silence.expired for silence in one.silences)
        self._metrics.read(one.peer.key, at=self._clock(), silences=living, not_understood=rejected)

    def _see(self, one: _Followed, firing: frozenset[str]) -> None:
        """Read how our alerts stand. One that did not answer a moment ago is not asked again."""
        found, unread = None, one.unread
        if not firing:
            found, unread = Standings(self._clock()), None
        elif one.answered:
            try:
                found = one.peer.standings(firing, self._settings.max_bytes, at=self._clock())
                unread = None
            except AlertmanagerError as fault:
                unread = fault.reason
                if not self._stopping and one.unread != unread:
                    more = {"alertmanager": one.peer.key, "reason": str(fault.reason), "error": fault.message}
                    log.warning("alerts cannot be read", extra=more)
        one.standings, one.unread = found, unread
        if self._all.get(one.peer.key) is one:
            self._metrics.stand(one.peer.key, None if found is None else found.count())

    def _failed(self, one: _Followed, fault: AlertmanagerError) -> None:
        if self._stopping or self._all.get(one.peer.key) is not one:
            return
        self._metrics.errors_total.labels(one.peer.key, fault.reason).inc()
        # Once for every change, because it may go on for hours.
        if one.trouble != fault.reason:
            more = {"alertmanager": one.peer.key, "reason": str(fault.reason), "error": fault.message}
            log.warning("silences cannot be read or kept", extra=more)
        one.trouble = fault.reason

    def _publish(self, everyone: Sequence[_Followed]) -> None:
        now = self._monotonic()
        fresh = [one for one in everyone if one.read_at is not None and now - one.read_at <= self._settings.keep]
        book = SilenceIndex(silence for one in fresh for silence in one.silences)
        if not book.same_as(self._book):
            self._book = book

    # ------------------------------------------------------------------ keep

    def _do(self, step: Make | End, group: Sequence[_Followed]) -> None:
        """Take a step in one member of a cluster; the others hear of it from that one."""
        for one in group:
            if self._stopping or (isinstance(step, End) and step.silence not in one.silences):
                continue
            try:
                if isinstance(step, End):
                    one.peer.end(step.silence)
                    self._remember(Made(step.silence.id, step.silence.entry or "", step.silence.window.end, True))
                    log.info("a silence was ended", extra=_told(one, step.silence.entry, step.silence.id))
                else:
                    self._make(step, one)
            except AlertmanagerError as fault:
                self._failed(one, fault)
                continue
            self._metrics.changes_total.labels(one.peer.key, "end" if isinstance(step, End) else "make").inc()
            return

    def _make(self, step: Make, one: _Followed) -> None:
        occurrence = step.occurrence
        before = step.instead if step.instead in one.silences else None
        identity = one.peer.make(body_of(Make(occurrence, before), at=self._clock()))
        self._remember(Made(identity, occurrence.name, occurrence.window.end))
        if before is not None and before.id != identity:
            # It could not be changed, so the Alertmanager ended it and made another.
            self._remember(Made(before.id, occurrence.name, before.window.end, True))
        log.info("a silence was made", extra=_told(one, occurrence.name, identity))

    def _remembered(self) -> dict[str, Made]:
        if self._made is None:
            try:
                self._made = dict(self._ledger.made_silences())
            except ExporterError as fault:
                log.warning("silences that were made are not known", extra={"error": str(fault)})
                return dict(self._unnoted)
        # Ours that another replica made, or that we made and could not note, are taken as made by us.
        entries = {entry.name for entry in self._calendar().entries} | {one.name for one in self._calendar().announced}
        for one in self._all.values():
            for silence in one.silences:
                if silence.entry in entries and not silence.expired and silence.id not in self._made:
                    self._remember(Made(silence.id, silence.entry or "", silence.window.end))
        return self._made

    def _remember(self, made: Made) -> None:
        if self._made is not None:
            self._made[made.id] = made
        self._unnoted[made.id] = made

    def _note(self) -> None:
        if not self._unnoted:
            return
        try:
            self._ledger.note_silences(list(self._unnoted.values()))
        except ExporterError as fault:
            log.warning("silences that were made could not be noted", extra={"error": str(fault)})
        else:
            self._unnoted = {}


def _clusters(followed: Iterable[_Followed]) -> list[list[_Followed]]:
    """Put those together that share their silences."""
    groups: list[tuple[set[str], list[_Followed]]] = []
    for one in followed:
        members = set(one.cluster.members)
        joined = [group for group in groups if group[0] & members]
        groups = [group for group in groups if not group[0] & members]
        names = members.union(*(group[0] for group in joined))
        groups.append((names, [*(each for group in joined for each in group[1]), one]))
    return [group for _, group in groups]


def _told(one: _Followed, entry: str | None, identity: str) -> dict[str, object]:
    return {"alertmanager": one.peer.key, "entry": entry, "silence": identity}
