"""From the states of rows to a step: alerts of single rows and of storms.

The rows are the series of a query or the entities of a group.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import AlertCandidate, EvaluatedSlot, Step, fingerprint
from exporter.alerting.explanation.input import StormInput
from exporter.alerting.explanation.registry import STORM
from exporter.alerting.label_index import LabelIndex, Rows
from exporter.alerting.labels import alert_labels
from exporter.alerting.root_cause import SeverityTrace
from exporter.alerting.saved_context import SavedContext, decode_context, encode_context
from exporter.alerting.settings import AlertSettings
from exporter.alerting.state_machine import collect, evaluate, withdraw
from exporter.alerting.storm import OpenStorm, RowAlert, RowStates, StormAssignment, assign_storms
from exporter.correlation.root_causes import SlotCandidates
from exporter.engine.series import Labels, SeriesTable
from exporter.evaluation.alert_store import AlertStore
from exporter.evaluation.context import EvaluationContext
from exporter.prometheus.shard import Shard
from exporter.settings import overlay
from exporter.suppression.sample_masks import RowMask

__all__ = ["ExplanationRequest", "RowAlerts", "SlotResult"]

log = logging.getLogger(__name__)

_MOST_SHARE = 0.8
"""Part of a storm's members that have a label value by which the storm can be a cause or an effect."""
_WORST = 5
"""Members of a storm that are explained one by one."""


@dataclass(frozen=True, slots=True)
class ExplanationRequest:
    """An anomalous row to explain.

    Attributes
    ----------
    since : float or None, Unix seconds
        Since when it is anomalous, where the alert of the row does not know.
    in_storm : bool
        It represents a storm, so other series of its query are no news.
    """

    row: int
    since: float | None = None
    in_storm: bool = False


@dataclass(frozen=True, slots=True)
class SlotResult:
    """The result of a slot by row.

    Attributes
    ----------
    score : ndarray, shape (size,)
        The higher, the worse.
    table : SeriesTable
        Of the rows.
    explain : callable
        Returns a candidate for each request, in their order; called once, with the rows that are shown.
    partial : bool
        The answer may be incomplete, so a series without a sample is not missing.
    """

    states: RowStates
    score: npt.NDArray[np.float64]
    table: SeriesTable
    explain: Callable[[Sequence[ExplanationRequest]], list[AlertCandidate]]
    partial: bool = False


