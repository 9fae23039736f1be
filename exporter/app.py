"""The program: build, start, reload, stop. The only module that knows all others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from exporter import __version__
from exporter.alerting.alert import Alert, Step
from exporter.alerting.life import restore
from exporter.alertmanager import AlertBoard, Senders
from exporter.config.load import Loaded, load, redacted
from exporter.config.model import Config
from exporter.cycle import Cycle, Departed, Surroundings
from exporter.errors import ExporterError, StateError
from exporter.exposition import Exposition, SelfMetrics
from exporter.exposition.selfmetrics import build_information
from exporter.prometheus import PrometheusApi
from exporter.schedule import Job, Schedule, offset_of, slot_at, wall_clock
from exporter.store import Store
from exporter.web import Site, WebConfigFile, WebServer, build_app

__all__ = ["App", "Options"]

log = logging.getLogger(__name__)

USER_AGENT = f"anomaly-exporter/{__version__}"

_HOUSEKEEPING = "(housekeeping)"
"""Job of what nobody waits for; no query can have this name."""
_HOUSEKEEPING_INTERVAL = 15.0
_RETENTION_ROUND = 3600.0
_REVIVALS, _REVIVAL_PERIOD = 5, 600.0
"""The scheduler is started again so many times in so many seconds; then the process gives up."""
_PREPARERS = 2
"""Queries whose history is read at the same time: gentle on a Prometheus that others use too."""
_STOP_WEB = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """The flags. What is in the file can be reloaded, what is a flag needs a restart."""

    config_file: Path
    storage_path: Path
    listen_address: str = ":9877"
    web_config_file: Path | None = None
    external_url: str | None = None
    enable_lifecycle: bool = False


class App:
    """The daemon. `start` returns when it is serving; `stop` when everything is written and sent.

    Parameters
    ----------
    options : Options
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._clock = wall_clock
        self._reloading = threading.Lock()
        self._stopping = False
        self._loaded: Loaded | None = None
        self._api: PrometheusApi
        self._around: Surroundings | None = None
        self._cycles: dict[str, Cycle] = {}
        self._departed = Departed()
        self._in_preparation: set[Cycle] = set()
        self._retained_at = 0.0
        self._revivals: list[float] = []
        self._started = False

        registry = CollectorRegistry()
        self.metrics = SelfMetrics(registry)
        self._exposition = Exposition(registry)
        self._board = AlertBoard()
        self._preparing = ThreadPoolExecutor(_PREPARERS, thread_name_prefix="history")
        site = Site(
            metrics=self._exposition.scrape,
            not_ready=self._not_ready,
            config=lambda: redacted(self.config),
            build=build_information(),
            state=self._state,
            reload=self.reload if options.enable_lifecycle else None,
        )
        web_config = WebConfigFile(
            options.web_config_file, loaded=lambda good: self.metrics.web_config_last_reload_successful.set(good)
        )
        self._web = WebServer(build_app(site, prefix=_prefix(options.external_url)), options.listen_address, web_config)
        self.port = 0
        """Where it listens, once started."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        assert self._loaded is not None  # noqa: S101 - set by start, before anybody can ask.
        return self._loaded.config

    # ------------------------------------------------------------------ start

    def start(self) -> None:
        """Bring everything up.

        Raises
        ------
        ExporterError
            The configuration, the state directory or the address cannot be used; nothing is left running.
        """
        loaded = load(self._options.config_file)
        with ExitStack() as undo:
            self._store = Store.open(self._options.storage_path, clock=self._clock)
            undo.callback(self._store.close)
            self.metrics.store_recovered.set(bool(self._store.recovered))
            self._senders = Senders(self._board, self._store, clock=self._clock, registry=self.metrics.registry)
            undo.callback(self._senders.close)
            self._schedule = self._new_schedule(loaded.config)
            self._apply(loaded, stored=self._store.alerts())
            undo.callback(self._end_cycles)
            self.port = self._web.start()
            undo.pop_all()
        self._schedule.start()
        self._started = True
        log.info("ready", extra={"version": __version__, "port": self.port, "queries": len(self._cycles)})

    def _new_schedule(self, config: Config) -> Schedule:
        workers = config.prometheus.concurrency + 1  # one for housekeeping
        return Schedule(workers, clock=self._clock, failed=self._job_failed)

    # ------------------------------------------------------------------ configuration

    def reload(self) -> None:
        """Read the configuration file again: all of it comes into force, or nothing changes.

        Raises
        ------
        ConfigError
        """
        with self._reloading:
            try:
                loaded = load(self._options.config_file)
                if not self._stopping:
                    self._apply(loaded, stored={})
            except ExporterError as fault:
                self.metrics.config_last_reload_successful.set(0)
                log.error("the configuration was not reloaded, the old one stays in force", extra={"error": str(fault)})
                raise

    def _apply(self, loaded: Loaded, *, stored: Mapping[str, Mapping[str, Alert]]) -> None:
        """Put a configuration into force. What can fail is built first."""
        for problem in loaded.warnings:
            log.warning("configuration", extra={"line": problem.line, "path": problem.path, "warning": problem.message})
        config, now = loaded.config, self._clock()
        before = None if self._loaded is None else self._loaded.config
        changed_source = before is None or before.prometheus != config.prometheus
        api = PrometheusApi(config.prometheus, user_agent=USER_AGENT) if changed_source else self._api
        self._senders.apply(config.alertmanagers, config.alerting)

        around = self._surroundings(config, api)
        plans = {plan.name: plan for plan in config.plans()}
        old, self._cycles = self._cycles, {}
        restored = {query: restore(config.alerting, alerts, at=now) for query, alerts in stored.items()}
        for name in old.keys() - plans.keys():
            old[name].retire(checkpoint=False)
            self._departed.add(name, Step(alerts=old[name].alerts.alerts), around, at=now)
            self._exposition.withdraw(name)
            self.metrics.forget(name)
        for name in restored.keys() - plans.keys():
            self._departed.add(name, restored[name], around, at=now)
        for name, plan in plans.items():
            if name in old:
                self._cycles[name] = old[name].take_over(plan, around)
            else:
                kept = restored.get(name) or Step(alerts=self._departed.take(name))
                self._cycles[name] = Cycle(plan, around, kept, started=now)
        self._forget_learned(plans.keys())

        if before is not None and changed_source:
            self._api.close()
        self._api, self._around, self._loaded = api, around, loaded
        jobs = {name: self._job(cycle) for name, cycle in self._cycles.items()}
        self._schedule.set(
            {**jobs, _HOUSEKEEPING: Job(_HOUSEKEEPING_INTERVAL, self._keep_house, missed=lambda _: None)}
        )
        for cycle in self._cycles.values():
            self._prepare(cycle)
        self.metrics.config_last_reload_successful.set(1)
        self.metrics.config_last_reload_success_timestamp_seconds.set(now)
        if before is not None:
            log.info("configuration reloaded", extra={"queries": len(self._cycles)})

    def _surroundings(self, config: Config, api: PrometheusApi) -> Surroundings:
        return Surroundings(
            api=api,
            store=self._store,
            exposition=self._exposition,
            board=self._board,
            metrics=self.metrics,
            alerting=config.alerting,
            external_labels=config.global_.external_labels,
            utf8_labels=bool(config.alertmanagers) and all(one.utf8_labels for one in config.alertmanagers),
            source_url=config.prometheus.external_url or config.prometheus.url,
            query_offset=config.prometheus.query_offset,
            checkpoint_interval=config.storage.checkpoint_interval,
            room=lambda: config.limits.max_series - sum(cycle.series for cycle in self._cycles.values()),
        )

    def _forget_learned(self, names: Collection[str]) -> None:
        """Drop what was learned of queries that are gone; it can be learned again."""
        try:
            for name in set(self._store.learned_queries()) - set(names):
                self._store.forget_learned(name)
        except StateError as fault:
            log.warning("old state could not be removed", extra={"error": str(fault)})

    # ------------------------------------------------------------------ jobs

    def _job(self, cycle: Cycle) -> Job:
        def run(slot: float) -> None:
            if not cycle.ready:
                self._prepare(cycle)  # Again, where the last attempt failed.
            cycle.run(slot)

        missed = self.metrics.cycles_missed_total.labels(query=cycle.plan.name)
        return Job(cycle.plan.interval, run, missed.inc)

    def _prepare(self, cycle: Cycle) -> None:
        if cycle.ready or cycle in self._in_preparation:
            return
        self._in_preparation.add(cycle)

        def prepare() -> None:
            try:
                interval = cycle.plan.interval
                cycle.prepare(slot_at(self._clock(), interval, offset_of(cycle.plan.name, interval)))
            except Exception:
                log.exception("history could not be learned", extra={"query": cycle.plan.name})
                self._job_failed(cycle.plan.name)
            finally:
                self._in_preparation.discard(cycle)

        self._preparing.submit(prepare)

    def _keep_house(self, at: float) -> None:
        assert self._around is not None  # noqa: S101 - set before any job runs.
        self._departed.age(self._around, at=at)
        try:
            self.metrics.store_wal_bytes.set(self._store.wal_bytes())
            if at - self._retained_at >= _RETENTION_ROUND:
                self._retained_at = at
                self._store.retain(at - self.config.storage.retention)
        except StateError as fault:
            log.error("the store failed", extra={"error": str(fault)})

    def _job_failed(self, name: str) -> None:
        if name in self._cycles:
            self.metrics.cycles_failed_total.labels(query=name).inc()

    def watch(self) -> None:
        """Look after what must always run; call it about every second.

        Raises
        ------
        ExporterError
            Something died that cannot be brought back: the process has to be started again.
        """
        self._schedule.check_clock()
        if not self._web.alive or not self._senders.alive:
            raise ExporterError("the web server or a sender died")
        if not self._schedule.alive:
            self.metrics.worker_restarts_total.labels(worker="scheduler").inc()
            self._revivals = [at for at in self._revivals if self._clock() - at < _REVIVAL_PERIOD] + [self._clock()]
            if len(self._revivals) > _REVIVALS:
                raise ExporterError("the scheduler keeps dying")
            log.error("the scheduler died and is started again")
            jobs = self._schedule.jobs
            self._schedule = self._new_schedule(self.config)
            self._schedule.set(jobs)
            self._schedule.start()

    # ------------------------------------------------------------------ what is shown

    def progress(self) -> dict[str, float]:
        """Return how much of its history each query has learned, 0 to 1; for the terminal."""
        return {name: cycle.progress for name, cycle in list(self._cycles.items())}

    def _not_ready(self) -> str | None:
        if self._stopping:
            return "it is stopping"
        return None if self._started else "it is starting"

    def _state(self) -> dict[str, str]:
        cycles = list(self._cycles.values())
        waiting = [cycle.plan.name for cycle in cycles if not cycle.ready]
        return {
            "Version": __version__,
            "Prometheus": self.config.prometheus.url,
            "Alertmanagers": ", ".join(one.url for one in self.config.alertmanagers) or "none",
            "Queries": str(len(cycles)),
            "Reading history": ", ".join(waiting) or "done",
            "Series": str(sum(cycle.series for cycle in cycles)),
            "Open alerts": str(self._board.open_alerts()),
        }

    # ------------------------------------------------------------------ stop

    def stop(self) -> None:
        """End: nothing is resolved, everything is written, and what fires is sent once more."""
        self._stopping = True
        log.info("stopping")
        self._schedule.stop()
        self._preparing.shutdown(wait=False, cancel_futures=True)
        self._api.cancel()
        with self._reloading:
            self._end_cycles()
        self._senders.drain(self.config.alerting.drain_timeout)
        self._senders.close()
        self._web.stop(_STOP_WEB)
        self._store.close()
        self._api.close()
        log.info("stopped")

    def _end_cycles(self) -> None:
        for cycle in self._cycles.values():
            cycle.retire(checkpoint=True)


def _prefix(external_url: str | None) -> str:
    """Return the path under which everything is served."""
    if external_url is None:
        return ""
    parts = urlsplit(external_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ExporterError(f"--web.external-url: not an http:// or https:// URL with a host: {external_url}")
    return parts.path.rstrip("/")
