"""The program: build, start, reload, stop. The only module that knows all others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic

from prometheus_client import CollectorRegistry

from exporter import __version__
from exporter.alerting.alert import Alert, Step
from exporter.alerting.state_machine import restore
from exporter.config.load import Loaded, load, redacted
from exporter.config.model import Config
from exporter.config.plan import sharded
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.correlation.root_causes import RootCauses
from exporter.delivery import AlertSnapshots, Senders
from exporter.endpoints import endpoints
from exporter.errors import ExporterError
from exporter.evaluation.admission import Admission
from exporter.evaluation.context import EvaluationContext, EvaluationSettings, Ports
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.evaluation.latest_verdicts import LatestVerdicts
from exporter.evaluation.removed_queries import RemovedQueries
from exporter.exposition import Exposition, SelfMetrics
from exporter.exposition.selfmetrics import build_information
from exporter.feedback.episodes import EpisodeFeedback
from exporter.maintenance import Maintenance
from exporter.multivariate.group_evaluator import job_of
from exporter.multivariate.groups import Groups
from exporter.prometheus import PrometheusApi
from exporter.schedule import Job, wall_clock
from exporter.store import Store
from exporter.suppression.sample_masks import SampleMasks
from exporter.suppression.suppression import Suppression
from exporter.views import Program, Views, upcoming
from exporter.web import Site, WebConfigFile, WebServer, build_app, path_prefix
from exporter.workers import PATIENCE, Workers, end

__all__ = ["App", "Options"]

log = logging.getLogger(__name__)

USER_AGENT = f"anomaly-exporter/{__version__}"

_HOUSEKEEPING = "(housekeeping)"
"""Job of what nobody waits for; no query can have this name."""
_HOUSEKEEPING_INTERVAL = 15.0
_STOP_WEB = 1.0
_END = 4.0
"""Seconds for the end, beside the time for Alertmanagers."""


@dataclass(frozen=True, slots=True)
class Options:
    """The flags. What is in the file can be reloaded, what is a flag needs a restart."""

    config_file: Path
    storage_path: Path
    listen_address: str = ":9877"
    web_config_file: Path | None = None
    external_url: str | None = None
    enable_lifecycle: bool = False
    shard: tuple[int, int] = (0, 1)


class App:
    """The daemon. `start` returns when it is serving; `stop` when everything is written and sent.

    Parameters
    ----------
    options : Options
    clock : callable
        The wall clock, in Unix seconds.
    """

    def __init__(self, options: Options, *, clock: Callable[[], float] = wall_clock) -> None:
        self._options = options
        self._clock = clock
        self._reloading = threading.Lock()
        self._stopping = False
        self._loaded: Loaded | None = None
        self._api: PrometheusApi
        self._context: EvaluationContext | None = None
        self._cycles: dict[str, QueryEvaluator] = {}
        self._departed = RemovedQueries()
        self._groups = Groups(lambda query: self._cycles[query].progress if query in self._cycles else 0.0)
        self._co_occurrence = CoOccurrence()
        self._causes = RootCauses()
        self._started = False
        self._broken: str | None = None

        registry = CollectorRegistry()
        self.metrics = SelfMetrics(registry)
        self._exposition = Exposition(registry)
        self._room = Admission(lambda: [cycle.learning.engine for cycle in self._cycles.values()], self.metrics)
        self._board = AlertSnapshots()
        self._latest = LatestVerdicts()
        program = Program(
            clock=self._clock,
            cycles=lambda: self._cycles,
            config=lambda: self.config,
            latest=self._latest,
            board=self._board,
            registry=registry,
            episodes=lambda: self._feedback,
            store_bytes=lambda: self._store.size_bytes(),
            things=self._groups.things,
            events=lambda at: upcoming(self._suppression.calendar, at),
            told=lambda *alert: self._suppression.told(*alert),
        )
        self._views = Views(program, partial(PrometheusApi, user_agent=USER_AGENT))
        site = Site(
            metrics=self._exposition.scrape,
            not_ready=self._not_ready,
            config=lambda: redacted(self.config),
            build=build_information(),
            pages=self._views,
            reload=self.reload if options.enable_lifecycle else None,
        )
        api = endpoints(program, self._views, lambda: self._suppression)
        web_config = WebConfigFile(options.web_config_file, loaded=self.metrics.web_config_last_reload_successful.set)
        web = build_app(site, endpoints=api, prefix=path_prefix(options.external_url))
        self._web = WebServer(web, options.listen_address, web_config)
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
            self._feedback = EpisodeFeedback(self._store, self.metrics)
            self._senders = Senders(self._board, self._store, clock=self._clock, registry=self.metrics.registry)
            undo.callback(self._senders.close)
            self._suppression = Suppression(
                self._store, self._feedback, self._board, clock=self._clock, metrics=self.metrics
            )
            undo.callback(self._suppression.stop)
            self._house = Maintenance(self._store, self._feedback, self._suppression, self.metrics)
            concurrency = _concurrency(loaded.config)
            self._workers = Workers(concurrency, clock=self._clock, metrics=self.metrics)
            self._apply(loaded, stored=self._store.alerts(), notes=self._store.notes())
            undo.callback(self._api.close)
            self.port = self._web.start()
            undo.pop_all()
        self._suppression.start()
        self._workers.start()
        self._started = True
        log.info("ready", extra={"version": __version__, "port": self.port, "queries": len(self._cycles)})

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
                    self._apply(loaded, stored={}, notes={})
                    self._workers.prepare()
            except ExporterError as fault:
                self.metrics.config_last_reload_successful.set(0)
                error = "; ".join(str(fault).splitlines())
                log.error("the configuration was not reloaded, the old one stays in force", extra={"error": error})
                raise
            except Exception as mistake:
                # Neither the old one nor the new one is in force, so the process has to begin anew.
                self.metrics.config_last_reload_successful.set(0)
                log.exception("the configuration was reloaded in part")
                self._broken = f"a reload failed half-way: {mistake!r}"
                raise ExporterError(self._broken) from mistake

    def _apply(self, loaded: Loaded, *, stored: Mapping[str, Mapping[str, Alert]], notes: Mapping[str, bytes]) -> None:
        """Put a configuration into force. What can fail is built first."""
        for problem in loaded.warnings:
            log.warning("configuration", extra={"line": problem.line, "path": problem.path, "warning": problem.message})
        config, now = loaded.config, self._clock()
        before = None if self._loaded is None else self._loaded.config
        changed_source = before is None or before.prometheus != config.prometheus
        plans = {plan.name: plan for plan in sharded(config.plans(), config.groups, *self._options.shard)}
        api = PrometheusApi(config.prometheus, user_agent=USER_AGENT) if changed_source else self._api
        self._senders.apply(config.alertmanagers, config.alerting)
        self._room.configure(config.limits)

        context = self._context_of(config, api, self._suppression.apply(config))
        self._causes.configure(config.dependencies, plans.keys() | {job_of(group) for group in config.groups})
        restored = {
            query: replace(restore(config.alerting, alerts, at=now), notes=notes.get(query))
            for query, alerts in stored.items()
        }
        free = end(self._cycles.values(), lambda: self._api.cancel())
        # Built aside: others count the series of all cycles meanwhile.
        cycles = {
            name: old.take_over(plans[name], context, at=now) for name, old in self._cycles.items() if name in plans
        }
        for name, old in self._cycles.items():
            if name not in plans:
                self._departed.add(name, old.alerts.book.left, context, at=now)
                self._exposition.withdraw(name)
                self.metrics.forget(name)
        for name in restored.keys() - plans.keys() - {job_of(group) for group in config.groups}:
            self._departed.add(name, restored[name], context, at=now)

        def kept(name: str) -> Step:
            return restored.get(name) or self._departed.take(name)

        for name in plans.keys() - cycles.keys():
            cycles[name] = QueryEvaluator(plans[name], context, kept(name), started=now)
        self._cycles = cycles
        self._co_occurrence.keep(plans)
        self._latest.keep(plans)
        departed = partial(self._departed.add, context=context, at=now)
        self._groups.apply(config.groups, plans, context, at=now, kept=kept, left=departed)
        self._house.forget_learned(plans.keys() | self._groups.cycles.keys())

        if before is not None and changed_source:
            self._api.close()
        self._api, self._context, self._loaded = api, context, loaded
        self._set_jobs(anew=not free)
        self.metrics.config_last_reload_successful.set(1)
        self.metrics.config_last_reload_success_timestamp_seconds.set(now)
        if before is not None:
            log.info("configuration reloaded", extra={"queries": len(self._cycles)})

    def _context_of(self, config: Config, api: PrometheusApi, masks: SampleMasks) -> EvaluationContext:
        ports = Ports(
            api=api,
            connect=partial(PrometheusApi, config.prometheus, user_agent=USER_AGENT),
            clock=self._clock,
            store=self._store,
            exposition=self._exposition,
            alert_snapshots=self._board,
            metrics=self.metrics,
            admission=self._room,
            masks=masks,
            feedback=self._feedback,
            groups=self._groups,
            on_verdict=self._latest.put,
            co_occurrence=self._co_occurrence,
            root_causes=self._causes,
        )
        return EvaluationContext(ports, EvaluationSettings.of(config, external_url=self._options.external_url or ""))

    # ------------------------------------------------------------------ jobs

    def _set_jobs(self, *, anew: bool = False) -> None:
        house = Job(_HOUSEKEEPING_INTERVAL, 0.0, self._keep_house, missed=lambda _: None)
        groups = {
            name: Job(one.interval, one.offset, one.run, lambda _: None) for name, one in self._groups.cycles.items()
        }
        others = {**groups, _HOUSEKEEPING: house}
        self._workers.set(self._cycles, others, anew=_concurrency(self.config) if anew else None)

    def _keep_house(self, at: float) -> None:
        assert self._context is not None  # noqa: S101 - set before any job runs.
        self._departed.age(self._context, at=at)
        self._house.run(at, self.config.storage.retention, judged=[cycle.judged for cycle in self._cycles.values()])

    def watch(self) -> None:
        """Look after what must always run; call it every few seconds.

        Raises
        ------
        ExporterError
            Something died that cannot be brought back: the process has to be started again.
        """
        if self._broken is not None:
            raise ExporterError(self._broken)
        if not (self._web.alive and self._senders.alive and self._suppression.alive):
            raise ExporterError("the web server, a sender or the watch of silences died")
        self._workers.watch()
        # A reload deals with what hangs by itself.
        if any(cycle.stuck for cycle in self._cycles.values()) and self._reloading.acquire(blocking=False):
            try:
                self._replace_stuck()
            finally:
                self._reloading.release()

    def _replace_stuck(self) -> None:
        """Go on beside threads that hang, with what the store has: a thread cannot be ended from outside."""
        assert self._context is not None  # noqa: S101 - set before any cycle runs.
        now, replaced = self._clock(), dict(self._cycles)
        for name, old in self._cycles.items():
            if old.stuck:
                log.error("a run hangs and is left behind", extra={"query": name})
                self._workers.count_revival("cycle")
                old.leave()
                replaced[name] = old.take_over(old.plan, self._context, at=now)
        self._cycles = replaced
        self._set_jobs(anew=True)
        self._workers.prepare()

    # ------------------------------------------------------------------ what is shown

    def progress(self) -> dict[str, float]:
        """Return how much of its history each query has learned, 0 to 1; for the terminal."""
        return {name: cycle.progress for name, cycle in list(self._cycles.items())}

    def _not_ready(self) -> str | None:
        if self._stopping:
            return "it is stopping"
        return None if self._started else "it is starting"

    # ------------------------------------------------------------------ stop

    def stop(self) -> None:
        """End: nothing is resolved, everything is written, and what fires is sent once more."""
        self._stopping = True
        log.info("stopping")
        began = monotonic()
        _try(self._workers.stop)
        _try(self._suppression.stop)
        # A reload under way ends soon; one that does not is not waited for.
        reloading = self._reloading.acquire(timeout=2 * PATIENCE)
        _try(lambda: end(self._cycles.values(), lambda: self._api.cancel()))
        # The last checkpoint and the last scrapes do not need the last word to Alertmanagers.
        others = [
            threading.Thread(target=_try, args=(last,), daemon=True) for last in (self._close_cycles, self._stop_web)
        ]
        for other in others:
            other.start()
        timeout = self.config.alerting.drain_timeout
        _try(lambda: self._senders.drain(timeout))
        _try(self._senders.close)
        for other in others:
            other.join(max(1.0, _END + timeout - (monotonic() - began)))
        _try(self._views.close)
        _try(self._store.close)
        _try(self._api.close)
        if reloading:
            self._reloading.release()
        log.info("stopped")

    def _close_cycles(self) -> None:
        for cycle in self._cycles.values():
            if cycle.ended:
                _try(cycle.close)
        _try(self._groups.close)

    def _stop_web(self) -> None:
        self._web.stop(_STOP_WEB)


def _concurrency(config: Config) -> int:
    return config.prometheus.concurrency + 1  # One for housekeeping.


def _try(step: Callable[[], object]) -> None:
    """Do one of the last things; whatever comes of it, the others are done too."""
    try:
        step()
    except Exception:
        log.exception("the end was not as it should be")
