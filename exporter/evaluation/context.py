"""What the evaluators of queries and groups share: ports (what other parts do for them) and settings (values)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from exporter.alerting.alert import Step
from exporter.alerting.settings import AlertingSettings
from exporter.alerting.suppressed import SuppressionCodes
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.correlation.changes import ChangeLog
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.correlation.likely_causes import LikelyCauses
from exporter.correlation.loads import RowLoads
from exporter.correlation.root_causes import RootCauses
from exporter.delivery import AlertSnapshots
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict, Verdicts
from exporter.errors import StateError
from exporter.evaluation.admission import Admission
from exporter.evaluation.containment import Containment
from exporter.exposition import SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.prometheus import Frame, PrometheusApi
from exporter.silences import SentAlert
from exporter.store import AuditCursor, AuditPage, LearnedState
from exporter.suppression.sample_masks import SampleMasks
from exporter.worker_pool import WorkerPool

__all__ = [
    "AlertWriter",
    "ArrayStore",
    "AuditReader",
    "CanaryFeed",
    "EvaluationContext",
    "EvaluationSettings",
    "GroupFeed",
    "MetricsPage",
    "Ports",
    "QueryApi",
    "StateStore",
]

log = logging.getLogger(__name__)


class QueryApi(Protocol):
    """Answers the queries of slots; see `PrometheusApi`."""

    def instant(
        self,
        expr: str,
        at: float,
        *,
        timeout: float,
        is_learned: Callable[[bytes], bool] = ...,
        before: Frame | None = ...,
    ) -> Frame:
        """Evaluate `expr` at an instant."""


class AlertWriter(Protocol):
    """Writes alert steps; see `AlertLog`."""

    def commit(self, query: str, slot: float, step: Step) -> bool:
        """Apply the step of a slot, unless it was applied before."""

    def record(self, query: str, step: Step) -> None:
        """Apply a step that belongs to no slot."""


class AuditReader(Protocol):
    """Reads the audit; see `AuditLog`."""

    def page(self, *, query: str, since: float, after: AuditCursor | None, limit: int) -> AuditPage:
        """Return a page of the audit, newest first."""


class ArrayStore(Protocol):
    """Saves and loads learned state; see `LearnedArrays`."""

    def save(
        self,
        query: str,
        version: str,
        at: float,
        parts: Mapping[str, NDArray[Any]],
        series: Iterable[tuple[int, bytes]] | None = None,
        removed: Iterable[int] = (),
    ) -> None:
        """Write the arrays and series that changed."""

    def load(self, query: str, version: str) -> LearnedState | None:
        """Return the stored state of a query; None where there is none of this version."""

    def forget(self, query: str) -> None:
        """Delete the state of a query."""

    def version(self, query: str) -> str | None:
        """Return of which version the stored state of a query is; None where there is none."""

    def rename(self, query: str, to: str) -> None:
        """Put the state of a query in place of what is stored under another name."""


class StateStore(Protocol):
    """The parts of `Store` that an evaluation uses."""

    @property
    def alerts(self) -> AlertWriter:
        """Alerts and watermarks."""

    @property
    def audit(self) -> AuditReader:
        """Transitions so far."""

    @property
    def learned_arrays(self) -> ArrayStore:
        """Learned state, by query."""


class MetricsPage(Protocol):
    """Shows scores on ``/metrics``; see `Exposition`."""

    def publish(
        self,
        query: str,
        prefixes: Sequence[bytes],
        metrics: Mapping[str, NDArray[Any]],
        suppressed: SuppressionCodes,
        utf8_prefixes: Sequence[bytes],
    ) -> None:
        """Replace all rows of a query."""

    def publish_group(
        self,
        group: str,
        prefixes: Sequence[bytes],
        score: NDArray[Any],
        load: NDArray[Any],
        suppressed: SuppressionCodes,
        utf8_prefixes: Sequence[bytes],
    ) -> None:
        """Replace all rows of a group."""

    def publish_canary(
        self,
        query: str,
        prefixes: Sequence[bytes],
        metrics: Mapping[str, NDArray[Any]],
        utf8_prefixes: Sequence[bytes],
    ) -> None:
        """Replace all rows of the comparisons of a query."""

    def withdraw_canary(self, query: str) -> None:
        """Remove all rows of the comparisons of a query."""

    def withdraw(self, query: str) -> None:
        """Remove all rows of a query."""

    def withdraw_group(self, group: str) -> None:
        """Remove all rows of a group."""


class GroupFeed(Protocol):
    """Takes the verdicts that groups are made of; see `Groups`."""

    def wants(self, query: str) -> bool:
        """Return whether a query is in a group."""

    def add_history(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Take the verdict on a slot of the past."""

    def past_due(self, query: str) -> bool:
        """Return whether a group waits for the past of a query that has learned it before the group was there."""

    def begin_past(self, query: str) -> None:
        """Drop what was read of that past: it is read from its begin."""

    def past_goes_on(self, query: str, progress: float) -> None:
        """Note how much of it is read, 0 to 1."""

    def add_past(self, plan: QueryPlan, verdict: Verdict) -> None:
        """Take the verdict on a slot of it."""

    def end_past(self, plan: QueryPlan, table: SeriesTable | None) -> None:
        """Take the rows of these verdicts; None: they cannot be had."""

    def add(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Take the verdict on the newest slot, and evaluate the groups that are complete with it."""

    def loads(self, query: str, at: float, size: int) -> RowLoads | None:
        """Return which rows of a query are under a load that a group recognises; None where it is in no group."""


class CanaryFeed(Protocol):
    """Takes the verdicts whose samples are compared; see `Canaries`."""

    def add(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Compare the samples of the newest slot."""

    def hold(self, plan: QueryPlan, slot: float) -> None:
        """Note that a slot has no answer."""


class NoCanaries:
    """Where nothing is compared."""

    def add(self, plan: QueryPlan, verdict: Verdict, table: SeriesTable) -> None:
        """Do nothing."""

    def hold(self, plan: QueryPlan, slot: float) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What other parts of the program do for evaluators: the daemon gives servers and a database, a backtest the past.

    Attributes
    ----------
    api : QueryApi
        Answers the queries of slots; one client for all queries of a source.
    connect : callable
        Makes another client of the same server: reading history can be broken off without failing a slot.
    clock : callable
        The wall clock, Unix seconds. Slots are arguments; this is only compared with the server's clock.
    masks : SampleMasks
        Which samples and alerts the calendar and silences suppress. Consulted for every slot and for all history, so
        that a restart, which reads slots again, leaves out the same samples.
    feedback : EpisodeFeedback or None
        None where nobody can give any, as in a backtest.
    cover_incidents : callable
        Makes the incidents of a range of time known before its samples are learned.
    sent_alerts : callable
        Returns the active alerts that Alertmanagers list, whoever sent them, by fingerprint.
    paired : callable
        Returns whether another exporter may have the same series.
    inquiry_api : PrometheusApi or None
        Asked when an alert fires; None where nobody can be asked.
    containment : Containment
        Runs what a slot can do without.
    on_verdict : callable
        Called with every verdict: the plan of its query, the verdict, the series of its rows, and which of them do not
        alert whatever their score.
    on_history : callable
        Called with the verdicts on a part of history that is learned: query, verdicts, and the series of their rows.
    needs_history : bool
        Whether nothing may be judged without history: a backtest fails instead.
    pool : WorkerPool
        Where history is learned.
    reading : context manager
        Held while a part of history is read: of so many queries at the same time.
    """

    api: QueryApi
    connect: Callable[[], PrometheusApi]
    clock: Callable[[], float]
    store: StateStore
    exposition: MetricsPage
    alert_snapshots: AlertSnapshots
    metrics: SelfMetrics
    admission: Admission
    masks: SampleMasks
    feedback: EpisodeFeedback | None
    groups: GroupFeed
    on_verdict: Callable[[QueryPlan, Verdict, SeriesTable, SuppressionCodes], None]
    co_occurrence: CoOccurrence
    root_causes: RootCauses
    containment: Containment = field(default_factory=Containment)
    canaries: CanaryFeed = field(default_factory=NoCanaries)
    likely_causes: LikelyCauses = field(default_factory=LikelyCauses)
    changes: ChangeLog = field(default_factory=ChangeLog)
    cover_incidents: Callable[[float, float], None] = lambda start, end: None  # noqa: ARG005
    inquiry_api: PrometheusApi | None = None
    on_history: Callable[[str, Verdicts, SeriesTable], None] = lambda query, verdicts, table: None  # noqa: ARG005
    needs_history: bool = False
    pool: WorkerPool = field(default_factory=WorkerPool)
    reading: AbstractContextManager[Any] = field(default_factory=nullcontext)
    sent_alerts: Callable[[], Mapping[str, SentAlert]] = dict
    paired: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """The values of the configuration and the flags that hold for every query of one source.

    Attributes
    ----------
    source_url : str
        URL of Prometheus that links in alerts lead to.
    query_offset, checkpoint_interval : float, seconds
    external_url : str
        URL of this exporter that links in alerts lead to; empty where it is not configured.
    """

    alerting: AlertingSettings
    external_labels: Mapping[str, str]
    source_url: str
    query_offset: float
    checkpoint_interval: float
    external_url: str

    @classmethod
    def of(cls, config: Config, source: str, *, external_url: str) -> EvaluationSettings:
        """Return the settings of a configuration for the queries of one source."""
        server = config.servers[source]
        return cls(
            alerting=config.alerting,
            external_labels=config.global_.external_labels,
            source_url=server.external_url or server.url,
            query_offset=server.query_offset,
            checkpoint_interval=config.storage.checkpoint_interval,
            external_url=external_url,
        )


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """Ports and settings, for evaluators from one configuration to the next."""

    ports: Ports
    settings: EvaluationSettings

    @contextmanager
    def storing(self, query: str) -> Iterator[None]:
        """Run something that writes to the store; a failure is counted and logged, and raised again."""
        try:
            yield
        except StateError as fault:
            reason = str(getattr(fault, "reason", "other"))
            self.ports.metrics.store_errors_total.labels(reason=reason).inc()
            log.error("the store failed", extra={"query": query, "reason": reason, "error": str(fault)})
            raise