class RowAlerts:
    """The alerts of the rows of one table.

    Parameters
    ----------
    name : str
        Of the query or the group: the value of the label that `kind` names.
    kind : "query" or "group"
    rule : AlertSettings, optional
        None: there are no alerts.
    shard : Shard, optional
        Which part of the series this process has: each part has its own storms.
    """

    def __init__(
        self,
        name: str,
        kind: Literal["query", "group"],
        rule: AlertSettings | None,
        context: EvaluationContext,
        alert_store: AlertStore,
        *,
        shard: Shard | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.rule = rule
        self.context = context
        self.alert_store = alert_store
        self._shard = shard
        self._row_of: dict[str, int] = {}
        self._unindexed: list[int] | None = None
        self._index = LabelIndex()
        self._indexed: tuple[SeriesTable | None, int] = (None, -1)
        self._saved, self._encoded = decode_context(alert_store.notes), alert_store.notes
        context.ports.root_causes.update(alert_store.name, alert_store.alerts, self._saved.traces, alert_store.interval)

    def configure(
        self, rule: AlertSettings | None, context: EvaluationContext, table: SeriesTable, *, at: float
    ) -> None:
        """Apply another configuration. Alerts that would have other labels end: they belong to another rule."""
        alerts = self.alert_store.alerts
        same = not alerts or _naming(self.rule, self.context) == _naming(rule, context)
        before = set() if same else self._identities(table) | {storm.identity for storm in self._open_storms()}
        self.rule, self.context, self.alert_store.context = rule, context, context
        self.forget()
        renamed = (before & alerts.keys()) - self._identities(table) if before and rule is not None else set()
        if renamed:
            self.alert_store.withdraw(renamed, at=at, why="rule_changed")

    def evaluate(self, slot: SlotResult) -> Step:
        """Return the step that follows from a slot.

        Raises
        ------
        DuplicateAlert
        """
        rule, store, ports = self.rule, self.alert_store, self.context.ports
        if rule is None:
            return self._without_rule(slot.states.at)
        mask = ports.masks.row_mask(self.kind, self.name, rule, slot.table, slot.states.at)
        slot = slot if mask is None else _masked(mask, slot)
        storms = self._open_storms()
        storm_identities = {storm.identity for storm in storms}
        rows = {
            identity: self._find(rule, slot.table, identity)
            for identity, alert in store.alerts.items()
            if alert.is_open and identity not in storm_identities
        }
        assignment = self._assign(rule, slot, storms, rows)
        single, worst_members = self._explain(slot, assignment)
        candidates = collect(single)
        self._row_of.update(zip(candidates, assignment.alone.tolist(), strict=True))
        quiet = {identity: row for identity, row in rows.items() if identity not in candidates}
        missing, unknown = self._silent(slot, assignment, quiet)
        candidates, traces = self._correlate(slot, assignment, candidates, worst_members, missing | unknown)
        evaluated = EvaluatedSlot(
            slot.states.at,
            candidates,
            missing=missing,
            unknown=unknown,
            absorbed=assignment.absorbed,
            other_alerts=ports.alert_snapshots.open_alerts(besides=store.name),
        )
        step = evaluate(rule, self.context.settings.alerting, store.name, store.alerts, evaluated)
        if step.suppressed:
            log.warning("max_alerts is reached", extra={self.kind: self.name, "suppressed": step.suppressed})
        return replace(step, notes=self._save(step, assignment.storms, traces))

    def _silent(
        self, slot: SlotResult, assignment: StormAssignment, rows: Mapping[str, int | None]
    ) -> tuple[set[str], set[str]]:
        """Return the open alerts that are missing, and those whose state is unknown; `rows` are not anomalous."""
        missing, unknown = set(assignment.missing), set(assignment.unknown)
        for identity, row in rows.items():
            if row is None or not slot.states.present[row]:
                missing.add(identity)
            elif not slot.states.scored[row]:
                unknown.add(identity)
        return (set(), missing | unknown) if slot.partial else (missing, unknown)

    def _correlate(
        self,
        slot: SlotResult,
        assignment: StormAssignment,
        single: Mapping[str, AlertCandidate],
        worst_members: Mapping[str, Sequence[AlertCandidate]],
        silent: Collection[str],
    ) -> tuple[dict[str, AlertCandidate], dict[str, SeverityTrace]]:
        """Return all candidates, storms among them, with their causes; and the traces that causes follow from."""
        store, root_causes = self.alert_store, self.context.ports.root_causes
        candidates = dict(single)
        scores = dict(zip(single, slot.score[assignment.alone].tolist(), strict=True))
        storm_labels = {}
        for storm in assignment.storms:
            members = assignment.rows[storm.identity]
            if len(members):
                candidates[storm.identity] = self._storm(slot, assignment, storm, worst_members[storm.identity])
                scores[storm.identity] = float(slot.score[members].max())
                storm_labels[storm.identity] = self._index.common_labels(members, _MOST_SHARE)
        correlated = SlotCandidates(
            store.name, slot.states.at, store.interval, store.alerts, candidates, scores, storm_labels, silent
        )
        traces = root_causes.extend_traces(correlated, self._saved_context().traces)
        explained = root_causes.explain(correlated, traces)
        likely = self.context.ports.likely_causes
        at, graph = slot.states.at, root_causes.graph
        return likely.explain(self.name, at, store.interval, store.alerts, explained, graph), traces

    def _save(self, step: Step, storms: Collection[OpenStorm], traces: Mapping[str, SeverityTrace]) -> bytes:
        """Return the context of a step to store; publish the open alerts to other queries."""
        store = self.alert_store
        opened = {identity for identity, alert in step.alerts.items() if alert.is_open}
        saved = SavedContext(
            tuple(storm for storm in storms if storm.identity in opened),
            {identity: trace for identity, trace in traces.items() if identity in opened},
        )
        self.context.ports.root_causes.update(store.name, step.alerts, saved.traces, store.interval)
        self._saved, self._encoded = saved, encode_context(saved)
        return self._encoded

    # ------------------------------------------------------------------ storms

    def _saved_context(self) -> SavedContext:
        if self._encoded is not self.alert_store.notes:
            self._saved, self._encoded = decode_context(self.alert_store.notes), self.alert_store.notes
        return self._saved

    def _open_storms(self) -> tuple[OpenStorm, ...]:
        """Return the storms whose alerts are open."""
        alerts = self.alert_store.alerts
        storms = self._saved_context().storms
        return tuple(storm for storm in storms if storm.identity in alerts and alerts[storm.identity].is_open)

    def _assign(
        self, rule: AlertSettings, slot: SlotResult, storms: Collection[OpenStorm], rows: dict[str, int | None]
    ) -> StormAssignment:
        states, alerts = slot.states, self.alert_store.alerts
        settings = overlay(self.context.settings.alerting.storm, rule.storm)
        few = not settings.enabled or np.count_nonzero(states.eligible) < settings.members
        if few and not storms:
            return StormAssignment((), {}, {}, np.flatnonzero(states.anomalous))
        self._update_index(slot.table)
        row_alerts = {
            row: RowAlert(identity, alerts[identity].active_at, alerts[identity].fired_at is not None)
            for identity, row in rows.items()
            if row is not None
        }
        # Of the rows with a sample: another exporter may have series in its table that this one has not.
        common = self._index.common_labels(np.flatnonzero(states.present))

        def name(key: Labels, number: int) -> dict[str, str]:
            storm = str(number) if self._shard is None else f"{self._shard.index}-{number}"
            return self._labels(rule, {**common, **dict(key)}, storm=storm)

        return assign_storms(
            settings,
            storms,
            states,
            self._index,
            row_alerts,
            waiting={storm.identity for storm in storms if alerts[storm.identity].fired_at is None},
            taken={identity for identity, alert in alerts.items() if alert.is_open},
            name=name,
        )

    def _explain(
        self, slot: SlotResult, assignment: StormAssignment
    ) -> tuple[list[AlertCandidate], dict[str, list[AlertCandidate]]]:
        """Return the candidates of single rows, and by identity of a storm those of its worst members."""
        requests = [ExplanationRequest(row, assignment.since.get(row)) for row in assignment.alone.tolist()]
        count, ends = len(requests), {}
        for storm in assignment.storms:
            requests += self._worst(slot, assignment.rows[storm.identity], storm)
            ends[storm.identity] = len(requests)
        candidates = slot.explain(requests) if requests else []
        single = [
            replace(candidate, since=request.since)
            for request, candidate in zip(requests[:count], candidates[:count], strict=True)
        ]
        begins = dict(zip(ends, [count, *ends.values()], strict=False))
        return single, {identity: candidates[begins[identity] : end] for identity, end in ends.items()}

    def _storm(
        self, slot: SlotResult, assignment: StormAssignment, storm: OpenStorm, worst: Sequence[AlertCandidate]
    ) -> AlertCandidate:
        """Return the candidate of a storm, from those of its worst members."""
        rows, alert = assignment.rows[storm.identity], self.alert_store.alerts.get(storm.identity)
        labels, since = ({}, slot.states.at) if alert is None else (alert.labels, alert.active_at)
        labels, since = assignment.begun.get(storm.identity, (labels, since))
        source = StormInput(
            self.name,
            [candidate.explanation.annotations.get("summary", "") for candidate in worst],
            now=len(rows),
            total=storm.total,
            series=len(slot.table),
            frequent=self._index.frequent_labels(rows, besides=[name for name, _ in storm.key]),
            since=since,
            at=slot.states.at,
            members="series" if self.kind == "query" else "things",
        )
        return replace(worst[0], labels=labels, explanation=worst[0].explanation.add(STORM, source), since=since)

    def _worst(self, slot: SlotResult, rows: Rows, storm: OpenStorm) -> list[ExplanationRequest]:
        # By hash where scores are equal, because rows differ after a restart.
        hashes = self._index.hashes[rows]
        order = np.lexsort((hashes, -slot.score[rows]))[:_WORST].tolist()
        joined = [float(storm.joined[storm.members == hashes[place]][0]) for place in order]
        return [
            ExplanationRequest(int(rows[place]), since, in_storm=True)
            for place, since in zip(order, joined, strict=True)
        ]

    def _update_index(self, table: SeriesTable) -> None:
        now = (table, table.version)
        if self._indexed != now:
            self._index.update(table.items(), table.size)
            self._indexed = now

    # ------------------------------------------------------------------ rows

    def claim(self, rows: Iterable[int]) -> None:
        """Take note of rows with new series: an open alert may belong to them."""
        if self._unindexed is not None:
            self._unindexed.extend(rows)

    def release(self, rows: Collection[int]) -> None:
        """Forget rows without a series."""
        removed = set(rows)
        self._row_of = {identity: row for identity, row in self._row_of.items() if row not in removed}
        if self._unindexed:
            self._unindexed = [row for row in self._unindexed if row not in removed]

    def forget(self) -> None:
        """Forget which alert belongs to which row."""
        self._row_of, self._unindexed = {}, None

    def labels(self, series: Labels) -> dict[str, str]:
        """Return the labels of the alert of a series; there must be a rule."""
        assert self.rule is not None  # noqa: S101 - without one nothing alerts.
        return self._labels(self.rule, dict(series))

    def rows_of(self, identity: str, table: SeriesTable) -> list[int]:
        """Return the rows of an alert: that of its series, or those of the members of an open storm."""
        if self.rule is None:
            return []
        for storm in self._open_storms():
            if storm.identity == identity:
                self._update_index(table)
                members = np.flatnonzero(np.isin(self._index.hashes[: table.size], storm.members))
                return [row for row in members.tolist() if table.in_use(row)]
        row = self._find(self.rule, table, identity)
        return [] if row is None else [row]

    def _without_rule(self, at: float) -> Step:
        """Resolve the alerts of an earlier configuration, and forget them once that was sent."""
        alerts = self.alert_store.alerts
        if any(alert.is_open for alert in alerts.values()):
            return withdraw(alerts, at=at, why="rule_removed")
        return self.alert_store.hold(at)

    def _labels(self, rule: AlertSettings, series: dict[str, str], storm: str = "") -> dict[str, str]:
        external, utf8 = self.context.settings.external_labels, self.context.settings.utf8_labels
        return alert_labels(series, self.name, rule, external, utf8=utf8, kind=self.kind, storm=storm)

    def _identities(self, table: SeriesTable) -> set[str]:
        """Return the fingerprints that the alerts of all series have or would have."""
        return set() if self.rule is None else {fingerprint(self.labels(labels)) for _, labels in table.items()}

    def _find(self, rule: AlertSettings, table: SeriesTable, identity: str) -> int | None:
        """Return the row of the series of an open alert, or None where there is none."""
        if identity not in self._row_of and self._unindexed != []:
            # After a start, or when a series is back: an alert is stored under its own labels, which follow from those
            # of the series by the rule.
            rows = [row for row, _ in table.items()] if self._unindexed is None else self._unindexed
            self._unindexed = []
            for row in rows:
                self._row_of.setdefault(fingerprint(self._labels(rule, dict(table.labels(row)))), row)
        return self._row_of.get(identity)


def _masked(mask: RowMask, slot: SlotResult) -> SlotResult:
    """Return the result of a slot under known events and silences; see docs/calendar.md."""
    states = replace(slot.states, anomalous=slot.states.anomalous & ~mask.ignored, silenced=mask.silenced)

    def explain(requests: Sequence[ExplanationRequest]) -> list[AlertCandidate]:
        pairs = zip(slot.explain(requests), requests, strict=True)
        return [mask.annotate(candidate, request.row) for candidate, request in pairs]

    return replace(slot, states=states, explain=explain)


def _naming(rule: AlertSettings | None, context: EvaluationContext) -> tuple[object, ...]:
    """Return everything that the labels of an alert follow from, except its series."""
    own = None if rule is None else (rule.alertname, rule.labels)
    return own, dict(context.settings.external_labels), context.settings.utf8_labels
