"""What lives as long as the process, whatever the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from exporter.canary.canaries import Canaries
from exporter.correlation.changes import ChangeLog
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.correlation.likely_causes import LikelyCauses
from exporter.correlation.root_causes import RootCauses
from exporter.delivery import AlertSnapshots, Discovery, Senders
from exporter.evaluation.admission import Admission
from exporter.evaluation.containment import Containment
from exporter.exposition import Exposition, SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.maintenance import Maintenance
from exporter.multivariate.groups import Groups
from exporter.remote_write import RemoteWrites
from exporter.store import Store
from exporter.suppression.suppression import Suppression
from exporter.views.latest_verdicts import LatestVerdicts
from exporter.worker_pool import WorkerPool
from exporter.workers import Evaluators, Workers

__all__ = ["Lifecycle", "Parts"]


class Lifecycle:
    """Whether the process has started, and whether it is stopping."""

    def __init__(self) -> None:
        self.started = self.stopping = False

    def not_ready(self) -> str | None:
        """Return why scores cannot be served, or None where they can."""
        if self.stopping:
            return "it is stopping"
        return None if self.started else "it is starting"


@dataclass(frozen=True, slots=True)
class Parts:
    """What lives as long as the process, whatever the configuration."""

    clock: Callable[[], float]
    metrics: SelfMetrics
    exposition: Exposition
    store: Store
    feedback: EpisodeFeedback
    alert_snapshots: AlertSnapshots
    discovery: Discovery
    senders: Senders
    suppression: Suppression
    evaluators: Evaluators
    admission: Admission
    containment: Containment
    groups: Groups
    canaries: Canaries
    latest: LatestVerdicts
    co_occurrence: CoOccurrence
    root_causes: RootCauses
    likely_causes: LikelyCauses
    changes: ChangeLog
    maintenance: Maintenance
    remote_writes: RemoteWrites
    pool: WorkerPool
    workers: Workers
