"""Cycles with everything around them real but the server: slots are in the test's hand, samples follow from time."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry

from exporter.alerting.alert import AlertState
from exporter.alerting.settings import AlertingSettings
from exporter.alerting.state_machine import restore
from exporter.config.model import Config, LimitsSettings
from exporter.config.plan import QueryPlan
from exporter.delivery import AlertSnapshots
from exporter.engine.together import alone
from exporter.errors import PrometheusError, Reason
from exporter.evaluation.admission import Admission
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.exposition import Exposition, SelfMetrics
from exporter.feedback.episodes import EpisodeFeedback
from exporter.prometheus import Frame, HistoryChunk
from exporter.prometheus.unreadable import LeftOut
from exporter.store import Store
from tests.contexts import context_of

__all__ = ["START", "Source", "World", "plan_of", "refused"]

START = 1_790_000_040.0
"""A slot of a minute."""

Value = Callable[[str, float], float]


def plan_of(**query: Any) -> QueryPlan:
    """A query of a minute that has learned enough after two hours of history."""
    fields = {
        "name": "load",
        "expr": "load",
        "interval": "1m",
        "min_relative_deviation": 0.3,
        "baseline": {"window": "1d", "min_history": "1h"},
        "alert": {},
        **query,
    }
    return Config.model_validate({"queries": [fields]}).plans()[0]


def calm(name: str, at: float) -> float:
    """What a series says when nothing is wrong: a little noise that follows from its name and the time."""
    return 100.0 + 5.0 * math.sin(at * 12.9898 + len(name)) + 5.0 * math.sin(at / 777.0)


class Source:
    """Answers as `PrometheusApi` does. `faults` are raised or called, one a request; `loud` series are anomalous."""

    def __init__(self, *series: str, labels: Mapping[str, str] | None = None) -> None:
        self.series = list(series or ("a", "b"))
        self.labels = dict(labels or {})
        self.loud: set[str] = set()
        self.gone: set[str] = set()
        self.unreadable: set[str] = set()
        self.faults: list[Exception | Callable[[], None]] = []
        self.down: Exception | None = None
        self.warnings: tuple[str, ...] = ()
        self.server_time: Callable[[], float | None] | None = None
        self.instants: list[float] = []
        self.ranges: list[tuple[float, float, float]] = []
        self.extra: dict[str, dict[str, str]] = {}
        self.clients = 0

    def value(self, name: str, at: float) -> float:
        return calm(name, at)

    def keys(self) -> list[str]:
        return [name for name in self.series if name not in self.gone]

    def key(self, name: str) -> bytes:
        return json.dumps({"__name__": "load", "instance": name, **self.labels, **self.extra.get(name, {})}).encode()

    def _trouble(self) -> None:
        if self.down is not None:
            raise self.down
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            fault()

    def instant(self, expr: str, at: float, **_: object) -> Frame:
        self.instants.append(at)
        self._trouble()
        unreadable = [name for name in self.keys() if name in self.unreadable]
        names = [name for name in self.keys() if name not in self.unreadable]
        values = np.array([self.value(name, at) * (5.0 if name in self.loud else 1.0) for name in names])
        left_out = LeftOut(tuple(map(self.key, unreadable)), len(unreadable), len(unreadable))
        clock = None if self.server_time is None else self.server_time()
        return Frame(
            at, [self.key(name) for name in names], values, np.full(len(names), at), left_out, self.warnings, clock
        )

    def history(
        self, expr: str, start: float, end: float, step: float, *, timeout: float, series: int, **_: object
    ) -> Iterator[HistoryChunk]:
        self.ranges.append((start, end, step))
        self._trouble()
        times = start + step * np.arange(math.floor((end - start + 0.0005) / step) + 1)
        for part in np.array_split(times, max(1, len(times) // 300)):
            names = self.keys()
            yield HistoryChunk(
                part, [self.key(name) for name in names], np.array([[self.value(n, t) for n in names] for t in part])
            )

    def cancel(self) -> None:
        """Nothing is ever under way."""

    def close(self) -> None:
        """Nothing is open."""

    def connect(self) -> Source:
        self.clients += 1
        return self


class World:
    """One query with all that it needs. `slot()` runs the next slot; `restart()` is a new process on the same store."""

    def __init__(
        self,
        directory: Path,
        source: Any = None,
        *,
        plan: QueryPlan | None = None,
        start: float = START,
        ports: Mapping[str, Any] | None = None,
        **limits: Any,
    ) -> None:
        self.directory = directory
        self.source = source or Source()
        self.plan = plan or plan_of()
        self.limits = AlertingSettings().model_copy(update=limits)
        self.now = start
        self.admission = Admission(lambda: (self.cycle.learner.engine,), SelfMetrics(CollectorRegistry()))
        self.limit(1000)
        self.skew = 0.0
        if isinstance(self.source, Source):
            # It keeps the time, and lives when the slots are.
            self.source.server_time = lambda: self.now - self.skew
        self.checkpoint_interval = 300.0
        self.external_labels: dict[str, str] = {}
        self.ports = dict(ports or {})
        self.begin()

    def begin(self) -> None:
        self.store = Store.open(self.directory, clock=time.time)
        self.alert_snapshots = AlertSnapshots()
        self.metrics = SelfMetrics(CollectorRegistry())
        self.exposition = Exposition(self.metrics.registry)
        self.feedback = EpisodeFeedback(self.store, self.metrics)
        # A killed process is followed by the next one at once: no slot is missed.
        self.now = max(self.now, self.store.alerts.watermarks().get(self.plan.name) or self.now)
        kept = self.store.alerts.load().get(self.plan.name, {})
        step = replace(restore(self.limits, kept, at=self.now), notes=self.store.alerts.notes().get(self.plan.name))
        self.cycle = QueryEvaluator(self.plan, self.context(), step, started=self.now)

    def clock(self) -> float:
        """Our clock."""
        return self.now if isinstance(self.source, Source) else time.time()

    def context(self) -> EvaluationContext:
        return context_of(
            api=self.source,
            connect=self.source.connect,
            clock=self.clock,
            store=self.store,
            exposition=self.exposition,
            alert_snapshots=self.alert_snapshots,
            metrics=self.metrics,
            admission=self.admission,
            feedback=self.feedback,
            alerting=self.limits,
            external_labels=self.external_labels,
            checkpoint_interval=self.checkpoint_interval,
            **self.ports,
        )

    def limit(self, series: int) -> None:
        """Set for how many series there is room."""
        self.admission.configure(LimitsSettings(max_series=series, max_series_per_query=series))

    def prepare(self) -> bool:
        return alone(self.cycle.preparing(self.now))

    def slot(self, count: int = 1) -> None:
        for _ in range(count):
            self.now = round(self.now + self.plan.interval, 3)
            self.cycle.run(self.now)

    def end(self) -> None:
        self.cycle.leave()
        assert self.cycle.join(10)
        self.cycle.close()
        self.store.close()

    def restart(self, downtime: float = 0.0) -> None:
        self.end()
        self.now += downtime
        self.begin()

    def reload(self, plan: QueryPlan) -> None:
        self.cycle.leave()
        assert self.cycle.join(10)
        self.plan = plan
        self.cycle = self.cycle.take_over(plan, self.context(), at=self.now)

    def states(self) -> dict[str, AlertState]:
        """Open and resolved alerts by instance."""
        return {alert.labels["instance"]: alert.state for alert in self.cycle.alerts.alerts.values()}

    def shown(self) -> dict[str, AlertState]:
        """What senders see."""
        sheet = self.alert_snapshots.read().by_query.get(self.plan.name)
        return {} if sheet is None else {one.labels["instance"]: one.state for one in sheet.alerts.values()}

    def audit(self) -> list[tuple[str, str]]:
        """(instance or fingerprint, event), oldest first."""
        names = {fp: alert.labels["instance"] for fp, alert in self.cycle.alerts.alerts.items()}
        page = self.store.audit.page(limit=1000)
        return [(names.get(row.fingerprint, "?"), str(row.event)) for row in reversed(page.entries)]

    def sample(self, name: str, **labels: str) -> float:
        return (
            self.metrics.registry.get_sample_value(f"anomaly_exporter_{name}", {"query": self.plan.name, **labels})
            or 0.0
        )

    def page(self) -> str:
        return b"".join(self.exposition.scrape("", "").body).decode()

    def scores(self) -> int:
        return self.page().count("\nanomaly_score{")


def refused(**fields: Any) -> PrometheusError:
    """A server that is not there."""
    return PrometheusError("http://prometheus", Reason.REFUSED, "connection refused", **fields)
