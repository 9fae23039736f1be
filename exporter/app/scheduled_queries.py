"""What is asked of Prometheus on a schedule beside the queries that are scored."""

from __future__ import annotations

from exporter.config.model import Config
from exporter.correlation.changes import ChangeLog
from exporter.correlation.root_causes import RootCauses
from exporter.evaluation.change_queries import ChangeQueries
from exporter.evaluation.dependency_queries import DependencyQueries
from exporter.evaluation.incidents import Incidents
from exporter.exposition import SelfMetrics
from exporter.prometheus import PrometheusApi
from exporter.schedule import Job
from exporter.suppression.suppression import Suppression

__all__ = ["ScheduledQueries"]

_DEPENDENCIES_INTERVAL = 15.0
_INTERVAL = 5.0
"""Seconds between two looks at what is due."""


class ScheduledQueries:
    """The queries of `dependencies`, `changes` and `incidents` of one configuration.

    Attributes
    ----------
    incidents : Incidents
        Has to know a range of time before it is learned.
    """

    def __init__(
        self,
        config: Config,
        api: PrometheusApi,
        metrics: SelfMetrics,
        root_causes: RootCauses,
        changes: ChangeLog,
        suppression: Suppression,
    ) -> None:
        self._after = {query.name: query.after_change for query in config.queries if query.after_change is not None}
        self._change_log, self._suppression, self._root_causes = changes, suppression, root_causes
        timeout, offset = config.global_.timeout, config.prometheus.query_offset
        self._dependencies = DependencyQueries(root_causes, metrics, api, timeout=timeout, query_offset=offset)
        self._changes = ChangeQueries(changes, metrics, api, self.widen, timeout=timeout, query_offset=offset)
        self.incidents = Incidents(
            config.incidents, metrics, api, suppression.unlearn, timeout=timeout, query_offset=offset
        )

    def widen(self) -> None:
        """Put the bands after changes into force."""
        self._suppression.widen(self._change_log.bands(self._after))

    def jobs(self) -> dict[str, Job]:
        """Return the jobs by name; no query can have such a name."""
        jobs = {}
        if self._root_causes.queried:
            jobs["(dependencies)"] = Job(_DEPENDENCIES_INTERVAL, 0.0, self._dependencies.run, missed=lambda _: None)
        if self._change_log.queried:
            jobs["(changes)"] = Job(_INTERVAL, 0.0, self._changes.run, missed=lambda _: None)
        if self.incidents.settings:
            jobs["(incidents)"] = Job(_INTERVAL, 0.0, self.incidents.run, missed=lambda _: None)
        return jobs
