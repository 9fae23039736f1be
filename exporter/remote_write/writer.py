"""Thread that sends the queue of one store, one request at a time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from exporter.delivery.response import DeliveryOutcome, ResponseKind, outcome_of_error, outcome_of_response
from exporter.errors import AlertmanagerError, Reason, RemoteWriteError
from exporter.http_client import Client
from exporter.remote_write.metrics import RemoteWriteMetrics
from exporter.remote_write.queue import Queue
from exporter.remote_write.settings import RemoteWriteSettings

__all__ = ["RemoteWriter"]

log = logging.getLogger(__name__)

_HEADERS = {"X-Prometheus-Remote-Write-Version": "0.1.0"}
_LARGEST_ANSWER = 64 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_IDLE = 5.0
"""Seconds until an empty queue is looked at again, whatever happens."""


class RemoteWriter:
    """Sends what is in a queue until `stop`; what was not sent stays there.

    Parameters
    ----------
    settings : RemoteWriteSettings
    queue : Queue
        Emptied by nothing else.
    client : Client
        Used by nothing else.
    clock : callable
        Unix seconds.
    """

    def __init__(
        self,
        settings: RemoteWriteSettings,
        queue: Queue,
        client: Client,
        metrics: RemoteWriteMetrics,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.queue = queue
        self._client, self._metrics, self._clock = client, metrics, clock
        self._stopping = threading.Event()
        self._refused = False
        self._thread = threading.Thread(target=self._run, name="remote write", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End, at most `timeout` seconds from now; a request under way is broken off."""
        self._stopping.set()
        self.queue.wake()
        self._client.close()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            file = self.queue.wait(_IDLE)
            self._metrics.pending(self.settings.url, self.queue)
            if file is None:
                continue
            try:
                if self._send(file):
                    self.queue.done(file)
            except Exception:
                # Whatever is in it: the next ones are sent.
                log.exception("a file of the remote-write queue is left out", extra={"file": file.name})
                self.queue.done(file)
            self._metrics.pending(self.settings.url, self.queue)

    def _send(self, file: Path) -> bool:
        """Send all requests of a file; False where the end came before."""
        for body, samples in self.queue.requests(file):
            pause = _FIRST_PAUSE
            while not self._stopping.is_set():
                outcome = self._attempt(body)
                if outcome.kind is ResponseKind.ACCEPTED:
                    self._metrics.sent(self.settings.url, samples)
                    self._note(None)
                    break
                if self._stopping.is_set():
                    return False
                self._note(outcome)
                if outcome.kind in (ResponseKind.REJECTED, ResponseKind.TOO_LARGE):
                    self._metrics.refused(self.settings.url, samples)
                    break
                self._metrics.failed(self.settings.url, outcome.reason or Reason.HTTP)
                self._stopping.wait(outcome.wait or pause)
                pause = min(2.0 * pause, _LONGEST_PAUSE)
        return not self._stopping.is_set()

    def _attempt(self, body: bytes) -> DeliveryOutcome:
        try:
            answer = self._client.post_snappy(
                "", body, _HEADERS, timeout=self.settings.timeout, max_bytes=_LARGEST_ANSWER
            )
        except RemoteWriteError as error:
            return outcome_of_error(AlertmanagerError(error.url, error.reason, error.message))
        return outcome_of_response(answer.status, answer.headers, answer.body, now=self._clock())

    def _note(self, outcome: DeliveryOutcome | None) -> None:
        """Log when a store begins to refuse, and when it takes requests again."""
        if outcome is None:
            if self._refused:
                log.info("the store takes remote writes again", extra={"url": self.settings.url})
            self._refused = False
        elif not self._refused:
            log.warning(
                "the store does not take a remote write", extra={"url": self.settings.url, "error": outcome.text}
            )
            self._refused = True
