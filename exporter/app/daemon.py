"""The running program: start, watch, stop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from time import monotonic

from exporter import __version__
from exporter.app.parts import Lifecycle, Parts
from exporter.app.reload import Reloader
from exporter.config.model import Config
from exporter.errors import ExporterError
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.exposition import SelfMetrics
from exporter.views import Views
from exporter.web import WebServer
from exporter.workers import PATIENCE

__all__ = ["App"]

log = logging.getLogger(__name__)

_STOP_WEB = 1.0
_NAMED = 50
"""Queries that the line of the start names."""
_END = 4.0
"""Seconds for the end, beside the time for Alertmanagers."""


class App:
    """The daemon, built by `build`. `start` returns when it is serving; `stop` when everything is written and sent.

    Parameters
    ----------
    undo : ExitStack
        Closes everything that was built, where the start fails.
    """

    def __init__(
        self, parts: Parts, reloader: Reloader, lifecycle: Lifecycle, views: Views, web: WebServer, undo: ExitStack
    ) -> None:
        self._parts = parts
        self._reloader = reloader
        self._lifecycle = lifecycle
        self._views = views
        self._web = web
        self._undo = undo
        self.port = 0
        """Where it listens, once started."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._reloader.config

    @property
    def metrics(self) -> SelfMetrics:
        """The metrics of the program itself."""
        return self._parts.metrics

    @property
    def evaluators(self) -> Mapping[str, QueryEvaluator]:
        """The evaluators in force, by query."""
        return self._parts.evaluators.by_query

    def progress(self) -> dict[str, float]:
        """Return how much of its history each query has learned, 0 to 1; for the terminal."""
        return {name: evaluator.progress for name, evaluator in self.evaluators.items()}

    def start(self) -> None:
        """Serve, and run slots.

        Raises
        ------
        ExporterError
            The address cannot be listened on; nothing is left running.
        """
        with self._undo:
            self.port = self._web.start()
            self._undo.pop_all()
        self._parts.suppression.start()
        self._parts.workers.start()
        self._lifecycle.started = True
        log.info("watching", extra=_watched(self.config))
        log.info("ready", extra={"version": __version__, "port": self.port, "queries": len(self.evaluators)})

    def reload(self) -> None:
        """Read the configuration file again: all of it comes into force, or nothing changes.

        Raises
        ------
        ConfigError
        """
        self._reloader.reload()

    def config_changed(self) -> bool:
        """Return whether the configuration file is another than the one loaded last; ask every second."""
        return self._reloader.file_changed()

    def watch(self) -> None:
        """Restart what hangs or died; call it every few seconds.

        Raises
        ------
        ExporterError
            Something died that cannot be brought back: the process has to be started again.
        """
        if self._reloader.broken is not None:
            raise ExporterError(self._reloader.broken)
        if not (self._web.alive and self._parts.senders.alive and self._parts.suppression.alive):
            raise ExporterError("the web server, a sender or the watch of silences died")
        self._parts.workers.watch()
        self._reloader.replace_stuck()

    def stop(self) -> None:
        """End: nothing is resolved, everything is written, and what fires is sent once more."""
        parts = self._parts
        self._lifecycle.stopping = True
        log.info("stopping")
        began = monotonic()
        _try(parts.discovery.stop)
        _try(parts.workers.stop)
        _try(parts.suppression.stop)
        # A reload under way ends soon; one that does not is not waited for.
        with self._reloader.held(2 * PATIENCE):
            _try(self._reloader.end_evaluators)
            # The last checkpoint and the last scrapes do not need the last word to Alertmanagers.
            others = [
                threading.Thread(target=_try, args=(last,), daemon=True)
                for last in (self._close_evaluators, partial(self._web.stop, _STOP_WEB))
            ]
            for other in others:
                other.start()
            timeout = self.config.alerting.drain_timeout
            _try(lambda: parts.senders.drain(timeout))
            _try(parts.senders.close)
            for other in others:
                other.join(max(1.0, _END + timeout - (monotonic() - began)))
            _try(parts.remote_writes.stop)
            _try(self._views.close)
            _try(parts.store.close)
            _try(self._reloader.close)
        log.info("stopped")

    def _close_evaluators(self) -> None:
        for evaluator in self.evaluators.values():
            if evaluator.ended:
                _try(evaluator.close)
        _try(self._parts.groups.close)
        _try(self._parts.canaries.retire)


def _watched(config: Config) -> dict[str, object]:
    """Return the servers, queries, groups and Alertmanagers, as fields of a line of the log."""
    plans = config.plans()
    names = ",".join(plan.name for plan in plans[:_NAMED])
    receivers = [getattr(receiver, "url", None) or "discovered" for receiver in config.alertmanagers]
    return {
        "prometheus": ",".join(server.url for server in config.servers.values()),
        "queries": names + (f",... ({len(plans)})" if len(plans) > _NAMED else ""),
        "alerting": sum(plan.alert is not None for plan in plans),
        "groups": ",".join(group.name for group in config.groups) or "none",
        "alertmanagers": ",".join(receivers) or "none",
    }


def _try(step: Callable[[], object]) -> None:
    """Do one step of the end; if it fails, the others are done all the same."""
    try:
        step()
    except Exception:
        log.exception("the end was not as it should be")
