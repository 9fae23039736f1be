"""The next request to one Alertmanager, and the state that its outcome changes. No socket, no thread, no clock.

There is no queue of requests. What is due follows from the current alerts (the snapshot) and what the Alertmanager has
accepted (the acks), so nothing can overflow, get lost or be sent in the wrong order: a request that failed leaves
everything due, and the next one is built from the alerts at that time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf

from exporter.alerting.alert import Alert, AlertState
from exporter.alerting.labels import validate
from exporter.alerting.settings import AlertingSettings
from exporter.delivery.alert_snapshot import QueryAlerts, Snapshot
from exporter.delivery.other_senders import Ending, OtherSenders
from exporter.delivery.payload import Outgoing, payload, validity
from exporter.delivery.resend_policy import Ack, Due, due, owes_resolved
from exporter.delivery.response import DeliveryOutcome, ResponseKind
from exporter.delivery.settings import AlertmanagerSettings

__all__ = ["AlertBatch", "RejectedAlert", "Outbox", "Settlement"]

_FIRST_WAIT = 0.5
_LEAST_WAIT = 0.05
_LONGEST_WAIT = 30.0
_QUARANTINE = 900.0
_RESCAN = 5.0
"""Seconds after which all alerts are scanned again although nothing was published."""
_SOON = 1.0
"""Seconds after which the end of an alert is considered again that another sender may keep active."""
_MOST_REJECTIONS = 32
"""Rejected requests in a row after which to back off: the fault may be that of the Alertmanager, not of the alerts."""


@dataclass(frozen=True, slots=True)
class RejectedAlert:
    """An alert in quarantine for 15 minutes because it was rejected."""

    alert: Alert
    text: str


@dataclass(frozen=True, slots=True)
class AlertBatch:
    """One request: its alerts as they were when it was built, the slot of each, and its body."""

    alerts: tuple[Alert, ...]
    slots: tuple[float, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Settlement:
    """Result of a request.

    Attributes
    ----------
    acked : tuple of (fingerprint, episode, state)
        As sent.
    early : int
        Of these, resolved episodes that this Alertmanager had not accepted as firing before.
    wait : float
        Seconds until the next request.
    """

    acked: tuple[tuple[str, str, AlertState], ...] = ()
    early: int = 0
    wait: float = 0.0


class Outbox:
    """The delivery state of one Alertmanager.

    Parameters
    ----------
    settings : AlertmanagerSettings
    limits : AlertingSettings
    random : callable
        Uniform in [0, 1), for the jitter of retries.
    acks : mapping
        By fingerprint: what it had accepted before this start.
    """

    def __init__(
        self,
        settings: AlertmanagerSettings,
        limits: AlertingSettings,
        *,
        random: Callable[[], float],
        acks: Mapping[str, Ack] | None = None,
    ) -> None:
        self.utf8 = False
        """Whether label names are sent as they are; else they are rewritten."""
        self.others = OtherSenders()
        """Who else sends the same alerts."""
        self.wants_listing = False
        """Whether it has to be known what the Alertmanager lists, before the end of an alert may be sent."""
        self.started = -inf
        """Since when the Alertmanager runs, monotonic seconds, where it says so."""
        self._random = random
        self._acks = dict(acks or {})
        self._fails = 0
        self._rejections = 0
        self._retry_at = 0.0
        self._suspects: list[str] = []
        self._quarantine: dict[str, float] = {}
        self._rejected: list[RejectedAlert] = []
        self._final: float | None = None
        self._snapshot: Snapshot | None = None
        self._query_alerts: dict[str, QueryAlerts] = {}
        self._queue: list[str] = []
        self._rescan_at = 0.0
        self._dirty: dict[str, float] = {}
        self._limit = settings.batch_size
        self.configure(settings, limits)

    def configure(self, settings: AlertmanagerSettings, limits: AlertingSettings) -> None:
        """Use other settings from the next request on; acks stay."""
        if settings.utf8_labels is not None:
            self.utf8 = settings.utf8_labels
        self._settings = settings
        self._limits = limits
        self._limit = min(self._limit, settings.batch_size)
        self._retry_at = 0.0
        self._snapshot = None

    def flush(self, mono: float, *, resend_firing: bool) -> None:
        """Send what is due without waiting, before a shutdown.

        Parameters
        ----------
        mono : float
            Monotonic seconds.
        resend_firing : bool
            Send every firing alert once more, whenever it was sent last.
        """
        if resend_firing:
            self._final = mono
        self._fails = 0
        self._retry_at = 0.0
        self._snapshot = None

    @property
    def dirty(self) -> int:
        """How many alerts were due at the last scan."""
        return len(self._dirty)

    @property
    def oldest_dirty(self) -> float | None:
        """Since when the oldest due alert is due, in monotonic seconds."""
        # A copy, because metrics are read by another thread.
        return min(list(self._dirty.values()), default=None)

    def next(self, snapshot: Snapshot, *, now: float, mono: float, theirs: float | None = None) -> AlertBatch | None:
        """Return the next request, or None if there is nothing to send before `wake_at`.

        Parameters
        ----------
        snapshot : Snapshot
            The newest.
        now : float
            Unix seconds.
        mono : float
            Monotonic seconds.
        theirs : float, optional
            What time it is at the Alertmanager, Unix seconds.
        """
        self.wants_listing = False
        if snapshot is not self._snapshot or mono >= self._rescan_at:
            self._scan(snapshot, now, mono)
        if mono < self._retry_at:
            return None
        candidates = self._suspects[: (len(self._suspects) + 1) // 2] or self._queue
        alerts: list[Alert] = []
        slots: list[float] = []
        outgoing: list[Outgoing] = []
        for identity in candidates:
            if len(alerts) >= self._limit:
                break
            due_alert = self._pick(snapshot, identity, now, mono)
            if due_alert is None:
                continue
            alert, _ = due_alert
            if faults := validate(alert):
                self._put_in_quarantine(alert, "; ".join(faults), mono)
                continue
            query_alerts = self._query_alerts[identity]
            alerts.append(alert)
            slots.append(query_alerts.at)
            outgoing.append(Outgoing(alert, validity(query_alerts.interval, self._limits.resend_delay)))
        if alerts:
            body = payload(outgoing, now=now, theirs=theirs, utf8=self.utf8)
            return AlertBatch(tuple(alerts), tuple(slots), body)
        if self._suspects:
            # No suspect of that half is still due; the fault, if it remains, is in the other alerts.
            self._suspects = []
            return self.next(snapshot, now=now, mono=mono, theirs=theirs)
        return None

    def take_listing(self, updates: Mapping[str, float], *, skew: float, mono: float) -> None:
        """Take what the Alertmanager lists; see `OtherSenders.take`."""
        self.others.take(updates, skew=skew, mono=mono)
        self._rescan_at = mono

    def note_start(self, started: float) -> None:
        """Take since when the Alertmanager runs, monotonic seconds."""
        if started != self.started:
            self.started, self._snapshot = started, None

    @property
    def ended_names(self) -> frozenset[str]:
        """Values of `alertname` of the alerts that are over."""
        return frozenset(
            alert.labels.get("alertname", "")
            for identity, alerts in self._query_alerts.items()
            if (alert := alerts.alerts[identity]).state is AlertState.RESOLVED or self._has_ended_before(identity)
        )

    def _has_ended_before(self, identity: str) -> bool:
        return self._snapshot is not None and identity in self._snapshot.superseded

    @property
    def ends_accepted(self) -> bool:
        """Whether the Alertmanager has accepted ends that it would have lost if it was started since."""
        return any(
            ack.state is AlertState.RESOLVED and identity in self._query_alerts for identity, ack in self._acks.items()
        )

    def wake_at(self, mono: float) -> float:
        """Return when to call `next` again if nothing is published before, in monotonic seconds."""
        return min(self._rescan_at, self._retry_at) if self._queue and mono < self._retry_at else self._rescan_at

    def settle(self, batch: AlertBatch, outcome: DeliveryOutcome, *, mono: float) -> Settlement:
        """Update the state by the outcome of a request."""
        if outcome.kind is ResponseKind.ACCEPTED:
            return self._accept(batch, mono)
        suspects, self._suspects = self._suspects, []
        if outcome.kind is ResponseKind.REJECTED and self._rejections < _MOST_REJECTIONS:
            self._rejections += 1
            # The rejected alert is in this batch. Other alerts stay due and follow with the next requests.
            self._suspects = [alert.fingerprint for alert in batch.alerts]
            self._isolate(mono, outcome.text)
            return Settlement()
        if outcome.kind is ResponseKind.TOO_LARGE and len(batch.alerts) > 1:
            self._limit = max(1, len(batch.alerts) // 2)
            self._suspects = suspects
            return Settlement()
        if outcome.kind is ResponseKind.TOO_LARGE:
            self._put_in_quarantine(batch.alerts[0], outcome.text, mono)
            return Settlement()
        self._fails += 1
        self._rejections = 0
        longest = min(_LONGEST_WAIT, validity(0.0, self._limits.resend_delay) / 8)
        wait = longest
        if outcome.kind is ResponseKind.LATER:
            window = min(longest, _FIRST_WAIT * 2.0 ** min(self._fails - 1, 16))
            wait = max(window * self._random(), _LEAST_WAIT, outcome.wait)
        self._retry_at = mono + wait
        return Settlement(wait=wait)

    def take_rejected(self) -> list[RejectedAlert]:
        """Return the alerts that were put in quarantine since the last call."""
        rejected, self._rejected = self._rejected, []
        return rejected

    def _accept(self, batch: AlertBatch, mono: float) -> Settlement:
        early = 0
        acked = []
        for alert, slot in zip(batch.alerts, batch.slots, strict=True):
            before = self._acks.get(alert.fingerprint)
            accepted_before = before is not None and before.episode == alert.episode
            early += alert.state is AlertState.RESOLVED and not accepted_before
            repeated = before is not None and accepted_before and alert.state is before.state is AlertState.RESOLVED
            self._acks[alert.fingerprint] = Ack(alert.episode, alert.state, slot, mono, repeated=repeated)
            self._dirty.pop(alert.fingerprint, None)
            acked.append((alert.fingerprint, alert.episode, alert.state))
        self._fails = self._rejections = 0
        self._retry_at = 0.0
        # Slowly, because each step too far costs a rejected request.
        self._limit = min(self._settings.batch_size, self._limit + max(1, self._limit // 16))
        sent = {alert.fingerprint for alert in batch.alerts}
        self._queue = [identity for identity in self._queue if identity not in sent]
        if self._snapshot is not None and sent & self._snapshot.superseded.keys():
            # The end of an episode may have been sent, and the next one waits for it.
            self._snapshot = None
        if self._suspects:
            # The rejected alert is not in this half, so it is in the other.
            self._suspects = [identity for identity in self._suspects if identity not in sent]
            self._isolate(mono, "refused together with others that were taken without it")
        return Settlement(tuple(acked), early)

    def _isolate(self, mono: float, text: str) -> None:
        if len(self._suspects) != 1 or self._snapshot is None:
            return
        identity = self._suspects.pop()
        if identity in self._query_alerts:
            self._put_in_quarantine(self._query_alerts[identity].alerts[identity], text, mono)

    def _put_in_quarantine(self, alert: Alert, text: str, mono: float) -> None:
        self._quarantine[alert.fingerprint] = mono + _QUARANTINE
        self._rejected.append(RejectedAlert(alert, text))

    def _scan(self, snapshot: Snapshot, now: float, mono: float) -> None:
        """Determine all due alerts, in the order in which they are sent."""
        self._snapshot = snapshot
        self._rescan_at = mono + _RESCAN
        self._quarantine = {identity: until for identity, until in self._quarantine.items() if until > mono}
        self._query_alerts = {identity: alerts for alerts in snapshot.by_query.values() for identity in alerts.alerts}
        # Acks from before this start are kept until their query has had its first slot.
        self._acks = {
            identity: ack
            for identity, ack in self._acks.items()
            if identity in self._query_alerts or mono - ack.at < self._limits.outage_tolerance
        }
        due_alerts: list[tuple[Due, float, str]] = []
        for identity in self._query_alerts:
            picked = self._pick(snapshot, identity, now, mono)
            if picked is not None:
                alert, why = picked
                since = alert.resolved_at if why is Due.RESOLVED else alert.fired_at
                due_alerts.append((why, since or 0.0, identity))
        due_alerts.sort()
        self._queue = [identity for _, _, identity in due_alerts]
        self._dirty = {identity: self._dirty.get(identity, mono) for identity in self._queue}

    def _pick(self, snapshot: Snapshot, identity: str, now: float, mono: float) -> tuple[Alert, Due] | None:
        """Return the alert of a fingerprint that has to be sent now, and why."""
        if identity in self._quarantine or identity not in self._query_alerts:
            return None
        query_alerts = self._query_alerts[identity]
        alert = query_alerts.alerts[identity]
        ack = self._acks.get(identity)
        last = snapshot.superseded.get(identity)
        if last is not None and owes_resolved(last, alert, ack, self._limits, now=now):
            # Where another sender keeps it active, one episode goes over into the next.
            if self._may_end(last, query_alerts, ack, now, mono):
                return last, Due.RESOLVED
            if alert.state is not AlertState.FIRING:
                return None
        if alert.state is AlertState.PENDING and ack is not None and ack.episode == alert.episode:
            # It had fired before `for` was raised. It is sent when it fires again, and then at once.
            self._acks[identity] = replace(ack, state=AlertState.PENDING)
        paired = self.others.at_work
        why = due(alert, ack, query_alerts, self._limits, now=now, mono=mono, started=self.started, paired=paired)
        over = alert.state is AlertState.RESOLVED and why is not None
        if over and not self._may_end(alert, query_alerts, ack, now, mono):
            return None
        if why is None and self._is_final_resend(alert, ack, query_alerts):
            why = Due.AGAIN
        return None if why is None else (alert, why)

    def _may_end(self, alert: Alert, query_alerts: QueryAlerts, ack: Ack | None, now: float, mono: float) -> bool:
        """Return whether the end of an alert may be sent now."""
        sent_at = -inf if ack is None or ack.state is not AlertState.FIRING else now - (mono - ack.at)
        resend_delay = self._limits.resend_delay
        ending = self.others.ending(
            alert, sent_at, interval=query_alerts.interval, resend_delay=resend_delay, now=now, mono=mono
        )
        if ending is Ending.SEND:
            return True
        self.wants_listing |= ending is Ending.LOOK
        wait = _SOON
        if ending is Ending.WAIT:
            wait = self.others.wait(alert, interval=query_alerts.interval, resend_delay=resend_delay, now=now)
        self._rescan_at = min(self._rescan_at, mono + wait)
        return False

    def _is_final_resend(self, alert: Alert, ack: Ack | None, query_alerts: QueryAlerts) -> bool:
        if self.others.at_work and not query_alerts.judged:
            return False
        if self._final is None or ack is None or alert.state is not AlertState.FIRING:
            return False
        return ack.at < self._final and ack.state is AlertState.FIRING
