"""Construction of the daemon, in the order of dependencies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry

from exporter.app.daemon import App
from exporter.app.parts import Lifecycle, Parts
from exporter.app.reload import Reloader
from exporter.canary.canaries import Canaries
from exporter.config.last_good import LastGood
from exporter.config.load import load, redacted
from exporter.config.model import Config
from exporter.config.watch import ConfigWatch
from exporter.correlation.changes import ChangeLog
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.correlation.damage import SLOTS, SPACING
from exporter.correlation.likely_causes import LikelyCauses
from exporter.correlation.root_causes import RootCauses
from exporter.delivery import AlertSnapshots, Discovery, ReceiverClocks, Senders
from exporter.evaluation.admission import Admission
from exporter.evaluation.containment import Containment
from exporter.evaluation.memory_limits import memory_limit
from exporter.exposition import Exposition, SelfMetrics
from exporter.exposition.build_information import build_information
from exporter.feedback.episodes import EpisodeFeedback
from exporter.maintenance import Maintenance
from exporter.multivariate.groups import Groups
from exporter.prometheus import PrometheusApi
from exporter.remote_write import RemoteWrites
from exporter.schedule import wall_clock
from exporter.store import Store
from exporter.suppression.suppression import Suppression
from exporter.views import Program, Views, events_between, upcoming_events
from exporter.views.canaries import canary_reports
from exporter.views.latest_verdicts import LatestVerdicts
from exporter.views.series import list_series
from exporter.views.shadows import shadow_reports
from exporter.web import Site, WebConfigFile, WebServer, build_app, is_loopback, path_prefixes
from exporter.web.api import (
    Endpoint,
    anomaly_endpoints,
    baseline_endpoint,
    canaries_endpoint,
    event_endpoints,
    github_endpoint,
    series_endpoint,
    shadows_endpoint,
    what_if_endpoint,
)
from exporter.worker_pool import open_pool
from exporter.workers import Evaluators, Workers, pools

__all__ = ["Options", "build"]


@dataclass(frozen=True, slots=True)
class Options:
    """The flags. What is in the file can be reloaded, what is a flag needs a restart."""

    config_file: Path
    storage_path: Path
    listen_address: str = ":9877"
    web_config_file: Path | None = None
    external_url: str | None = None
    route_prefix: str | None = None
    enable_lifecycle: bool = False
    enable_actions: bool = False
    enable_explore: bool = False
    auto_reload: bool = False
    shard: tuple[int, int] = (0, 1)
    workers: str = "1"


def build(options: Options, *, clock: Callable[[], float] = wall_clock) -> App:
    """Construct the daemon.

    Parameters
    ----------
    clock : callable
        The wall clock, Unix seconds.

    Raises
    ------
    ExporterError
        The configuration or the state directory cannot be used; nothing is left running.
    """
    registry = CollectorRegistry()
    metrics = SelfMetrics(registry)
    metrics.shards.set(options.shard[1])
    web_config = WebConfigFile(options.web_config_file, loaded=metrics.web_config_last_reload_successful.set)
    served, seen = path_prefixes(options.external_url, options.route_prefix)
    watch = ConfigWatch(options.config_file)
    last_good = LastGood(options.config_file, options.storage_path) if options.auto_reload else None
    loaded, mistake = (load(options.config_file), None) if last_good is None else last_good.load()
    lifecycle = Lifecycle()
    with ExitStack() as undo:
        parts = _parts(options, loaded.config, metrics, clock, undo)
        reloader = Reloader(
            parts,
            loaded,
            lifecycle,
            config_file=options.config_file,
            watch=watch,
            shard=options.shard,
            external_url=options.external_url or "",
            applied=None if last_good is None else last_good.keep,
        )
        undo.callback(reloader.close)
        if mistake is not None:
            reloader.refused(mistake)
        elif last_good is not None:
            last_good.keep()
        program = _program(parts, reloader)
        views = Views(program, PrometheusApi)
        # On a loopback address only users of this host can ask; with a web configuration it says who may.
        local = options.web_config_file is None and is_loopback(options.listen_address)
        web = build_app(
            _site(options, parts, reloader, lifecycle, views),
            endpoints=_endpoints(program, views, parts.suppression),
            prefix=served,
            external_prefix=seen,
            actions=options.enable_actions or local,
            explore=options.enable_explore,
        )
        host = urlsplit(options.external_url or "").hostname or ""
        server = WebServer(web, options.listen_address, web_config, host=host)
        return App(parts, reloader, lifecycle, views, server, undo.pop_all())


def _parts(
    options: Options, config: Config, metrics: SelfMetrics, clock: Callable[[], float], undo: ExitStack
) -> Parts:
    """Construct everything that lives as long as the program; `undo` ends what runs."""
    registry = metrics.registry
    alert_snapshots = AlertSnapshots()
    store = Store.open(options.storage_path, clock=clock)
    undo.callback(store.close)
    metrics.store_recovered.set(store.impaired)
    store.verdicts.dropped = lambda query: metrics.verdicts_dropped_total.labels(query=query).inc()
    feedback = EpisodeFeedback(store, metrics)
    clocks = ReceiverClocks()
    senders = Senders(
        alert_snapshots,
        store.deliveries,
        clock=clock,
        registry=registry,
        clocks=clocks,
        paired=lambda: suppression.paired(),
    )
    undo.callback(senders.close)
    discovery = Discovery(registry)
    undo.callback(discovery.stop)
    suppression = Suppression(store, alert_snapshots, clock=clock, metrics=metrics, clocks=clocks, shard=options.shard)
    undo.callback(suppression.stop)
    pool = open_pool(options.workers)
    undo.callback(pool.close)
    remote_writes = RemoteWrites(options.storage_path / "remote_write", clock=clock, registry=registry)
    undo.callback(remote_writes.stop)
    evaluators = Evaluators()
    return Parts(
        clock=clock,
        metrics=metrics,
        exposition=Exposition(registry),
        store=store,
        feedback=feedback,
        alert_snapshots=alert_snapshots,
        discovery=discovery,
        senders=senders,
        suppression=suppression,
        evaluators=evaluators,
        containment=Containment(lambda owner: metrics.cycle_parts_failed_total.labels(query=owner).inc()),
        admission=Admission(evaluators.engines, metrics, shadows=evaluators.shadow_engines, memory_limit=memory_limit),
        groups=Groups(evaluators.progress),
        canaries=Canaries(),
        latest=LatestVerdicts(),
        co_occurrence=CoOccurrence(),
        root_causes=RootCauses(sent_labels=suppression.incident_labels, elsewhere=suppression.sent_elsewhere),
        likely_causes=LikelyCauses(partial(store.verdicts.read_rows, spacing=SPACING, most=SLOTS)),
        changes=ChangeLog(suppression.events.all),
        maintenance=Maintenance(store, feedback, suppression, metrics),
        remote_writes=remote_writes,
        pool=pool,
        workers=Workers(pools(config), clock=clock, metrics=metrics),
    )


def _program(parts: Parts, reloader: Reloader) -> Program:
    """Return what pages and the API read of the program."""
    store, suppression, evaluators = parts.store, parts.suppression, parts.evaluators
    return Program(
        clock=parts.clock,
        evaluators=lambda: evaluators.by_query,
        config=lambda: reloader.config,
        latest=parts.latest,
        alert_snapshots=parts.alert_snapshots,
        registry=parts.metrics.registry,
        episodes=store.episodes,
        store_bytes=store.size_bytes,
        group_status=parts.groups.statuses,
        canary_status=parts.canaries.statuses,
        events=lambda at: upcoming_events(suppression.calendar, at),
        alert_status=suppression.statuses,
        alertmanagers=suppression.alertmanagers,
        verdicts=store.verdicts,
        changes=parts.changes.concerning,
        events_between=lambda *series: events_between(suppression.calendar, *series),
        discovery=parts.discovery.states,
    )


def _site(options: Options, parts: Parts, reloader: Reloader, lifecycle: Lifecycle, views: Views) -> Site:
    """Return what the web server serves beside the API."""
    return Site(
        metrics=parts.exposition.scrape,
        not_ready=lifecycle.not_ready,
        config=lambda: redacted(reloader.config),
        build=build_information(),
        pages=views,
        reload=reloader.reload if options.enable_lifecycle else None,
        reservations=parts.evaluators.reservations,
    )


def _endpoints(program: Program, views: Views, suppression: Suppression) -> tuple[Endpoint[Any, Any], ...]:
    """Return the endpoints below ``/api/v1``."""
    clock, events, snapshots = program.clock, suppression.events, program.alert_snapshots
    return (
        *anomaly_endpoints(
            program.episodes, clock, program.alert_status, lambda *alert: snapshots.read().annotations(*alert)
        ),
        series_endpoint(lambda request: list_series(views.latest(), request)),
        baseline_endpoint(views.baseline),
        canaries_endpoint(lambda: canary_reports(program.canary_status())),
        shadows_endpoint(lambda: shadow_reports(program.evaluators().values())),
        what_if_endpoint(views.what_if_of),
        *event_endpoints(events, lambda: suppression.calendar, clock),
        github_endpoint(events, lambda: program.config().webhooks.github, clock),
    )
