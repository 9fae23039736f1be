"""State of one Alertmanager: its silences, also where it cannot list them, our alerts there, and its cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from exporter.calendar import TimeWindow
from exporter.delivery import ReceiverClock
from exporter.errors import AlertmanagerError, Reason
from exporter.silences.alert_status import AlertListing
from exporter.silences.alertmanager_api import AlertmanagerApi, Cluster
from exporter.silences.messages import Message
from exporter.silences.silence import Silence

__all__ = ["Peer", "clusters"]

_MOST_SINGLE = 100
"""Silences that are read one by one in a round where they cannot be listed."""


@dataclass
class Peer:
    """State of one Alertmanager; used by one thread at a time.

    Attributes
    ----------
    clock : ReceiverClock
    silences : sequence of Silence
        Those that were read, expired ones included.
    unread : sequence of Silence
        Silences that cannot be read, by the alerts that they silence.
    messages : sequence of Message
        Those of other exporters, and its own.
    read_at : float or None
        Monotonic seconds of the newest answer.
    answered : bool
        Whether its silences can be reconciled in this round.
    has_silences : bool
        Whether it knows of silences at all.
    agreed : bool
        Whether its clock and ours were alike in the last round.
    rejected : int
        Silences of the newest list that could not be decoded.
    fault : AlertmanagerError or None
        Why it could not list its silences in this round.
    trouble : str or None
        The reason that was logged last.
    alerts : AlertListing or None
        Our alerts; None where they could not be read in this round.
    alerts_trouble : str or None
        Why the alerts could not be read.
    """

    api: AlertmanagerApi
    clock: ReceiverClock
    silences: Sequence[Silence] = ()
    unread: Sequence[Silence] = ()
    messages: Sequence[Message] = ()
    read_at: float | None = None
    answered: bool = False
    has_silences: bool = True
    agreed: bool = True
    rejected: int = 0
    cluster: Cluster = field(default_factory=Cluster)
    fault: AlertmanagerError | None = None
    trouble: str | None = None
    alerts: AlertListing | None = None
    alerts_trouble: str | None = None

    @property
    def url(self) -> str:
        """Its key everywhere."""
        return self.api.key

    @property
    def reachable(self) -> bool:
        """Whether it may answer other requests in this round."""
        return self.fault is None or self.fault.status is not None or self.fault.reason in _OF_THE_LIST

    def read(self, max_bytes: int, created: Iterable[str], *, cluster: bool, at: float, mono: float) -> None:
        """Read its silences, and its cluster where asked for.

        Parameters
        ----------
        max_bytes : int
            Longest list that is read.
        created : iterable of str
            Ids of silences of ours that should not be over.
        at, mono : float
            Unix and monotonic seconds.
        """
        self.answered, self.fault = False, None
        try:
            listing = self.api.silences(max_bytes)
        except AlertmanagerError as fault:
            if fault.status in _NOT_THERE:
                # A receiver of alerts that is no Alertmanager: nothing is silenced there.
                self.silences, self.unread, self.has_silences = (), (), False
                return
            self.fault = fault
            if _is_broken(fault):
                self._read_single([*self._current(at), *created], at, mono)
        else:
            self.rejected, self.has_silences = listing.rejected, True
            self.messages = [each.message for each in listing.silences if each.message is not None]
            silences = [each for each in listing.silences if each.message is None]
            listed = silences if listing.complete else self._with_ended(silences, created, at)
            self.silences, self.unread = listed, ()
            self.read_at, self.answered = mono, True
        if cluster and self.answered:
            self.read_cluster()

    def read_cluster(self) -> None:
        """Read which others share its silences."""
        try:
            self.cluster = self.api.cluster()
        except AlertmanagerError as fault:
            self.fault, self.answered = fault, False

    def take_alerts(self, alerts: AlertListing | None, *, at: float, mono: float) -> None:
        """Take the status of our alerts, which also says what silences are there that cannot be listed."""
        self.alerts = alerts
        if alerts is None or self.fault is None:
            self.unread = ()
            return
        silenced = list(alerts.silenced())
        if _is_broken(self.fault):
            by_id = {silence.id for silence in self.silences}
            self._read_single({identity for identity, _, _ in silenced} - by_id, at, mono)
        by_id = {silence.id for silence in self.silences}
        before = {silence.id: silence for silence in self.unread}
        certain = (Silence.unread(*each, at) for each in silenced if each[0] not in by_id)
        # The same objects, so that nothing is computed anew while nothing changes.
        self.unread = tuple(before.get(silence.id, silence) for silence in certain)

    def _current(self, at: float) -> list[str]:
        return [silence.id for silence in self.silences if not silence.expired and silence.window.end > at]

    def _read_single(self, identities: Iterable[str], at: float, mono: float) -> None:
        """Read these silences one by one; what cannot be read stays as it was read last."""
        by_id = {silence.id: silence for silence in self.silences}
        for identity in list(dict.fromkeys(identities))[:_MOST_SINGLE]:
            try:
                read = self.api.silence(identity)
            except AlertmanagerError as fault:
                if fault.status is None and fault.reason is not Reason.MALFORMED:
                    return
                # This may be the one that the list cannot be made of.
                continue
            if read is not None:
                by_id[identity] = by_id[identity] if by_id.get(identity) == read else read
            elif identity in by_id and not by_id[identity].expired:
                by_id[identity] = _ended(by_id[identity], at)
            self.read_at, self.answered = mono, True
        self.silences = list(by_id.values())

    def _with_ended(self, listed: Sequence[Silence], created: Iterable[str], at: float) -> list[Silence]:
        """Add those that are over to a list without them: they were read before, or can be asked for."""
        present = {silence.id for silence in listed}
        gone = {silence.id: silence for silence in self.silences if silence.id not in present}
        ended = {key: silence if silence.expired else _ended(silence, at) for key, silence in gone.items()}
        for identity in [key for key in created if key not in present and key not in gone][:_MOST_SINGLE]:
            with suppress(AlertmanagerError):
                silence = self.api.silence(identity)
                if silence is not None:
                    ended[identity] = silence
        return [*listed, *ended.values()]


_NOT_THERE = (404, 405, 410, 501)
_OF_THE_LIST = (Reason.TOO_LARGE, Reason.MALFORMED)


def _is_broken(fault: AlertmanagerError) -> bool:
    """Whether it is the list that cannot be had, and not the right to read it or the Alertmanager."""
    return fault.reason in _OF_THE_LIST or (fault.status is not None and fault.status >= 500)


def _ended(silence: Silence, at: float) -> Silence:
    window = TimeWindow(min(silence.window.start, at), min(silence.window.end, at))
    return replace(silence, expired=True, window=window)


def clusters(peers: Iterable[Peer]) -> list[list[Peer]]:
    """Group the Alertmanagers that share their silences."""
    groups: list[tuple[set[str], list[Peer]]] = []
    for peer in peers:
        members = set(peer.cluster.members)
        joined = [group for group in groups if group[0] & members]
        groups = [group for group in groups if not group[0] & members]
        names = members.union(*(group[0] for group in joined))
        groups.append((names, [*(each for group in joined for each in group[1]), peer]))
    return [group for _, group in groups]
