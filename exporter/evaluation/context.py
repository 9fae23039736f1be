"""What the cycles of all queries share."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

from exporter.alerting.settings import AlertingSettings
from exporter.config.model import QueryPlan
from exporter.delivery import AlertSnapshots
from exporter.engine.engine import Engine
from exporter.engine.sample_mask import FloatArray, SampleMask
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict
from exporter.errors import StateError
from exporter.evaluation.co_occurrence import CoOccurrence
from exporter.evaluation.ports import MetricsPage, QueryApi, StateStore
from exporter.evaluation.root_causes import RootCauses
from exporter.exposition import SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.prometheus import PrometheusApi
from exporter.suppression.sample_masks import InEffect

__all__ = ["EvaluationContext"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EvaluationContext:
    """The servers, the store and the page, and the settings that hold for every query.

    Attributes
    ----------
    api : QueryApi
        What slots ask, all queries one client.
    connect : callable
        Makes another client of the same server: reading history can be broken off without failing a slot.
    clock : callable
        The wall clock, in Unix seconds. Slots are given; this tells how far it is from the server's clock.
    utf8_labels : bool
        Whether every Alertmanager takes label names of any form.
    source_url : str
        URL of Prometheus that people open.
    query_offset, checkpoint_interval : float, seconds
    room : callable
        Returns how many more series an engine may have by what all queries together may.
    admitting : context manager
        Held while series are taken on; see `exporter.evaluation.admission`.
    treatment : callable
        Given the plan of a query, its series and instants, shape (t,), returns how the engine is to take the samples,
        or None where there is nothing to say. Asked of every slot and of all history, so that a restart, which
        reads slots again, leaves out what was left out before.
    external_url : str
        Where people reach this exporter; empty where nobody said.
    co_occurrence : CoOccurrence
        What is anomalous now, of all queries.
    root_causes : RootCauses
        Which alerts, of all queries and groups, explain which.
    feedback : EpisodeFeedback, optional
        What people said of episodes.
    in_effect : callable
        Given "query" or "group", its name, its rule, the series of its rows and an instant, returns which rows are
        ignored and what is in effect for each; None where nothing is.
    judged : callable
        Given every verdict, with the plan of its query and the series of its rows: groups are made of them.
    grouped : callable
        Whether a query, by name, is in a group.
    heard : callable
        Given, for queries that are in a group, the verdicts on slots of the past.
    """

    api: QueryApi
    connect: Callable[[], PrometheusApi]
    clock: Callable[[], float]
    store: StateStore
    exposition: MetricsPage
    board: AlertSnapshots
    metrics: SelfMetrics
    alerting: AlertingSettings
    external_labels: Mapping[str, str]
    utf8_labels: bool
    source_url: str
    query_offset: float
    checkpoint_interval: float
    room: Callable[[Engine], int]
    admitting: AbstractContextManager[object] = field(default_factory=threading.Lock)
    external_url: str = ""
    co_occurrence: CoOccurrence = field(default_factory=CoOccurrence)
    root_causes: RootCauses = field(default_factory=RootCauses)
    feedback: EpisodeFeedback | None = None
    treatment: Callable[[QueryPlan, SeriesTable, FloatArray], SampleMask | None] = lambda plan, table, times: None  # noqa: ARG005
    in_effect: InEffect = lambda kind, name, rule, table, at: None  # noqa: ARG005
    judged: Callable[[QueryPlan, Verdict, SeriesTable], None] = lambda plan, verdict, table: None  # noqa: ARG005
    grouped: Callable[[str], bool] = lambda query: False  # noqa: ARG005
    heard: Callable[[QueryPlan, Verdict, SeriesTable], None] = lambda plan, verdict, table: None  # noqa: ARG005

    @contextmanager
    def storing(self, query: str) -> Iterator[None]:
        """Run something that writes to the store; a failure is counted and logged, and passed on."""
        try:
            yield
        except StateError as fault:
            reason = str(getattr(fault, "reason", "other"))
            self.metrics.store_errors_total.labels(reason=reason).inc()
            log.error("the store failed", extra={"query": query, "reason": reason, "error": str(fault)})
            raise
