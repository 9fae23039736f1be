"""The thread that speaks to one Alertmanager, one request at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from exporter.alerting.alert import AlertState
from exporter.alerting.settings import AlertingSettings
from exporter.delivery.alert_snapshot import AlertSnapshots
from exporter.delivery.metrics import AlertmanagerMetrics
from exporter.delivery.outbox import Batch, Outbox
from exporter.delivery.payload import PATH, validity
from exporter.delivery.resend_policy import Ack
from exporter.delivery.response import Kind, Outcome, header, http_date, outcome_of_answer, outcome_of_error
from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import AlertmanagerError, ExporterError, Reason

__all__ = ["Acked", "Poster", "Reply", "Sender"]

log = logging.getLogger(__name__)

Acked = Callable[[str, Sequence[tuple[str, str, AlertState]], float], None]
"""Told ``(alertmanager, [(fingerprint, episode, state), ...], at)`` of what was taken, as it was sent."""

_LARGEST_ANSWER = 64 * 1024


class Reply(Protocol):
    """What an Alertmanager answered."""

    @property
    def status(self) -> int:
        """Of HTTP."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name."""

    @property
    def body(self) -> bytes:
        """Decompressed."""


class Poster(Protocol):
    """The part of `exporter.http_client.client.Client` that a sender uses."""

    def post_json(self, path: str, body: bytes, *, timeout: float, max_bytes: int) -> Reply:
        """Make one request within `timeout` seconds in total; AlertmanagerError if there is no answer."""

    def cancel(self) -> None:
        """End the request under way."""

    def close(self) -> None:
        """Close idle connections."""


