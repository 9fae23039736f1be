"""What is written to the stores of the configuration: the verdicts of every slot, and those on history."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict, Verdicts
from exporter.errors import RemoteWriteError
from exporter.exposition import scores_of, values_of
from exporter.exposition.families import split_metric
from exporter.http_client import Client
from exporter.remote_write.encode import encode_range, encode_slot
from exporter.remote_write.metrics import RemoteWriteMetrics
from exporter.remote_write.queue import Queue
from exporter.remote_write.series_rows import SeriesRows
from exporter.remote_write.settings import RemoteWriteSettings
from exporter.remote_write.writer import RemoteWriter

__all__ = ["RemoteWrites"]

log = logging.getLogger(__name__)

_END = 2.0
"""Seconds that a sender has to end."""


class RemoteWrites:
    """The stores of the current configuration; each gets everything, and none waits for another.

    Parameters
    ----------
    folder : Path
        Where what waits is kept.
    clock : callable
        Unix seconds.
    registry : CollectorRegistry
        Where `RemoteWriteMetrics` go.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float], registry: CollectorRegistry) -> None:
        self._folder, self._clock = folder, clock
        self._metrics = RemoteWriteMetrics(registry)
        self._senders: dict[str, RemoteWriter] = {}
        self._rows: dict[tuple[str, str, bytes], SeriesRows] = {}
        """By store, query, and the label that all rows of a metric have."""

    def apply(self, stores: Sequence[RemoteWriteSettings]) -> None:
        """Write to these from now on; what waits for others is deleted."""
        desired = {settings.url: settings for settings in stores}
        for url, sender in list(self._senders.items()):
            if desired.get(url) != sender.settings:
                sender.stop(_END)
                del self._senders[url]
                self._rows = {key: rows for key, rows in self._rows.items() if key[0] != url}
            if url not in desired:
                self._metrics.forget(url)
        for url, settings in desired.items():
            if url not in self._senders:
                queue = Queue(self._folder / _name(url), int(settings.max_queue_size))
                client = Client(settings, pool=1, error=RemoteWriteError)
                self._senders[url] = RemoteWriter(settings, queue, client, self._metrics, self._clock)
        self._delete_others({_name(url) for url in desired})

    def put(self, query: str, verdict: Verdict, table: SeriesTable) -> None:
        """Queue the verdict on a slot; called by the evaluator of the query."""
        values = scores_of(verdict)
        for sender in list(self._senders.values()):
            settings = sender.settings
            messages = (
                message
                for column, numbers in values.items()
                for metric, label in (split_metric(column),)
                if metric in settings.metrics
                for message in encode_slot(
                    metric,
                    self._rows_of(settings, query, label).of(table, verdict.score),
                    numbers,
                    verdict.at,
                    settings.max_samples_per_send,
                )
            )
            _queue(sender, [(_compressed(body), count) for body, count in messages], query, verdict.at)

    def put_history(self, query: str, verdicts: Verdicts, table: SeriesTable) -> None:
        """Queue verdicts on history, as far as they are newer than what was written of the query before."""
        for sender in list(self._senders.values()):
            settings = sender.settings
            fresh = np.flatnonzero(verdicts.times > sender.queue.newest(query))
            if not settings.history or not len(fresh):
                continue
            series = self._rows_of(settings, query).of(table, verdicts.score[-1])
            messages = (
                message
                for metric, values in values_of(verdicts).items()
                if metric in settings.metrics
                for message in encode_range(
                    metric,
                    series,
                    values[fresh],
                    verdicts.times[fresh],
                    settings.max_samples_per_send,
                )
            )
            requests = [(_compressed(body), count) for body, count in messages]
            _queue(sender, requests, query, float(verdicts.times[-1]))

    def stop(self) -> None:
        """End all senders; samples that were not sent are sent after the next start."""
        for sender in self._senders.values():
            sender.stop(_END)
        self._senders = {}

    def _rows_of(self, settings: RemoteWriteSettings, query: str, label: bytes = b"") -> SeriesRows:
        """Return the rows of a query; `label` as of `split_metric`."""
        key = settings.url, query, label
        if key not in self._rows:
            name, _, value = label[1:].decode().partition("=")
            self._rows[key] = SeriesRows(query, settings.labels, (name, value.strip('"')) if name else None)
        return self._rows[key]

    def _delete_others(self, names: set[str]) -> None:
        if not self._folder.is_dir():
            return
        for folder in self._folder.iterdir():
            if folder.name not in names:
                log.info(
                    "what waits for a store that is not configured any more is deleted", extra={"folder": str(folder)}
                )
                shutil.rmtree(folder, ignore_errors=True)


def _queue(sender: RemoteWriter, requests: Sequence[tuple[bytes, int]], query: str, at: float) -> None:
    try:
        if requests:
            sender.queue.put(requests, query, at)
    except OSError as error:
        log.error("a remote write cannot be queued", extra={"url": sender.settings.url, "error": str(error)})


def _compressed(body: bytes) -> bytes:
    from cramjam import snappy  # Only those who write need it.

    return bytes(snappy.compress_raw(body))


def _name(url: str) -> str:
    """Return the name of the folder of a store."""
    return hashlib.blake2b(url.encode(), digest_size=8).hexdigest()
