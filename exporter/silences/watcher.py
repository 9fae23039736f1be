"""Thread that reads silences and alert status of every Alertmanager, and reconciles the silences of the calendar."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry

from exporter.calendar import Calendar
from exporter.delivery import AlertmanagerSettings, ReceiverClocks
from exporter.errors import AlertmanagerError, Reason
from exporter.http_client import Client
from exporter.silences.alert_status import AlertListing, AlertStatus, SentAlert
from exporter.silences.alertmanager_api import AlertmanagerApi
from exporter.silences.created import CreatedSilences
from exporter.silences.messages import Exchange, Message
from exporter.silences.metrics import SilenceMetrics
from exporter.silences.peer import Peer, clusters
from exporter.silences.posting import Posting
from exporter.silences.reconciler import EndSilence, PutSilence, body_of, plan_silences, steps
from exporter.silences.settings import SilenceSettings
from exporter.silences.silence import Silence, SilenceIndex
from exporter.store import CreatedSilence, SilenceLog

__all__ = ["SilenceWatcher"]

log = logging.getLogger(__name__)

_READERS = 8
"""Alertmanagers that are read at the same time."""
_AGREES = 300.0
"""Seconds by which clocks may differ where silences are made and ended."""
_MOST_STEPS = 200
"""Silences that are created or ended in one round; the next round goes on."""


class SilenceWatcher:
    """Reads all silences in rounds, and reconciles those of the calendar.

    Parameters
    ----------
    connect : callable
        Makes the client of an Alertmanager.
    calendar : callable
        Returns the calendar in force.
    created_log : SilenceLog
        The silences that were created. An `ExporterError` of it is logged; the next round tries again.
    clock : callable
        Unix seconds.
    registry : CollectorRegistry
    alertnames : callable
        Returns the names of the alerts whose status is read, where there are any.
    on_read : callable
        Called after every round, in the watcher's thread, with the index and Unix seconds.
    exchange : Exchange, optional
        Messages to and from other exporters.
    clocks : ReceiverClocks, optional
        Shared with others that ask the same servers.
    monotonic : callable
        Seconds that never go back.
    """

    def __init__(
        self,
        *,
        connect: Callable[[AlertmanagerSettings], Client],
        calendar: Callable[[], Calendar],
        created_log: SilenceLog,
        clock: Callable[[], float],
        registry: CollectorRegistry,
        alertnames: Callable[[], frozenset[str]] = frozenset,
        on_read: Callable[[SilenceIndex, float], None] = lambda index, at: None,  # noqa: ARG005
        exchange: Exchange | None = None,
        clocks: ReceiverClocks | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._calendar = calendar
        self._created = CreatedSilences(created_log)
        self._clock = clock
        self._alertnames = alertnames
        self._on_read = on_read
        self._exchange = exchange or Exchange()
        self._posting = Posting()
        self._clocks = clocks or ReceiverClocks()
        self._monotonic = monotonic
        self._metrics = SilenceMetrics(registry)
        self._settings = SilenceSettings()
        self._peers: dict[str, Peer] = {}
        self._index = SilenceIndex()
        self._change = threading.Condition()
        self._wake = self._stopping = False
        self._first = threading.Event()
        self._thread = threading.Thread(target=self._run, name="silences", daemon=True)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="silences")

    @property
    def settings(self) -> SilenceSettings:
        """The settings in force."""
        return self._settings

    @property
    def index(self) -> SilenceIndex:
        """The silences of all Alertmanagers; the same object until one changes."""
        return self._index

    def status(self, labels: Mapping[str, str], since: float) -> tuple[AlertStatus, ...]:
        """Return the status of an alert that has fired since `since`, of each Alertmanager that could be read."""
        silences = {silence.id: silence for silence in self._index.silences}
        listings = ((url, peer.alerts) for url, peer in self._peers.items())
        statuses = (alerts.status(url, labels, since, silences) for url, alerts in listings if alerts is not None)
        return tuple(status for status in statuses if status is not None)

    def incident_labels(self, identity: str) -> Mapping[str, str]:
        """Return the labels of the incident under which an Alertmanager has an alert; empty where none has it so.

        Parameters
        ----------
        identity : str
            Fingerprint of the alert, which is that of its labels without these.
        """
        for peer in list(self._peers.values()):
            if peer.alerts is not None and identity in peer.alerts.incidents:
                return peer.alerts.incidents[identity]
        return {}

    def firing_since(self, identity: str) -> float | None:
        """Return since when an Alertmanager has an active alert, Unix seconds; None where none has it.

        Parameters
        ----------
        identity : str
            Fingerprint of the alert, which is that of its labels without those that it gets when it fires.
        """
        sent = self.sent_alerts().get(identity)
        return None if sent is None else sent.starts_at

    def sent_alerts(self) -> Mapping[str, SentAlert]:
        """Return the active alerts that Alertmanagers list, whoever sent them, by fingerprint; the first to begin."""
        sent: dict[str, SentAlert] = {}
        for peer in list(self._peers.values()):
            for identity, alert in () if peer.alerts is None else peer.alerts.sent.items():
                if identity not in sent or alert.starts_at < sent[identity].starts_at:
                    sent[identity] = alert
        return sent

    def listed_under(self, silence: str) -> int:
        """Return how many of our alerts, those of other processes included, an Alertmanager lists under a silence."""
        listings = [peer.alerts for peer in list(self._peers.values()) if peer.alerts is not None]
        return max((sum(each == silence for each, _, _ in alerts.silenced()) for alerts in listings), default=0)

    def troubles(self) -> dict[str, str | None]:
        """Return why each Alertmanager could not list its silences in the newest round; None where it could."""
        return {url: None if peer.fault is None else peer.fault.message for url, peer in self._peers.items()}

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin with the first round."""
        self._thread.start()

    def wait(self, timeout: float) -> None:
        """Wait until the first round has read silences, or failed to."""
        self._first.wait(timeout)

    def apply(self, alertmanagers: Sequence[AlertmanagerSettings], settings: SilenceSettings) -> None:
        """Watch these from now on; those that stay keep their state."""
        peers: dict[str, Peer] = {}
        for alertmanager in alertmanagers:
            old = self._peers.get(alertmanager.url)
            if old is not None and old.api.settings == alertmanager:
                peers[alertmanager.url] = old
            else:
                peers[alertmanager.url] = self._new_peer(alertmanager)
                self._metrics.add(alertmanager.url)
        removed = [old for url, old in self._peers.items() if peers.get(url) is not old]
        with self._change:
            self._peers, self._settings = peers, settings
            self._wake = True
            self._change.notify()
        for old in removed:
            old.api.cancel()
            old.api.close()
            if old.url not in peers:
                self._metrics.remove(old.url)

    def _new_peer(self, alertmanager: AlertmanagerSettings) -> Peer:
        clock = self._clocks.of(alertmanager.url)

        def note(date: str) -> None:
            clock.note(date, now=self._clock(), mono=self._monotonic())

        return Peer(AlertmanagerApi(alertmanager, self._connect(alertmanager), note), clock)

    def wake(self) -> None:
        """Begin the next round now, because the calendar changed."""
        with self._change:
            self._wake = True
            self._change.notify()

    def stop(self, timeout: float) -> None:
        """End within about `timeout` seconds. Silences stay as they are: each has its own end."""
        with self._change:
            self._stopping = True
            self._change.notify()
        for peer in list(self._peers.values()):
            peer.api.cancel()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._readers.shutdown(wait=False, cancel_futures=True)
        for peer in self._peers.values():
            peer.api.close()

    def _run(self) -> None:
        while not self._stopping:
            with self._change:
                self._wake = False
            try:
                self._round()
            except Exception:
                # Without this thread no silence is created, so no mistake in it may end it.
                if not self._stopping:
                    log.exception("a round of silences failed")
            with self._change:
                if not self._wake and not self._stopping:
                    self._change.wait(self._settings.interval)

    def _round(self) -> None:
        peers = list(self._peers.values())
        self._calendar().prepare(self._clock())
        plan = plan_silences(self._calendar(), self._clock())
        created = self._created.load(self._calendar(), self._peers.values())
        # Clusters only matter where there is a silence to create or to end.
        reconciling = bool(plan.needed) or any(not silence.removed for silence in created.values())
        at = self._clock()
        ours = [each.id for each in created.values() if not each.removed and each.ends_at > at]
        list(self._readers.map(lambda peer: self._read(peer, ours, cluster=reconciling and len(peers) > 1), peers))
        alertnames = self._alertnames()
        list(self._readers.map(lambda peer: self._read_alerts(peer, alertnames), peers))
        # What is listed says whether a level that was called normal is that of today.
        messages = self._share(peers)
        self._publish(peers)
        self._first.set()
        self._on_read(self._index, self._clock())
        if messages and not reconciling and len(peers) > 1:
            list(self._readers.map(Peer.read_cluster, [peer for peer in peers if peer.answered]))
        if (reconciling or messages) and not self._stopping:
            for cluster in clusters([peer for peer in peers if peer.answered and self._agrees(peer)]):
                present = {silence.id: silence for peer in cluster for silence in peer.silences}
                for step in steps(plan, list(present.values()), created, at=self._clock())[:_MOST_STEPS]:
                    self._apply_step(step, cluster)
                self._posting.post(messages, cluster, at=self._clock(), mono=self._monotonic())
            self._created.write(self._clock())

    def _share(self, peers: Sequence[Peer]) -> list[Message]:
        """Take the messages of other exporters; return those of this one that an Alertmanager does not list."""
        if not self._settings.share or (peers and not any(peer.answered or not peer.has_silences for peer in peers)):
            return []
        listed = {message.id: message for peer in peers for message in peer.messages}
        self._exchange.take(list(listed.values()), self._clock())
        pending, mono = self._exchange.pending(self._clock()), self._monotonic()
        answered = [peer for peer in peers if peer.answered]
        missing = [self._posting.missing(pending, {peer.url: peer.messages}, mono) for peer in answered]
        return list({message.id: message for messages in missing for message in messages}.values())

    # ------------------------------------------------------------------ read

    def _read(self, peer: Peer, created: Sequence[str], *, cluster: bool) -> None:
        before = peer.has_silences
        peer.read(self._settings.max_bytes, created, cluster=cluster, at=self._clock(), mono=self._monotonic())
        if peer.fault is not None:
            self._note_failure(peer, peer.fault)
            return
        if not peer.has_silences:
            if before:
                log.info("a receiver of alerts has no silences", extra={"alertmanager": peer.url})
            return
        if peer.trouble is not None:
            log.info("silences can be read again", extra={"alertmanager": peer.url})
        peer.trouble = None
        active = sum(not silence.expired for silence in peer.silences)
        self._metrics.read(peer.url, at=self._clock(), silences=active, not_understood=peer.rejected)

    def _read_alerts(self, peer: Peer, alertnames: frozenset[str]) -> None:
        """Read the status of our alerts, unless the Alertmanager has just failed to answer."""
        alerts, unread, error = None, peer.alerts_trouble, ""
        if not alertnames:
            alerts, unread = AlertListing(self._clock()), None
        elif peer.reachable:
            try:
                alerts = peer.api.alerts(alertnames, self._settings.max_bytes, at=self._clock())
                unread, error = (Reason.MALFORMED, alerts.error) if alerts.error else (None, "")
            except AlertmanagerError as fault:
                unread, error = fault.reason, fault.message
        if unread is not None and unread != peer.alerts_trouble and not self._stopping:
            more = {"alertmanager": peer.url, "reason": str(unread), "error": error}
            log.warning("alerts cannot be read", extra=more)
        peer.alerts_trouble = unread
        peer.take_alerts(alerts, at=self._clock(), mono=self._monotonic())
        if self._peers.get(peer.url) is peer:
            self._metrics.alert_states(peer.url, None if alerts is None else alerts.count())

    def _note_failure(self, peer: Peer, fault: AlertmanagerError) -> None:
        if self._stopping or self._peers.get(peer.url) is not peer:
            return
        self._metrics.errors_total.labels(peer.url, fault.reason).inc()
        # Logged once for every change of the reason, because an outage may last for hours.
        if peer.trouble != fault.reason:
            more = {"alertmanager": peer.url, "reason": str(fault.reason), "error": fault.message}
            log.warning("silences cannot be read or kept", extra=more)
        peer.trouble = fault.reason

    def _publish(self, peers: Sequence[Peer]) -> None:
        now = self._monotonic()
        fresh = [peer for peer in peers if peer.read_at is not None and now - peer.read_at <= self._settings.keep]
        read = (silence for peer in fresh for silence in peer.silences)
        index = SilenceIndex([*read, *(silence for peer in peers for silence in peer.unread)])
        if not index.same_as(self._index):
            self._index = index

    # ------------------------------------------------------------------ reconcile

    def _agrees(self, peer: Peer) -> bool:
        """Return whether an Alertmanager and we agree on what time it is: else the wrong silences would be ended."""
        theirs = peer.clock.at(self._monotonic())
        agrees = theirs is None or abs(theirs - self._clock()) <= _AGREES
        if not agrees and peer.agreed:
            log.warning("silences are left as they are: clocks differ", extra={"alertmanager": peer.url})
        peer.agreed = agrees
        return agrees

    def _apply_step(self, step: PutSilence | EndSilence, cluster: Sequence[Peer]) -> None:
        """Take a step in one member of a cluster, which passes it on to the others."""
        for peer in cluster:
            if self._stopping or (isinstance(step, EndSilence) and step.silence not in peer.silences):
                continue
            try:
                if isinstance(step, EndSilence):
                    self._end(step.silence, peer)
                else:
                    self._put(step, peer)
            except AlertmanagerError as fault:
                self._note_failure(peer, fault)
                continue
            self._metrics.changes_total.labels(peer.url, "end" if isinstance(step, EndSilence) else "make").inc()
            return

    def _end(self, silence: Silence, peer: Peer) -> None:
        peer.api.end_silence(silence)
        self._created.add(CreatedSilence(silence.id, silence.entry or "", silence.window.end, True))
        log.info("a silence was ended", extra=_log_fields(peer, silence.entry, silence.id))

    def _put(self, step: PutSilence, peer: Peer) -> None:
        occurrence = step.occurrence
        before = step.replaces if step.replaces in peer.silences else None
        identity = peer.api.put_silence(body_of(PutSilence(occurrence, before), at=self._clock()))
        self._created.add(CreatedSilence(identity, occurrence.name, occurrence.window.end))
        if before is not None and before.id != identity:
            # It could not be updated, so the Alertmanager ended it and created another.
            self._created.add(CreatedSilence(before.id, occurrence.name, before.window.end, True))
        log.info("a silence was made", extra=_log_fields(peer, occurrence.name, identity))


def _log_fields(peer: Peer, entry: str | None, identity: str) -> dict[str, object]:
    return {"alertmanager": peer.url, "entry": entry, "silence": identity}