class Sender:
    """Delivers what is on the board to one Alertmanager, until it is told to finish.

    Parameters
    ----------
    settings : AlertmanagerSettings
    limits : AlertingSettings
    board : AlertSnapshots
    client : Poster
        Of this sender alone.
    metrics : AlertmanagerMetrics
    clock : callable
        Unix seconds.
    monotonic : callable
        Seconds that never go back.
    random : callable
        Uniform in [0, 1).
    acked : callable
        See `Acked`. An ExporterError of it is logged and costs nothing but a repetition after the next start.
    acks : mapping
        What was confirmed before this start, by fingerprint.
    """

    def __init__(
        self,
        settings: AlertmanagerSettings,
        limits: AlertingSettings,
        *,
        board: AlertSnapshots,
        client: Poster,
        metrics: AlertmanagerMetrics,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[], float],
        acked: Acked,
        acks: Mapping[str, Ack],
    ) -> None:
        self.settings = settings
        self.key = settings.url
        self._limits = limits
        self._board = board
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._acked = acked
        self._outbox = Outbox(settings, limits, random=random, acks=acks)
        self._change = threading.Condition()
        self._news = False
        # What other threads ask for; taken over between two requests.
        self._next: tuple[AlertmanagerSettings, AlertingSettings, Poster | None] | None = None
        self._end: tuple[float, bool] | None = None
        self._deadline: float | None = None
        self._trouble: Reason | None = None
        self._skewed = False
        self._thread = threading.Thread(target=self._run, name=f"alertmanager {self.key}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._metrics.add(self.key, dirty=lambda: self._outbox.dirty, oldest_dirty_seconds=self._oldest)
        self._board.subscribe(self._notice)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    @property
    def undelivered(self) -> int:
        """How many alerts were due when it was last looked."""
        return self._outbox.dirty

    def configure(self, settings: AlertmanagerSettings, limits: AlertingSettings, client: Poster | None = None) -> None:
        """Use other settings, and another client where one is given, from the next request on."""
        with self._change:
            self.settings = settings
            self._next = (settings, limits, client)
            self._change.notify()

    def finish(self, timeout: float, *, last_words: bool) -> None:
        """Send what is due within `timeout` seconds and end. Returns at once; see `join`.

        Parameters
        ----------
        timeout : float
        last_words : bool
            Send every firing alert once more, with its full validity. Nothing is ever resolved by a shutdown.
        """
        with self._change:
            self._end = (self._monotonic() + timeout, last_words)
            self._change.notify()

    def join(self, timeout: float) -> bool:
        """Wait for the end; return whether it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def cancel(self) -> None:
        """End the request under way."""
        self._client.cancel()

    def _notice(self) -> None:
        with self._change:
            self._news = True
            self._change.notify()

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        finally:
            self._board.unsubscribe(self._notice)
            self._client.close()
            self._metrics.remove(self.key)

    def _turn(self) -> bool:
        """Send one batch, or wait for one; return False when it is time to end."""
        try:
            self._reconfigure()
            # Whatever is published from here on is news for the next turn.
            self._news = False
            mono = self._monotonic()
            batch = self._outbox.next(self._board.read(), now=self._clock(), mono=mono)
            self._report_offenders()
            if self._deadline is not None and (mono >= self._deadline or (batch is None and not self._outbox.dirty)):
                return False
            if batch is None:
                self._wait(mono)
            else:
                self._send(batch)
        except Exception:
            # Without this thread alerts are lost, so no mistake in it may end it.
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
            self._deadline, last_words = end
            self._outbox.hurry(self._monotonic(), last_words=last_words)

    def _wait(self, mono: float) -> None:
        until = self._outbox.wake_at(mono)
        if self._deadline is not None:
            until = min(until, self._deadline)
        with self._change:
            if not self._news and self._next is None and self._end is None:
                self._change.wait(max(0.0, until - mono))

    def _send(self, batch: Batch) -> None:
        began = self._monotonic()
        timeout = self.settings.timeout
        if self._deadline is not None:
            timeout = min(timeout, max(0.1, self._deadline - began))
        outcome = self._post(batch.body, timeout)
        ended = self._monotonic()
        self._metrics.requests_total.labels(self.key).inc()
        self._metrics.request_duration_seconds.labels(self.key).observe(ended - began)
        settled = self._outbox.settle(batch, outcome, mono=ended)
        self._report(outcome, settled.wait)
        if settled.acked:
            self._metrics.sent_total.labels(self.key).inc(len(settled.acked))
            self._metrics.resolved_before_delivery_total.labels(self.key).inc(settled.early)
            self._confirm(settled.acked)

    def _post(self, body: bytes, timeout: float) -> Outcome:
        try:
            reply = self._client.post_json(PATH, body, timeout=timeout, max_bytes=_LARGEST_ANSWER)
        except AlertmanagerError as error:
            return outcome_of_error(error)
        now = self._clock()
        self._note_clock(header(reply.headers, "date"), now)
        return outcome_of_answer(reply.status, reply.headers, reply.body, now=now)

    def _confirm(self, acked: Sequence[tuple[str, str, AlertState]]) -> None:
        try:
            self._acked(self.key, acked, self._clock())
        except ExporterError as error:
            log.warning("a delivery could not be noted", extra={"alertmanager": self.key, "error": str(error)})

    def _report(self, outcome: Outcome, wait: float) -> None:
        if outcome.kind is Kind.TAKEN:
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
            # Refused alerts and batches that are too large are dealt with at once; the Alertmanager itself is well.
            return
        self._metrics.up.labels(self.key).set(0)
        # Once for every change, because it may go on for hours.
        if self._trouble is not reason:
            log.warning(
                "alerts are not taken",
                extra={"alertmanager": self.key, "reason": str(reason), "error": outcome.text},
            )
        self._trouble = reason

    def _report_offenders(self) -> None:
        for offender in self._outbox.offenders():
            self._metrics.invalid_total.labels(self.key).inc()
            log.error(
                "an alert is refused and set apart for 15 minutes",
                extra={
                    "alertmanager": self.key,
                    "fingerprint": offender.alert.fingerprint,
                    "query": offender.alert.query,
                    "error": offender.text,
                },
            )

    def _note_clock(self, date: str, now: float) -> None:
        theirs = http_date(date) if date else None
        if theirs is None:
            return
        # The header has whole seconds, cut off.
        skew = theirs + 0.5 - now
        skew = 0.0 if abs(skew) <= 1.0 else skew
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
