"""Finds the Alertmanagers of the configuration, and follows those that names and files stand for."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge

from exporter.delivery.lookup import FileTargets, LookupFailedError, has_addresses, look_up_addresses, look_up_records
from exporter.delivery.settings import AlertmanagerEntry, AlertmanagerSettings

__all__ = ["Discovery", "DiscoveryState"]

log = logging.getLogger(__name__)

_FIRST = 3.0
"""Seconds that a start or a reload waits for the first answers."""
_NAMES = 30.0
"""Seconds between two looks at the addresses of a name in a URL."""
_LOOK = 2.0
"""Seconds between two looks at whether a file has changed."""


@dataclass(frozen=True, slots=True)
class DiscoveryState:
    """What an entry stands for now, for people: its description, how many Alertmanagers, and why not all."""

    name: str
    targets: int
    trouble: str | None


class Discovery:
    """The Alertmanagers in force.

    Parameters
    ----------
    registry : CollectorRegistry
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._targets = Gauge(
            "anomaly_exporter_alertmanager_targets",
            "Alertmanagers that an entry of the configuration with `dns_sd` or `file_sd` stands for.",
            ["source"],
            registry=registry,
        )
        self._failures = Counter(
            "anomaly_exporter_alertmanager_discovery_failures_total",
            "Failed attempts to find the Alertmanagers of an entry; those found before stay.",
            ["source"],
            registry=registry,
        )
        self._sources: tuple[_Source, ...] = ()
        self._changed: Callable[[], None] = lambda: None

    def configure(self, entries: Sequence[AlertmanagerEntry]) -> tuple[AlertmanagerSettings, ...]:
        """Follow these entries from now on; return the Alertmanagers that they stand for.

        Waits a few seconds for those that are new. What is found later is reported as a change.
        """
        old = list(self._sources)
        kept = {at: source for at, entry in enumerate(entries) for source in old if source.entry == entry}
        removed = [source for source in old if source not in kept.values()]
        sources = tuple(kept.get(at) or self._start(entry) for at, entry in enumerate(entries))
        self._sources = sources
        for source in removed:
            source.stop()
            for instrument in (self._targets, self._failures):
                instrument.remove_by_labels({"source": source.name})
        deadline = time.monotonic() + _FIRST
        for source in sources:
            source.first.wait(max(0.0, deadline - time.monotonic()))
        return self.targets

    def follow(self, changed: Callable[[], None]) -> None:
        """Call `changed`, in a thread of this object, whenever `targets` may have changed."""
        self._changed = changed

    @property
    def targets(self) -> tuple[AlertmanagerSettings, ...]:
        """The Alertmanagers that the entries stand for, each URL once."""
        by_url: dict[str, AlertmanagerSettings] = {}
        for source in self._sources:
            for target in source.targets:
                by_url.setdefault(target.url, target)
        return tuple(by_url.values())

    def states(self) -> list[DiscoveryState]:
        """Return what the entries stand for that are not simply one URL."""
        return [
            DiscoveryState(source.name, len(source.targets), source.trouble)
            for source in self._sources
            if not source.entry.url or source.trouble is not None
        ]

    def stop(self) -> None:
        """Follow nothing any more. Does not wait: a name server may take its time."""
        for source in self._sources:
            source.stop()

    def _start(self, entry: AlertmanagerEntry) -> _Source:
        source = _Source(entry, self._report)
        if not entry.url:
            self._targets.labels(source.name).set(0)
            self._failures.labels(source.name)
        source.start()
        return source

    def _report(self, source: _Source, failed: bool) -> None:
        if source.stopped:
            return
        if failed:
            self._failures.labels(source.name).inc()
        if not source.entry.url:
            self._targets.labels(source.name).set(len(source.targets))
        self._changed()


@dataclass(eq=False)
class _Source:
    """One entry and what it stands for."""

    entry: AlertmanagerEntry
    report: Callable[[_Source, bool], None]
    targets: tuple[AlertmanagerSettings, ...] = ()
    trouble: str | None = None
    first: threading.Event = field(default_factory=threading.Event)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _files: FileTargets | None = None

    def __post_init__(self) -> None:
        if self.entry.file_sd is not None:
            self._files = FileTargets(self.entry, self.entry.file_sd.files)
        elif self.entry.url:
            # Until its name is looked up, and where it cannot be, the connection does that itself.
            self.targets = (self.entry.at(self.entry.url),)

    @property
    def name(self) -> str:
        entry = self.entry
        if entry.dns_sd is not None:
            return f"dns_sd {', '.join(entry.dns_sd.names)}"
        return entry.url if entry.file_sd is None else f"file_sd {', '.join(entry.file_sd.files)}"

    def start(self) -> None:
        if self.entry.url and not has_addresses(self.entry):
            self.first.set()
            return
        threading.Thread(target=self._run, name=f"discovery {self.name}", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        return self._stopping.is_set()

    def _run(self) -> None:
        while not self.stopped:
            before, failed = self.targets, True
            try:
                failed = self._turn()
            except Exception:
                # Without this thread a new Alertmanager would never be found.
                log.exception("alertmanagers could not be looked up", extra={"source": self.name})
            first = not self.first.is_set()
            self.first.set()
            # Whoever waited for the first may have given up.
            if first or failed or self.targets != before:
                self.report(self, failed)
            self._wait()

    def _turn(self) -> bool:
        """Look up once; return whether that failed."""
        before, failed = self.targets, False
        try:
            targets = self._find()
        except LookupFailedError as failure:
            failed, trouble = True, str(failure)
            if trouble != self.trouble:
                log.warning("alertmanagers cannot be found", extra={"source": self.name, "error": trouble})
            self.trouble = trouble
            targets = self._files.targets if self._files is not None else list(before)
        else:
            if self.trouble is not None:
                log.info("alertmanagers are found again", extra={"source": self.name})
            self.trouble = None
        self.targets = tuple(targets)
        if self.targets != before and self.first.is_set():
            urls = ", ".join(target.url for target in targets)
            log.info("alertmanagers changed", extra={"source": self.name, "alertmanagers": urls})
        return failed

    def _find(self) -> list[AlertmanagerSettings]:
        if self._files is not None:
            return self._files.read()
        if self.entry.dns_sd is not None:
            return look_up_records(self.entry, self.entry.dns_sd)
        return look_up_addresses(self.entry)

    def _wait(self) -> None:
        if self._files is None or self.entry.file_sd is None:
            self._stopping.wait(_NAMES if self.entry.dns_sd is None else self.entry.dns_sd.refresh_interval)
            return
        until = time.monotonic() + self.entry.file_sd.refresh_interval
        while time.monotonic() < until and not self._stopping.wait(_LOOK):
            if self._files.changed():
                return
