"""Thread that delivers alerts to one Alertmanager, one request at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import inf

from exporter.alerting.alert import AlertState
from exporter.alerting.settings import AlertingSettings
from exporter.delivery.alert_snapshot import AlertSnapshots
from exporter.delivery.label_names import LabelNames
from exporter.delivery.listing import ListingReader, alerts_filter, read_started_at
from exporter.delivery.metrics import AlertmanagerMetrics
from exporter.delivery.outbox import AlertBatch, Outbox
from exporter.delivery.payload import PATH, validity
from exporter.delivery.receiver_clock import ReceiverClock
from exporter.delivery.resend_policy import Ack
from exporter.delivery.response import DeliveryOutcome, ResponseKind, outcome_of_error, outcome_of_response
from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import AlertmanagerError, ExporterError, Reason
from exporter.http_client import Client
from exporter.store import DeliveryLog

__all__ = ["Sender"]

log = logging.getLogger(__name__)

_LARGEST_ANSWER = 64 * 1024
_LARGEST_LISTING = 32 * 1024 * 1024
_ASK = 2.0
"""Seconds that an Alertmanager may take to say what time it is, and between two such requests."""
_LOOK = 5.0
"""Seconds that it may take to list alerts."""
_NO_LIST = (Reason.TOO_LARGE, Reason.MALFORMED)
_STATUS, _NO_STATUS = 15.0, 300.0
"""Seconds between two looks at since when an Alertmanager runs; and where it does not say that."""


class Sender:
    """Delivers the published alerts to one Alertmanager until `finish`.

    Parameters
    ----------
    settings : AlertmanagerSettings
    limits : AlertingSettings
    snapshots : AlertSnapshots
    client : Client
        Used by nothing else.
    metrics : AlertmanagerMetrics
    clock : callable
        Unix seconds.
    receiver_clock : ReceiverClock
    monotonic : callable
        Seconds that never go back.
    random : callable
        Uniform in [0, 1).
    deliveries : DeliveryLog
        Takes what was accepted. An `ExporterError` of it is logged; the alerts are repeated after the next start.
    acks : mapping
        What was accepted before this start, by fingerprint.
    paired : callable
        Returns whether there may be another exporter that sends the same alerts.
    """

    def __init__(
        self,
        settings: AlertmanagerSettings,
        limits: AlertingSettings,
        *,
        snapshots: AlertSnapshots,
        client: Client,
        metrics: AlertmanagerMetrics,
        clock: Callable[[], float],
        receiver_clock: ReceiverClock,
        monotonic: Callable[[], float],
        random: Callable[[], float],
        deliveries: DeliveryLog,
        acks: Mapping[str, Ack],
        paired: Callable[[], bool] = lambda: False,
    ) -> None:
        self.settings = settings
        self.key = settings.url
        self._limits = limits
        self._snapshots = snapshots
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._receiver_clock = receiver_clock
        self._checked_at = -_ASK
        self._monotonic = monotonic
        self._deliveries = deliveries
        self._outbox = Outbox(settings, limits, random=random, acks=acks)
        self._label_names = LabelNames()
        self._paired = paired
        self._status_at = self._look_at = -inf
        self._listing = ListingReader()
        self._change = threading.Condition()
        self._published = False
        # Requested by other threads; applied between two requests.
        self._next: tuple[AlertmanagerSettings, AlertingSettings, Client | None] | None = None
        self._end: tuple[float, bool] | None = None
        self._deadline: float | None = None
        self._trouble: Reason | None = None
        self._skewed = False
        self._thread = threading.Thread(target=self._run, name=f"alertmanager {self.key}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._metrics.add(self.key, dirty=lambda: self._outbox.dirty, oldest_dirty_seconds=self._oldest)
        self._snapshots.subscribe(self._on_publish)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def undelivered(self) -> int:
        """How many alerts were due at the last scan."""
        return self._outbox.dirty

    def configure(self, settings: AlertmanagerSettings, limits: AlertingSettings, client: Client | None = None) -> None:
        """Use other settings, and another client where one is given, from the next request on."""
        with self._change:
            self.settings = settings
            self._next = (settings, limits, client)
            self._change.notify()

    def finish(self, timeout: float, *, resend_firing: bool) -> None:
        """Send what is due within `timeout` seconds and end. Returns at once; see `join`.

        Parameters
        ----------
        timeout : float
        resend_firing : bool
            Send every firing alert once more, with its full validity. Nothing is ever resolved by a shutdown.
        """
        with self._change:
            self._end = (self._monotonic() + timeout, resend_firing)
            self._change.notify()

    def join(self, timeout: float) -> bool:
        """Wait for the end; return whether it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """End the request under way."""
        self._client.cancel()

    def _on_publish(self) -> None:
        with self._change:
            self._published = True
            self._change.notify()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._snapshots.unsubscribe(self._on_publish)
            self._client.close()
            self._metrics.remove(self.key)

    def _turn(self) -> bool:
        """Send one batch, or wait for one; return False when it is time to end."""
        try:
            self._reconfigure()
            # Publications from here on begin the next turn at once.
            self._published = False
            mono = self._monotonic()
            theirs = self._their_time(mono)
            self._outbox.others.at_work = self._paired()
            self._look_at_start(mono)
            batch = self._outbox.next(self._snapshots.read(), now=self._clock(), mono=mono, theirs=theirs)
            self._report_rejected()
            if self._deadline is not None and (mono >= self._deadline or (batch is None and not self._outbox.dirty)):
                return False
            if batch is None and self._outbox.wants_listing and mono >= self._look_at:
                self._look(mono)
            elif batch is None:
                self._wait(mono)
            elif self._learn_names(batch, mono):
                return True
            else:
                self._send(batch)
        except Exception:
            # Without this thread no alert is delivered, so no mistake in it may end it.
            log.exception("a turn of the sender failed", extra={"alertmanager": self.key})
            with self._change:
                self._change.wait(1.0)
            return self._deadline is None or self._monotonic() < self._deadline
        return True

    def _reconfigure(self) -> None:
        with self._change:
            change, self._next = self._next, None
            end, self._end = self._end, None
        if change is not None:
            settings, self._limits, client = change
            if client is not None:
                self._client.close()
                self._client = client
            self._outbox.configure(settings, self._limits)
        if end is not None:
            self._deadline, resend_firing = end
            self._outbox.flush(self._monotonic(), resend_firing=resend_firing)

    def _wait(self, mono: float) -> None:
        until = self._outbox.wake_at(mono)
        if self._deadline is not None:
            until = min(until, self._deadline)
        with self._change:
            if not self._published and self._next is None and self._end is None:
                self._change.wait(max(0.0, until - mono))

    def _send(self, batch: AlertBatch) -> None:
        began = self._monotonic()
        timeout = self.settings.timeout
        if self._deadline is not None:
            timeout = min(timeout, max(0.1, self._deadline - began))
        outcome = self._post(batch.body, timeout)
        ended = self._monotonic()
        refused = outcome.kind is ResponseKind.REJECTED and self.settings.utf8_labels is None
        if refused and self._label_names.refused(batch.alerts):
            self._outbox.utf8 = False
            log.info("label names are sent with underscores from now on", extra={"alertmanager": self.key})
            return
        self._metrics.requests_total.labels(self.key).inc()
        self._metrics.request_duration_seconds.labels(self.key).observe(ended - began)
        settled = self._outbox.settle(batch, outcome, mono=ended)
        self._report(outcome, settled.wait)
        if settled.acked:
            self._metrics.sent_total.labels(self.key).inc(len(settled.acked))
            self._metrics.resolved_before_delivery_total.labels(self.key).inc(settled.early)
            self._confirm(settled.acked)

    def _post(self, body: bytes, timeout: float) -> DeliveryOutcome:
        try:
            reply = self._client.post_json(PATH, body, timeout=timeout, max_bytes=_LARGEST_ANSWER, whole=False)
        except AlertmanagerError as error:
            return outcome_of_error(error)
        now = self._clock()
        self._note_clock(reply.headers.get("Date", ""), now)
        return outcome_of_response(reply.status, reply.headers, reply.body, now=now)

    def _confirm(self, acked: Sequence[tuple[str, str, AlertState]]) -> None:
        try:
            self._deliveries.record(self.key, acked, self._clock())
        except ExporterError as error:
            log.warning("a delivery could not be noted", extra={"alertmanager": self.key, "error": str(error)})

    def _report(self, outcome: DeliveryOutcome, wait: float) -> None:
        if outcome.kind is ResponseKind.ACCEPTED:
            self._metrics.up.labels(self.key).set(1)
            self._metrics.last_success_timestamp_seconds.labels(self.key).set(self._clock())
            if self._trouble is not None:
                log.info("the alertmanager takes alerts again", extra={"alertmanager": self.key})
            self._trouble = None
            return
        reason = outcome.reason or Reason.HTTP
        self._metrics.errors_total.labels(self.key, reason).inc()
        if reason is Reason.MALFORMED:
            self._metrics.suspicious_responses_total.labels(self.key).inc()
        if not wait:
            # Rejected alerts and batches that are too large are handled at once; the Alertmanager itself is up.
            return
        self._metrics.up.labels(self.key).set(0)
        # Logged once for every change of the reason, because an outage may last for hours.
        if self._trouble is not reason:
            log.warning(
                "alerts are not taken",
                extra={"alertmanager": self.key, "reason": str(reason), "error": outcome.text},
            )
        self._trouble = reason

    def _report_rejected(self) -> None:
        for rejected in self._outbox.take_rejected():
            self._metrics.invalid_total.labels(self.key).inc()
            log.error(
                "an alert is refused and set apart for 15 minutes",
                extra={
                    "alertmanager": self.key,
                    "fingerprint": rejected.alert.fingerprint,
                    "query": rejected.alert.query,
                    "error": rejected.text,
                },
            )

    def _learn_names(self, batch: AlertBatch, mono: float) -> bool:
        """Ask for the version where the names of labels depend on it; return whether the batch is to be made anew."""
        if self.settings.utf8_labels is not None:
            return False
        timeout = min(self.settings.timeout, _ASK)
        ask = partial(self._client.get, "/api/v2/status", timeout=timeout, max_bytes=_LARGEST_ANSWER)
        changed = self._label_names.update(batch.alerts, mono, ask)
        self._outbox.utf8 = self._label_names.takes_any
        return changed

    def _their_time(self, mono: float) -> float | None:
        """Return the time at the Alertmanager; it is asked for it where our clock was set."""
        if self._receiver_clock.moved(self._clock(), mono) and mono - self._checked_at >= _ASK:
            self._checked_at = mono
            timeout = min(self.settings.timeout, _ASK)
            # Any answer has a date; where there is none, none would be taken either.
            with suppress(AlertmanagerError):
                reply = self._client.get("/api/v2/status", timeout=timeout, max_bytes=_LARGEST_ANSWER)
                self._note_clock(reply.headers.get("Date", ""), self._clock())
        return self._receiver_clock.at(self._monotonic())

    def _look(self, mono: float) -> None:
        """Read what the Alertmanager lists of the alerts that are over here, because another may keep them active."""
        params = {"filter": alerts_filter(self._outbox.ended_names)}
        timeout = min(self.settings.timeout, _LOOK)
        try:
            reply = self._client.get(PATH, params, timeout=timeout, max_bytes=_LARGEST_LISTING)
            updates = self._listing.read(reply.status, reply.body, mono)
        except AlertmanagerError as error:
            # One that cannot be reached takes no end either.
            updates = self._listing.failed(mono) if error.reason in _NO_LIST else None
        if updates is None:
            self._look_at = mono + _ASK
            return
        self._outbox.take_listing(updates, skew=self._skew(), mono=self._monotonic())

    def _skew(self) -> float:
        theirs = self._receiver_clock.at(self._monotonic())
        skew = 0.0 if theirs is None else theirs - self._clock()
        # A date is no more exact.
        return 0.0 if abs(skew) <= 1.0 else skew

    def _look_at_start(self, mono: float) -> None:
        """Ask since when the Alertmanager runs, while it has ends that it would have lost by a restart."""
        if mono < self._status_at or self._deadline is not None or not self._outbox.ends_accepted:
            return
        self._status_at = mono + _STATUS
        with suppress(AlertmanagerError):
            timeout = min(self.settings.timeout, _ASK)
            reply = self._client.get("/api/v2/status", timeout=timeout, max_bytes=_LARGEST_ANSWER)
            self._note_clock(reply.headers.get("Date", ""), self._clock())
            started_at = read_started_at(reply.body)
            if started_at is None:
                self._status_at = mono + _NO_STATUS
                return
            age = self._clock() + self._skew() - started_at
            self._outbox.note_start(round(self._monotonic() - age, 0))

    def _note_clock(self, date: str, now: float) -> None:
        skew = self._receiver_clock.note(date, now=now, mono=self._monotonic())
        if skew is None:
            return
        self._metrics.clock_skew_seconds.labels(self.key).set(skew)
        skewed = abs(skew) > validity(0.0, self._limits.resend_delay) / 4
        if skewed and not self._skewed:
            log.warning(
                "the clock of the alertmanager differs from ours",
                extra={"alertmanager": self.key, "seconds": round(skew)},
            )
        self._skewed = skewed

    def _oldest(self) -> float:
        since = self._outbox.oldest_dirty
        return 0.0 if since is None else max(0.0, self._monotonic() - since)
