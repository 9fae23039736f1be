"""What is asked on a schedule beside the queries that are scored, server by server."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from exporter.calendar import Occurrence
from exporter.config.model import Config
from exporter.correlation.changes import ChangeLog
from exporter.correlation.root_causes import RootCauses
from exporter.errors import PrometheusError
from exporter.evaluation.change_queries import ChangeQueries
from exporter.evaluation.dependency_queries import DependencyQueries
from exporter.evaluation.incidents import Incidents
from exporter.evaluation.sources import Sources
from exporter.exposition import SelfMetrics
from exporter.schedule import Job

__all__ = ["ScheduledQueries"]

log = logging.getLogger(__name__)

_DEPENDENCIES_INTERVAL = 15.0
_INTERVAL = 5.0
"""Seconds between two looks at what is due."""


@dataclass(frozen=True, slots=True)
class _OfSource:
    """What is asked of one server."""

    dependencies: DependencyQueries
    changes: ChangeQueries
    incidents: Incidents


class ScheduledQueries:
    """The queries of `dependencies`, `changes` and `incidents` of one configuration.

    Each server has its own, so that one that does not answer holds up nothing of the others.

    Parameters
    ----------
    changed : callable
        Called when there are new changes.
    unlearn : callable
        Called with all times that are not learned, and whose series.
    past : bool
        Whether the past is asked for, in which nothing is late: `query_offset` counts for dependencies only.
    """

    def __init__(
        self,
        config: Config,
        sources: Sources,
        metrics: SelfMetrics,
        root_causes: RootCauses,
        changes: ChangeLog,
        *,
        changed: Callable[[], None],
        unlearn: Callable[[Sequence[Occurrence]], None],
        past: bool = False,
    ) -> None:
        self._root_causes, self._change_log, self._unlearn = root_causes, changes, unlearn
        self._metrics, self._default = metrics, sources.default
        self._unlearned: dict[str, tuple[Occurrence, ...]] = {}
        self._queries: dict[str, _OfSource] = {}
        timeout = config.global_.timeout
        for name, api in sources.apis.items():
            offset = sources.servers[name].query_offset
            early, asks = 0.0 if past else offset, partial(self._is_of, name)
            incidents = [each for each in config.incidents if asks(each.source)]
            self._queries[name] = _OfSource(
                DependencyQueries(root_causes, metrics, api, timeout=timeout, query_offset=offset, asks=asks),
                ChangeQueries(changes, metrics, api, changed, timeout=timeout, query_offset=early, asks=asks),
                Incidents(incidents, metrics, api, partial(self._note, name), timeout=timeout, query_offset=early),
            )

    def _is_of(self, name: str, source: str | None) -> bool:
        return (source or self._default) == name

    def _note(self, name: str, occurrences: Sequence[Occurrence]) -> None:
        self._unlearned = {**self._unlearned, name: tuple(occurrences)}
        self._unlearn([each for some in self._unlearned.values() for each in some])

    def cover(self, source: str, start: float, end: float) -> None:
        """Know the incidents of a range of time, Unix seconds, before samples of `source` are learned.

        Raises
        ------
        PrometheusError
            The source does not answer. Where another one does not, its incidents are not known, and that is counted.
        """
        for name, queries in self._queries.items():
            try:
                queries.incidents.cover(start, end)
            except PrometheusError as error:
                if name == source:
                    raise
                self._metrics.incident_queries_failed_total.inc()
                log.warning("incidents are not known", extra={"source": name, "error": str(error)})

    def read_changes(self, start: float, end: float) -> None:
        """Ask for all changes in a range of time, Unix seconds."""
        for name, queries in self._queries.items():
            for each in self._change_log.queried:
                if self._is_of(name, each.source):
                    queries.changes.read(each, start, end)

    def ask_dependencies(self, at: float) -> None:
        """Ask the queries of dependencies that are due at an instant, Unix seconds."""
        for queries in self._queries.values():
            queries.dependencies.run(at)

    def jobs(self) -> dict[str, Job]:
        """Return the jobs by name; no query can have such a name."""
        jobs = {}
        for name, queries in self._queries.items():

            def add(what: str, interval: float, run: Callable[[float], None], name: str = name) -> None:
                label = f"({what})" if len(self._queries) == 1 else f"({what} {name})"
                jobs[label] = Job(interval, 0.0, run, missed=lambda _: None, pool=name)

            if any(self._is_of(name, each.source) for each in self._root_causes.queried):
                add("dependencies", _DEPENDENCIES_INTERVAL, queries.dependencies.run)
            if any(self._is_of(name, each.source) for each in self._change_log.queried):
                add("changes", _INTERVAL, queries.changes.run)
            if queries.incidents.settings:
                add("incidents", _INTERVAL, queries.incidents.run)
        return jobs
