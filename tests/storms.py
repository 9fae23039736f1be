"""Rows that turn anomalous, for the tests of storms: everything of `RowAlerts` but servers and a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from exporter.alerting.alert import Alert, AlertCandidate, AlertState, Step
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.settings import StormSettings
from exporter.alerting.storm import RowStates
from exporter.correlation.root_causes import RootCauses
from exporter.engine.series import SeriesTable, key_of
from exporter.evaluation.alert_store import AlertStore
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.row_alerts import RowAlerts
from exporter.evaluation.slot_result import ExplanationRequest, SlotResult
from tests.alerts import T0, limits, rule
from tests.contexts import context_of
from tests.store_values import chance

__all__ = ["INTERVAL", "Stage"]

INTERVAL = 60.0


class Stage:
    """One query. `slot` says which series are anomalous, or missing, or of unknown state; the others are normal.

    Parameters
    ----------
    series : mapping
        Labels by name.
    causes : RootCauses
        Shared by stages that can be causes of each other.
    """

    def __init__(
        self,
        series: Mapping[str, Mapping[str, str]] | Sequence[str],
        *,
        name: str = "cpu",
        kind: Literal["query", "group"] = "query",
        causes: RootCauses | None = None,
        **changes: Any,
    ) -> None:
        if not isinstance(series, Mapping):
            series = {name: {"instance": name} for name in series}
        self.series = series
        self.at = T0
        self.limits = limits(storm=StormSettings().model_copy(update=changes.pop("storm", {})))
        self.rule = rule(**changes)
        self.name, self.kind = name, kind
        self.causes = causes or RootCauses()
        self.explained: list[str] = []
        self.alert_store = self._new_store(Step(alerts={}))
        self.begin(list(series))

    def _context(self) -> EvaluationContext:
        return context_of(alerting=self.limits, root_causes=self.causes)

    def _new_store(self, left: Step) -> AlertStore:
        return AlertStore(self.name, self._context(), left, interval=INTERVAL, succeeded=self.at)

    def begin(self, order: Sequence[str]) -> None:
        """Begin as a process does: rows in another order, and nothing in memory but what was stored."""
        self.alert_store = self._new_store(
            Step(alerts=dict(self.alert_store.alerts), notes=bytes(self.alert_store.notes))
        )
        self.table = SeriesTable(1_000_000)
        self.table.find([key_of(tuple(sorted(self.series[name].items()))) for name in order])
        self.names = list(order)
        self.rows = RowAlerts(self.name, self.kind, self.rule, self._context(), self.alert_store)

    def crash(self, seed: int = 1) -> None:
        order = list(self.series)
        chance(seed).shuffle(order)
        self.begin(order)

    def judge(
        self,
        anomalous: Iterable[str],
        missing: Iterable[str] = (),
        unknown: Iterable[str] = (),
        *,
        partial: bool = False,
        scores: Mapping[str, float] | None = None,
        silenced: Iterable[str] = (),
    ) -> Step:
        row_of = {name: row for row, name in enumerate(self.names)}
        wrong, known, present = (np.full(len(self.names), value) for value in (False, True, True))
        wrong[[row_of[name] for name in anomalous]] = True
        known[[row_of[name] for name in (*missing, *unknown)]] = False
        present[[row_of[name] for name in missing]] = False
        score = np.array([(scores or {}).get(name, 0.9) for name in self.names])
        apart = np.full(len(self.names), False)
        apart[[row_of[name] for name in silenced]] = True
        said = RowStates(self.at, wrong & known, known, present, apart if silenced else None)
        return self.rows.evaluate(SlotResult(said, score, self.table, self._findings, partial))

    def slot(self, anomalous: Iterable[str] = (), **more: Any) -> Step:
        """Judge the next slot and keep what comes of it."""
        self.at += INTERVAL
        step = self.judge(anomalous, **more)
        self.keep(step)
        return step

    def keep(self, step: Step) -> None:
        self.alert_store.alerts = dict(step.alerts)
        if step.notes is not None:
            self.alert_store.notes = step.notes

    def _findings(self, asked: Sequence[ExplanationRequest]) -> list[AlertCandidate]:
        return [self._finding(one) for one in asked]

    def _finding(self, asked: ExplanationRequest) -> AlertCandidate:
        name, row = self.names[asked.row], asked.row
        self.explained.append(name)
        labels = self.rows.labels(self.table.labels(row), row)
        texts = {"series": name, "observed": "0.2"} if asked.recovered else {"summary": f"{name} is odd"}
        return AlertCandidate(labels, Explanation(texts, self.rule.annotations, labels), "")

    # ------------------------------------------------------------------ what is there

    def open(self) -> list[Alert]:
        return [alert for alert in self.alert_store.alerts.values() if alert.state is not AlertState.RESOLVED]

    def states(self) -> dict[str, str]:
        """State of every alert by what it is about: the name of a series, or ``storm 1``."""
        return {who(alert): str(alert.state) for alert in self.alert_store.alerts.values()}

    def storm(self, number: int = 1) -> Alert:
        (found,) = (alert for alert in self.alert_store.alerts.values() if alert.labels.get("storm") == str(number))
        return found


def who(alert: Alert) -> str:
    storm = alert.labels.get("storm")
    return alert.labels["instance"] if storm is None else f"storm {storm}"
