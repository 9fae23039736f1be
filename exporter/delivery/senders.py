"""The senders of all Alertmanagers: each gets every alert, and none waits for another."""

from __future__ import annotations

import logging
import random as randomness
import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry

from exporter.alerting.settings import AlertingSettings
from exporter.delivery.alert_snapshot import AlertSnapshots
from exporter.delivery.metrics import AlertmanagerMetrics
from exporter.delivery.receiver_clock import ReceiverClocks
from exporter.delivery.resend_policy import restored_acks
from exporter.delivery.sender import Sender
from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import AlertmanagerError, ExporterError
from exporter.http_client import Client
from exporter.store import Delivery, DeliveryLog

__all__ = ["Senders", "connect_to"]

log = logging.getLogger(__name__)

_GRACE = 0.5
"""Seconds after a timeout until the request under way is cut off."""


def connect_to(settings: AlertmanagerSettings) -> Client:
    """Return a client of an Alertmanager."""
    return Client(settings, pool=1, error=AlertmanagerError)


class Senders:
    """The senders of the current configuration.

    Parameters
    ----------
    snapshots : AlertSnapshots
    deliveries : DeliveryLog
    clock : callable
        Unix seconds.
    registry : CollectorRegistry
        Where `AlertmanagerMetrics` go.
    connect : callable
        Makes the client of a sender.
    clocks : ReceiverClocks, optional
        Shared with others that ask the same servers.
    paired : callable
        Returns whether there may be another exporter that sends the same alerts.
    monotonic : callable
        Seconds that never go back.
    random : callable
        Uniform in [0, 1), for the jitter of retries.
    """

    def __init__(
        self,
        snapshots: AlertSnapshots,
        deliveries: DeliveryLog,
        *,
        clock: Callable[[], float],
        registry: CollectorRegistry,
        connect: Callable[[AlertmanagerSettings], Client] = connect_to,
        clocks: ReceiverClocks | None = None,
        paired: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._snapshots = snapshots
        self._deliveries = deliveries
        self._connect = connect
        self._clocks = clocks or ReceiverClocks()
        self._paired = paired
        self._metrics = AlertmanagerMetrics(registry)
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._started = False
        self._senders: dict[str, Sender] = {}
        self._leaving: dict[str, Sender] = {}

    def apply(self, alertmanagers: Sequence[AlertmanagerSettings], limits: AlertingSettings) -> None:
        """Deliver to these from now on. Entries with one URL count as one Alertmanager.

        An Alertmanager that stays keeps its state. One that is added gets every firing alert at once. One that is
        removed still gets what is due, within the time that a shutdown would take.
        """
        desired = {settings.url: settings for settings in alertmanagers}
        # Connecting can fail and comes first, so that a failure changes nothing.
        clients = {
            key: self._connect(settings)
            for key, settings in desired.items()
            if key not in self._senders or self._senders[key].settings != settings
        }
        for key in self._senders.keys() - desired.keys():
            removed = self._leaving[key] = self._senders.pop(key)
            removed.finish(limits.drain_timeout, resend_firing=False)
            self._forget(key)
        self._leaving = {key: sender for key, sender in self._leaving.items() if sender.alive}
        for key, settings in desired.items():
            if key in self._senders:
                self._senders[key].configure(settings, limits, clients.get(key))
            else:
                self._senders[key] = self._add(settings, limits, clients[key])
        self._started = True

    @property
    def alive(self) -> bool:
        """Whether the threads of all senders run."""
        return all(sender.alive for sender in self._senders.values())

    def drain(self, timeout: float) -> bool:
        """End all of them, in parallel, within `timeout` seconds; return whether all was delivered in time.

        Every firing alert is sent once more, so that it outlives a restart. No alert is resolved.
        """
        senders = self._end_all(timeout, resend_firing=True)
        undelivered = [sender.key for sender in senders if sender.undelivered]
        if undelivered:
            log.warning("not all alerts could be delivered before the end", extra={"alertmanagers": undelivered})
        return not undelivered

    def close(self) -> None:
        """End all senders without sending; does nothing after `drain`."""
        self._end_all(0.0, resend_firing=False)

    def _end_all(self, timeout: float, *, resend_firing: bool) -> list[Sender]:
        senders = [*self._senders.values(), *self._leaving.values()]
        self._senders, self._leaving = {}, {}
        for sender in senders:
            sender.finish(timeout, resend_firing=resend_firing)
        self._end(senders, timeout)
        return senders

    def _end(self, senders: Sequence[Sender], timeout: float) -> None:
        deadline = self._monotonic() + timeout + _GRACE
        late = [sender for sender in senders if not sender.join(max(0.0, deadline - self._monotonic()))]
        for sender in late:
            sender.cancel()
        for sender in late:
            sender.join(_GRACE)

    def _add(self, settings: AlertmanagerSettings, limits: AlertingSettings, client: Client) -> Sender:
        before = self._leaving.pop(settings.url, None)
        if before is not None:
            # Added again before its last sender ended: an Alertmanager never gets two requests at once.
            before.finish(0.0, resend_firing=False)
            before.cancel()
            self._end([before], 0.0)
        sender = Sender(
            settings,
            limits,
            snapshots=self._snapshots,
            client=client,
            metrics=self._metrics,
            clock=self._clock,
            receiver_clock=self._clocks.of(settings.url),
            monotonic=self._monotonic,
            random=self._random,
            deliveries=self._deliveries,
            acks=restored_acks(self._stored(settings.url), now=self._clock(), mono=self._monotonic()),
            paired=self._paired,
        )
        sender.start()
        return sender

    def _stored(self, key: str) -> list[Delivery]:
        if self._started:
            # An Alertmanager that is added later may be a new one under an old URL.
            return []
        try:
            return list(self._deliveries.load(key).values())
        except ExporterError as error:
            log.warning("what was delivered is not known", extra={"alertmanager": key, "error": str(error)})
            return []

    def _forget(self, key: str) -> None:
        try:
            self._deliveries.forget(key)
        except ExporterError as error:
            log.warning("old deliveries were not dropped", extra={"alertmanager": key, "error": str(error)})
