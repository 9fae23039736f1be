"""Alerts that a query would have under other settings: by the same state machine, and nothing is sent or logged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Alert, AlertCandidate, AlertState, Step
from exporter.alerting.explanation.explanation import unexplained
from exporter.alerting.state_machine import restore
from exporter.config.plan import QueryPlan
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.correlation.root_causes import RootCauses
from exporter.delivery import AlertSnapshots
from exporter.engine.row_details import RowDetails
from exporter.engine.series import SeriesTable
from exporter.engine.verdict import Verdict
from exporter.evaluation.alert_store import AlertStore
from exporter.evaluation.climbs import climbs_of, with_climbs
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.query_alerts import row_states
from exporter.evaluation.row_alerts import RowAlerts
from exporter.evaluation.slot_result import ExplanationRequest, SlotResult

__all__ = ["ShadowAlerts"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

_ALERTS, _NOTES = "shadow/alerts", "shadow/notes"
_FIELDS = ("fingerprint", "episode", "active_at", "evaluated_at", "fired_at", "keep_since", "missing")


class _UnsentAlerts(AlertStore):
    """Alerts that are only counted."""

    def commit(self, slot: float, step: Step) -> None:  # noqa: ARG002 - as of the class above.
        """Go on from a step."""
        self._apply(step)

    def _apply(self, step: Step) -> None:
        self.alerts = dict(step.alerts)
        if step.notes is not None:
            self.notes = step.notes


class ShadowAlerts:
    """The alerts that a query would have.

    Parameters
    ----------
    plan : QueryPlan
        The query as it would be.
    """

    def __init__(self, plan: QueryPlan, context: EvaluationContext) -> None:
        self.plan = plan
        self.context = _alone(context)
        self.began = np.nan
        """The first slot that was compared, Unix seconds; NaN: none was."""
        self.fired = self.fired_by_query = 0
        """Alerts since then, and those of the query itself."""
        self.fired_now = 0
        """How many of them began to fire in the newest slot."""
        self._store = self._stored({}, b"")
        self.rows = RowAlerts(plan.name, "query", plan.alert, self.context, self._store)

    def configure(self, plan: QueryPlan, context: EvaluationContext, table: SeriesTable, *, at: float) -> None:
        """Go on under another configuration."""
        if _digest(plan) != _digest(self.plan):
            # What was counted is of other settings.
            self.began, self.fired, self.fired_by_query = np.nan, 0, 0
        self.plan, self.context = plan, _alone(context)
        self._store.interval = plan.interval
        self.rows.configure(plan.alert, self.context, table, at=at)

    def evaluate(
        self,
        verdict: Verdict,
        table: SeriesTable,
        details: Callable[[npt.NDArray[np.intp]], RowDetails],
        *,
        held: BoolArray | None,
        waiting: BoolArray | None,
        load: FloatArray | None,
    ) -> None:
        """Go on with a slot; `held` and `waiting` are rows as in `SlotResult`, the rest is as in `climbs_of`."""

        def explain(requests: Sequence[ExplanationRequest]) -> list[AlertCandidate]:
            series = [(table.labels(request.row), request.row) for request in requests]
            labels = [self.rows.labels(*each) for each in series]
            return [
                AlertCandidate(own, unexplained(self.plan.name, own, each, {}), "")
                for own, (each, _) in zip(labels, series, strict=True)
            ]

        states = row_states(self.plan.alert, verdict)
        slot = SlotResult(
            states, verdict.score, table, explain, partial=not verdict.complete, held=held, waiting=waiting
        )
        climbs = None
        if self.plan.alert is not None and verdict.anomalous.any():
            mask = self.context.ports.masks.row_mask("query", self.plan.name, self.plan.alert, table, verdict.at)
            multiple = None if mask is None else mask.samples.factor
            climbs = climbs_of(verdict, multiple, load, details, partial(self.rows.climbed, table))
        self._store.commit(verdict.at, self.rows.evaluate(with_climbs(slot, climbs)))
        self._store.succeeded = verdict.at
        self.fired_now = self.fired_in(self._store.alerts, verdict.at)
        self.fired += self.fired_now

    def fired_in(self, alerts: dict[str, Alert], slot: float) -> int:
        """Return how many alerts began to fire in a slot."""
        since = slot - 0.5 * self.plan.interval
        return sum(alert.fired_at is not None and alert.fired_at > since for alert in alerts.values())

    def hold(self, slot: float) -> None:
        """Go on without an answer."""
        self._store.commit(slot, self._store.hold(slot))

    def rewind(self, at: float) -> None:
        """Go on from an instant before the newest slot, Unix seconds."""
        self._store.rewind(at)

    @property
    def firing(self) -> int:
        """How many would be firing now."""
        return sum(alert.state is AlertState.FIRING for alert in self._store.alerts.values())

    def encode(self) -> dict[str, npt.NDArray[np.uint8]]:
        """Return the open alerts and the counts, to be stored with what was learned."""
        alerts = [
            {"labels": dict(alert.labels), **{name: getattr(alert, name) for name in _FIELDS}}
            for alert in self._store.alerts.values()
            if alert.is_open
        ]
        began = None if np.isnan(self.began) else float(self.began)
        state = {
            "settings": _digest(self.plan),
            "alerts": alerts,
            "began": began,
            "fired": self.fired,
            "fired_by_query": self.fired_by_query,
        }
        return {_ALERTS: _bytes(json.dumps(state).encode()), _NOTES: _bytes(self._store.notes)}

    def restore(self, parts: dict[str, npt.NDArray[np.generic]], now: float) -> None:
        """Go on from what `encode` returned; where it cannot be used, nothing has fired so far."""
        try:
            state = json.loads(parts[_ALERTS].tobytes())
            alerts = [self._restored(**fields) for fields in state["alerts"]]
            began = np.nan if state["began"] is None else float(state["began"])
            fired, fired_by_query = int(state["fired"]), int(state["fired_by_query"])
            if state["settings"] != _digest(self.plan):
                began, fired, fired_by_query = np.nan, 0, 0
        except (KeyError, TypeError, ValueError):
            return
        step = restore(self.context.settings.alerting, {alert.fingerprint: alert for alert in alerts}, at=now)
        self.began, self.fired, self.fired_by_query = began, fired, fired_by_query
        notes = parts[_NOTES].tobytes() if _NOTES in parts else b""
        self._store = self._stored(dict(step.alerts), notes)
        self.rows = RowAlerts(self.plan.name, "query", self.plan.alert, self.context, self._store)

    def _restored(self, *, labels: dict[str, str], **fields: object) -> Alert:
        state = AlertState.PENDING if fields["fired_at"] is None else AlertState.FIRING
        return Alert(query=self.plan.name, labels=labels, annotations={}, generator_url="", state=state, **fields)  # type: ignore[arg-type]

    def _stored(self, alerts: dict[str, Alert], notes: bytes) -> _UnsentAlerts:
        restored = Step(alerts=alerts, notes=notes)
        succeeded = max((alert.evaluated_at for alert in alerts.values()), default=self.context.ports.clock())
        return _UnsentAlerts(self.plan.name, self.context, restored, interval=self.plan.interval, succeeded=succeeded)


def _digest(plan: QueryPlan) -> str:
    """Hash everything that a plan says, but for the shard."""
    return hashlib.sha256(repr(replace(plan, shard=None, identity="")).encode()).hexdigest()[:16]


def _bytes(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8).copy()


def _alone(context: EvaluationContext) -> EvaluationContext:
    """Return a context in which no other query is seen, and by which nothing is seen of this one."""
    ports = replace(
        context.ports,
        alert_snapshots=AlertSnapshots(),
        masks=context.ports.masks.beside(),
        co_occurrence=CoOccurrence(),
        root_causes=RootCauses(),
        feedback=None,
        inquiry_api=None,
        sent_alerts=dict,
        paired=lambda: False,
    )
    return replace(context, ports=ports)
