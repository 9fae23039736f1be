"""All Alertmanagers: each gets every alert, and none waits for another."""

from __future__ import annotations

import logging
import random as randomness
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry

from exporter import __version__
from exporter.alerting.alert import AlertState
from exporter.alerting.settings import AlertingSettings
from exporter.delivery.alert_snapshot import AlertSnapshots
from exporter.delivery.metrics import AlertmanagerMetrics
from exporter.delivery.resend_policy import restored_acks
from exporter.delivery.sender import Poster, Sender
from exporter.delivery.settings import AlertmanagerSettings
from exporter.errors import AlertmanagerError, ExporterError
from exporter.http_client.client import Client

__all__ = ["Confirmed", "Ledger", "Senders"]

log = logging.getLogger(__name__)

_GRACE = 0.5
"""Seconds between the end of the time given and the request under way being cut off."""


class Confirmed(Protocol):
    """What an Alertmanager confirmed last about a fingerprint, and when, in Unix seconds."""

    @property
    def episode(self) -> str:
        """Its episode."""

    @property
    def state(self) -> AlertState:
        """As it was sent."""

    @property
    def at(self) -> float:
        """When."""


class Ledger(Protocol):
    """The part of the store that senders use; an ExporterError of it costs nothing but repetitions."""

    def delivered(self, am_key: str, items: Iterable[tuple[str, str, AlertState]], at: float) -> None:
        """Note (fingerprint, episode, state) as an Alertmanager took them."""

    def deliveries(self, am_key: str) -> Mapping[str, Confirmed]:
        """Return what it confirmed last, by fingerprint."""

    def forget_alertmanager(self, am_key: str) -> None:
        """Drop what it confirmed."""


def connect_to(settings: AlertmanagerSettings) -> Client:
    """Return the client of one sender."""
    return Client(settings, user_agent=f"anomaly-exporter/{__version__}", pool=1, error=AlertmanagerError)


class Senders:
    """The senders of the present configuration.

    Parameters
    ----------
    board : AlertSnapshots
    store : Ledger
    clock : callable
        Unix seconds.
    registry : CollectorRegistry
        Where `AlertmanagerMetrics` go.
    connect : callable
        Makes the client of a sender.
    monotonic : callable
        Seconds that never go back.
    random : callable
        Uniform in [0, 1), for the jitter of retries.
    """

    def __init__(
        self,
        board: AlertSnapshots,
        store: Ledger,
        *,
        clock: Callable[[], float],
        registry: CollectorRegistry,
        connect: Callable[[AlertmanagerSettings], Poster] = connect_to,
        monotonic: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._board = board
        self._store = store
        self._connect = connect
        self._metrics = AlertmanagerMetrics(registry)
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._started = False
        self._senders: dict[str, Sender] = {}
        self._leaving: dict[str, Sender] = {}

    def apply(self, alertmanagers: Sequence[AlertmanagerSettings], limits: AlertingSettings) -> None:
        """Deliver to these from now on. What is configured twice under one URL is one.

        One that stays keeps what it has confirmed and what it still has to hear. One that is added gets every firing
        alert at once. One that is removed is told what is due, for as long as a shutdown would take, meanwhile.
        """
        wanted = {settings.url: settings for settings in alertmanagers}
        # What can fail comes first, so that a failure leaves everything as it was.
        clients = {
            key: self._connect(settings)
            for key, settings in wanted.items()
            if key not in self._senders or self._senders[key].settings != settings
        }
        for key in self._senders.keys() - wanted.keys():
            gone = self._leaving[key] = self._senders.pop(key)
            gone.finish(limits.drain_timeout, last_words=False)
            self._forget(key)
        self._leaving = {key: sender for key, sender in self._leaving.items() if sender.alive}
        for key, settings in wanted.items():
            if key in self._senders:
                self._senders[key].configure(settings, limits, clients.get(key))
            else:
                self._senders[key] = self._add(settings, limits, clients[key])
        self._started = True

    @property
    def alive(self) -> bool:
        """Whether every thread that should be there is."""
        return all(sender.alive for sender in self._senders.values())

    def drain(self, timeout: float) -> bool:
        """End all of them, in parallel, within `timeout` seconds; return whether all was delivered in time.

        Every firing alert is sent once more, so that it outlives a restart. No alert is resolved.
        """
        senders = [*self._senders.values(), *self._leaving.values()]
        self._senders, self._leaving = {}, {}
        for sender in senders:
            sender.finish(timeout, last_words=True)
        self._end(senders, timeout)
        undelivered = [sender.key for sender in senders if sender.undelivered]
        if undelivered:
            log.warning("not all alerts could be delivered before the end", extra={"alertmanagers": undelivered})
        return not undelivered

    def close(self) -> None:
        """End whatever still runs, without another word. Nothing is left to do after `drain`."""
        senders = [*self._senders.values(), *self._leaving.values()]
        self._senders, self._leaving = {}, {}
        for sender in senders:
            sender.finish(0.0, last_words=False)
        self._end(senders, 0.0)

    def _end(self, senders: Sequence[Sender], timeout: float) -> None:
        deadline = self._monotonic() + timeout + _GRACE
        late = [sender for sender in senders if not sender.join(max(0.0, deadline - self._monotonic()))]
        for sender in late:
            sender.cancel()
        for sender in late:
            sender.join(_GRACE)

    def _add(self, settings: AlertmanagerSettings, limits: AlertingSettings, client: Poster) -> Sender:
        before = self._leaving.pop(settings.url, None)
        if before is not None:
            # Back before it had gone. There is never more than one request under way to an Alertmanager.
            before.finish(0.0, last_words=False)
            before.cancel()
            self._end([before], 0.0)
        sender = Sender(
            settings,
            limits,
            board=self._board,
            client=client,
            metrics=self._metrics,
            clock=self._clock,
            monotonic=self._monotonic,
            random=self._random,
            acked=self._store.delivered,
            acks=restored_acks(self._kept(settings.url), now=self._clock(), mono=self._monotonic()),
        )
        sender.start()
        return sender

    def _kept(self, key: str) -> list[tuple[str, str, AlertState, float]]:
        if self._started:
            # What an Alertmanager of that name once confirmed says nothing any more: it may be a new one.
            return []
        try:
            found = self._store.deliveries(key)
        except ExporterError as error:
            log.warning("what was delivered is not known", extra={"alertmanager": key, "error": str(error)})
            return []
        return [(identity, one.episode, one.state, one.at) for identity, one in found.items()]

    def _forget(self, key: str) -> None:
        try:
            self._store.forget_alertmanager(key)
        except ExporterError as error:
            log.warning("old deliveries were not dropped", extra={"alertmanager": key, "error": str(error)})
