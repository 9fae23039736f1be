"""The configuration in force: applied at the start and at every reload, all of it or nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from exporter.alerting.alert import Step
from exporter.alerting.state_machine import restore
from exporter.alerting.suppressed import SuppressionCodes
from exporter.app.parts import Lifecycle, Parts
from exporter.canary.canary_evaluator import canary_job
from exporter.config.ics_files import included_patterns
from exporter.config.load import Loaded, load
from exporter.config.model import AlertingGroup, Config
from exporter.config.plan import QueryPlan, sharded
from exporter.config.watch import ConfigWatch
from exporter.delivery import AlertmanagerSettings
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict, Verdicts
from exporter.errors import ExporterError
from exporter.evaluation.context import EvaluationContext, EvaluationSettings, Ports
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.evaluation.removed_queries import RemovedQueries
from exporter.evaluation.scheduled_queries import ScheduledQueries
from exporter.evaluation.shadow import promote_stored, shadow_job
from exporter.evaluation.sources import Sources
from exporter.multivariate.group_evaluator import job_of, members_of
from exporter.prometheus import AnswerBudget, PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.schedule import Job
from exporter.suppression.sample_masks import SampleMasks
from exporter.views.kept_verdicts import keep
from exporter.workers import end, pools

__all__ = ["Reloader"]

log = logging.getLogger(__name__)


_MAINTENANCE = "(housekeeping)"
"""Name of the job of periodic maintenance; no query can have it."""
_MAINTENANCE_INTERVAL = 15.0
_SENDING = 10.0
"""Seconds from a slot until an Alertmanager lists what fires in it, at most."""


class Reloader:
    """Applies configurations; the first one, with the alerts of an earlier process, when it is constructed.

    Parameters
    ----------
    lifecycle : Lifecycle
        Once it is stopping nothing is applied.
    watch : ConfigWatch
        Of the configuration file; made before `loaded`.
    shard : tuple of int
        (index, count): the part of the series of every query that is evaluated here.
    external_url : str
        URL of this exporter; empty where it is not configured.
    applied : callable, optional
        Called after every reload that worked.

    Attributes
    ----------
    config : Config
        The configuration in force.
    broken : str or None
        Why neither the old configuration nor the new one is in force, so that the process has to end.

    Raises
    ------
    ExporterError
        The configuration cannot be applied.
    """

    def __init__(
        self,
        parts: Parts,
        loaded: Loaded,
        lifecycle: Lifecycle,
        *,
        config_file: Path,
        watch: ConfigWatch,
        shard: tuple[int, int],
        external_url: str,
        applied: Callable[[], None] | None = None,
    ) -> None:
        self._parts = parts
        self._lifecycle = lifecycle
        self._config_file, self._watch = config_file, watch
        self._shard = shard
        self._external_url, self._applied = external_url, applied
        self._lock = threading.Lock()
        self._removed = RemovedQueries()
        self._alertmanagers: tuple[AlertmanagerSettings, ...] = ()
        self.broken: str | None = None
        self.config = loaded.config
        alerts, notes, now = parts.store.alerts.load(), parts.store.alerts.notes(), parts.clock()
        restored = {
            query: replace(restore(self.config.alerting, left, at=now), notes=notes.get(query))
            for query, left in alerts.items()
        }
        _log_warnings(loaded)
        self._budget = AnswerBudget(parts.admission.answer_room)
        with Sources.trial(self.config.servers, self._new_api) as self._sources:
            self._apply(self.config, self._sources, restored, at=now)
        watch.included(included_patterns(self.config))
        parts.discovery.follow(self.follow_alertmanagers)
        # Those that were discovered after the start gave up waiting, and before `follow`.
        self.follow_alertmanagers()

    def file_changed(self) -> bool:
        """Return whether the configuration file has another content than what was loaded last; ask every second."""
        return self._watch.changed()

    def close(self) -> None:
        """Close the clients of the sources."""
        self._sources.close()

    def reload(self) -> None:
        """Read the configuration file again: all of it comes into force, or nothing changes.

        Raises
        ------
        ConfigError
        """
        metrics = self._parts.metrics
        with self._lock:
            try:
                self._watch.loading()
                loaded = load(self._config_file)
                if not self._lifecycle.stopping:
                    self._replace(loaded)
                    self._parts.workers.prepare()
                    if self._applied is not None:
                        self._applied()
            except ExporterError as fault:
                self.refused(fault)
                raise
            except Exception as mistake:
                # Neither the old one nor the new one is in force, so the process has to begin anew.
                metrics.config_last_reload_successful.set(0)
                log.exception("the configuration was reloaded in part")
                self.broken = f"a reload failed half-way: {mistake!r}"
                raise ExporterError(self.broken) from mistake

    def refused(self, fault: ExporterError) -> None:
        """Note that the file has a mistake, and that an older configuration is in force."""
        self._parts.metrics.config_last_reload_successful.set(0)
        error = "; ".join(str(fault).splitlines())
        log.error("the configuration was not reloaded, the old one stays in force", extra={"error": error})

    def follow_alertmanagers(self) -> None:
        """Use the Alertmanagers that names and files of the configuration in force stand for now."""
        with self._lock:
            if self._lifecycle.stopping:
                return
            try:
                alertmanagers = self._parts.discovery.targets
                if alertmanagers == self._alertmanagers:
                    return
                self._alertmanagers = alertmanagers
                self._parts.senders.apply(alertmanagers, self.config.alerting)
                self._parts.suppression.follow(alertmanagers, self.config)
            except ExporterError as fault:
                log.error("the alertmanagers that were found are not used", extra={"error": str(fault)})

    def _replace(self, loaded: Loaded) -> None:
        _log_warnings(loaded)
        new, now = loaded.config, self._parts.clock()
        with Sources.trial(new.servers, self._new_api, self._sources) as sources:
            self._apply(new, sources, {}, at=now)
        self._watch.included(included_patterns(new))
        log.info("configuration reloaded", extra={"queries": len(self._parts.evaluators.by_query)})

    def _new_api(self, server: PrometheusSettings) -> PrometheusApi:
        """Return a client; all of them share the memory for answers."""
        return PrometheusApi(server, budget=self._budget)

    def _apply(self, config: Config, sources: Sources, restored: Mapping[str, Step], *, at: float) -> None:
        """Put a configuration into force, with the alerts of an earlier process. What can fail is built first."""
        parts, evaluators = self._parts, self._parts.evaluators.by_query
        everywhere = config.plans()
        plans = {plan.name: plan for plan in sharded(everywhere, config.groups, *self._shard)}
        # Those of queries that another shard has go with them.
        groups = [group for group in config.groups if plans.keys() >= set(group.queries)]
        jobs = _jobs_of(plans.values(), groups)
        elsewhere = {plan.name for plan in everywhere} | _jobs_of(everywhere, config.groups)
        elsewhere -= plans.keys() | jobs
        self._alertmanagers = alertmanagers = parts.discovery.configure(config.alertmanagers)
        parts.senders.apply(alertmanagers, config.alerting)
        parts.remote_writes.apply(config.remote_write)
        parts.admission.configure(config.limits)
        parts.store.configure(config.storage)
        after = {query.name: query.after_change for query in config.queries if query.after_change is not None}

        def widen() -> None:
            """Put the bands after changes into force."""
            parts.suppression.widen(parts.changes.bands(after))

        queries = ScheduledQueries(
            config,
            sources,
            parts.metrics,
            parts.root_causes,
            parts.changes,
            changed=widen,
            unlearn=parts.suppression.unlearn,
        )
        masks = parts.suppression.apply(config, alertmanagers)
        contexts = {name: self._new_context(config, sources, name, masks, queries) for name in sources.apis}
        context = contexts[sources.default]
        # An alert of another shard is sent, and then listed.
        patience = config.silences.interval + _SENDING if self._shard[1] > 1 and alertmanagers else 0.0
        parts.root_causes.configure(
            config.dependencies, plans.keys() | jobs, map(members_of, groups), patience=patience
        )
        parts.likely_causes.configure(config.causes, {plan.name: plan.unit for plan in plans.values()})
        parts.changes.configure(config.changes)
        parts.metrics.dependencies.set(len(parts.root_causes.graph))
        all_ended = self.end_evaluators()
        # Built aside: others count the series of all evaluators meanwhile.
        new = {
            name: old.take_over(plans[name], contexts[plans[name].source], at=at)
            for name, old in evaluators.items()
            if name in plans
        }
        for name, old in evaluators.items():
            if name not in plans:
                self._removed.add(name, old.alerts.alert_store.left, context, at=at, moved=name in elsewhere)
                parts.exposition.withdraw(name)
                parts.metrics.forget(name)
        for name in restored.keys() - plans.keys() - jobs:
            self._removed.add(name, restored[name], context, at=at, moved=name in elsewhere)

        def last_step(name: str) -> Step:
            return restored.get(name) or self._removed.take(name)

        promote_stored(parts.store.learned_arrays, [plans[name] for name in plans.keys() - new.keys()])
        for name in plans.keys() - new.keys():
            new[name] = QueryEvaluator(plans[name], contexts[plans[name].source], last_step(name), started=at)
        parts.evaluators.by_query = new
        parts.co_occurrence.keep(plans)
        parts.latest.keep(plans)
        removed = partial(self._removed.add, context=context, at=at)
        parts.groups.apply(groups, plans, contexts, at=at, last_step=last_step, removed=removed)
        parts.canaries.apply(plans, contexts, at=at, last_step=last_step, removed=removed)
        jobs = parts.groups.evaluators.keys() | parts.canaries.evaluators.keys()
        jobs |= {shadow_job(name) for name, plan in plans.items() if plan.shadow is not None}
        parts.maintenance.delete_state_of_others(plans.keys() | jobs)

        if sources is not self._sources:
            self._sources.close(besides=sources)
        self._sources, self._contexts, self._context, self.config = sources, contexts, context, config
        parts.metrics.follow_sources(sources.apis)
        widen()
        self._queries = queries
        self._set_jobs(new_threads=not all_ended)
        for name, plan in plans.items():
            parts.metrics.query_interval_seconds.labels(query=name).set(plan.interval)
        parts.metrics.config_last_reload_successful.set(1)
        parts.metrics.config_last_reload_success_timestamp_seconds.set(at)

    def _new_context(
        self, config: Config, sources: Sources, name: str, masks: SampleMasks, queries: ScheduledQueries
    ) -> EvaluationContext:
        """Return what evaluators of queries of one source share."""
        parts = self._parts
        ports = Ports(
            api=sources.apis[name],
            connect=partial(sources.connect, name),
            clock=parts.clock,
            store=parts.store,
            exposition=parts.exposition,
            alert_snapshots=parts.alert_snapshots,
            metrics=parts.metrics,
            admission=parts.admission,
            containment=parts.containment,
            masks=masks,
            feedback=parts.feedback,
            groups=parts.groups,
            canaries=parts.canaries,
            on_verdict=self._on_verdict,
            co_occurrence=parts.co_occurrence,
            root_causes=parts.root_causes,
            likely_causes=parts.likely_causes,
            changes=parts.changes,
            cover_incidents=partial(queries.cover, name),
            inquiry_api=sources.apis[name],
            on_history=self._on_history,
            pool=parts.pool,
            sent_alerts=parts.suppression.sent_alerts,
            paired=parts.suppression.paired,
        )
        return EvaluationContext(ports, EvaluationSettings.of(config, name, external_url=self._external_url))

    def _on_verdict(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable, suppressed: SuppressionCodes) -> None:
        parts, name, run = self._parts, plan.name, self._parts.containment.run
        run("page", name, partial(parts.latest.put, plan, verdict, table, suppressed), None)
        run("kept verdicts", name, lambda: keep(parts.store.verdicts, parts.latest.get(name)), None)
        run("remote write", name, partial(parts.remote_writes.put, name, verdict, table), None)

    def _on_history(self, query: str, verdicts: Verdicts, table: SeriesTable) -> None:
        put = partial(self._parts.remote_writes.put_history, query, verdicts, table)
        self._parts.containment.run("remote write", query, put, None)

    def end_evaluators(self) -> bool:
        """End the evaluators of all queries; False where a run hangs and is left behind."""
        return end(self._parts.evaluators.by_query.values(), self._sources.cancel)

    def replace_stuck(self) -> None:
        """Replace evaluators that hang, from the store: a thread cannot be ended by another one."""
        # A reload replaces what hangs by itself.
        if self._parts.evaluators.any_stuck() and self._lock.acquire(blocking=False):
            try:
                self._replace_stuck()
            finally:
                self._lock.release()

    def _replace_stuck(self) -> None:
        parts, now = self._parts, self._parts.clock()
        replaced = dict(parts.evaluators.by_query)
        for name, old in parts.evaluators.by_query.items():
            if old.stuck:
                log.error("a run hangs and is left behind", extra={"query": name})
                parts.workers.count_revival("cycle")
                old.leave()
                replaced[name] = old.take_over(old.plan, self._contexts[old.plan.source], at=now)
        parts.evaluators.by_query = replaced
        self._set_jobs(new_threads=True)
        parts.workers.prepare()

    @contextmanager
    def held(self, timeout: float) -> Iterator[None]:
        """Let no reload begin; one that is under way is waited for, `timeout` seconds at most."""
        acquired = self._lock.acquire(timeout=timeout)
        try:
            yield
        finally:
            if acquired:
                self._lock.release()

    def _set_jobs(self, *, new_threads: bool) -> None:
        maintenance = Job(_MAINTENANCE_INTERVAL, 0.0, self.maintain, missed=lambda _: None)
        others = {_MAINTENANCE: maintenance}
        others |= self._queries.jobs()
        groups = {
            name: Job(group.interval, group.offset, group.run, lambda _: None)
            for name, group in self._parts.groups.evaluators.items()
        }
        self._parts.workers.set(
            self._parts.evaluators.by_query,
            {**groups, **others},
            pools(self.config),
            new_threads=new_threads,
        )

    def maintain(self, at: float) -> None:
        """Do periodic maintenance; `at` is now, Unix seconds."""
        self._removed.age(self._context, at=at)
        judged = [evaluator.judged for evaluator in self._parts.evaluators.by_query.values()]
        self._parts.maintenance.run(at, self.config.storage.retention, judged=judged)


def _log_warnings(loaded: Loaded) -> None:
    for problem in loaded.warnings:
        more: dict[str, object] = {"file": problem.file} if problem.file else {}
        more |= {"line": problem.line, "path": problem.path, "warning": problem.message}
        log.warning("configuration", extra=more)


def _jobs_of(plans: Iterable[QueryPlan], groups: Iterable[AlertingGroup]) -> set[str]:
    """Return the names under which canaries of queries and groups have alerts of their own."""
    return {job_of(group) for group in groups} | {canary_job(plan) for plan in plans if plan.canary is not None}
