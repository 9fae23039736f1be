"""From the states of rows to a step: alerts of single rows and of storms.

The rows are the series of a query or the entities of a group.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from exporter.alerting.alert import Alert, AlertCandidate, EvaluatedSlot, Step
from exporter.alerting.identity import Kind
from exporter.alerting.label_index import Hashes, LabelIndex, Rows
from exporter.alerting.root_cause import SeverityTrace
from exporter.alerting.saved_context import SavedContext
from exporter.alerting.settings import AlertSettings
from exporter.alerting.state_machine import evaluate, withdraw
from exporter.alerting.storm import OpenStorm, RowAlert, RowStates, StormAssignment, assign_storms
from exporter.correlation.root_causes import SlotCandidates
from exporter.engine.series import Labels, SeriesTable
from exporter.evaluation.alert_store import AlertStore
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.inquiries import Inquiries
from exporter.evaluation.recovery import with_recovery
from exporter.evaluation.row_explanations import explain_rows
from exporter.evaluation.row_identities import RowIdentities
from exporter.evaluation.sent_alerts import disagreement, sent_rows, taken_over
from exporter.evaluation.shard_storms import numbered, part_of_storms, sent_storms, storm_incidents
from exporter.evaluation.slot_result import SlotResult, masked, silent_alerts, without_load
from exporter.evaluation.stored_context import StoredContext
from exporter.evaluation.storm_candidates import storm_candidate
from exporter.evaluation.unplaced_alerts import UnplacedAlerts
from exporter.evaluation.why_now import why_now
from exporter.prometheus.shard import Shard
from exporter.settings import overlay

__all__ = ["RowAlerts"]

log = logging.getLogger(__name__)

_MOST_SHARE = 0.8
"""Part of a storm's members that have a label value by which the storm can be a cause or an effect."""
_NO_HASHES: Hashes = np.zeros(0, np.uint64)


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
        kind: Kind,
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
        self._owner: tuple[Kind, str] = (kind, name)
        self._shard = shard
        self.inquiries = Inquiries((), None, interval=alert_store.interval)
        self.identities = RowIdentities(name, kind)
        """Which alert each row belongs to."""
        self.identities.configure(rule, context.settings.external_labels)
        self._unplaced = UnplacedAlerts(alert_store.alerts)
        self._sharing = 0
        self._fresh = True
        """Whether no slot was judged since the start."""
        self._idle: tuple[SeriesTable, int] | None = None
        """The rows of the newest slot, where it had nothing to do."""
        self._index = LabelIndex()
        self._indexed: tuple[SeriesTable | None, int] = (None, -1)
        self._stored = StoredContext(alert_store)
        traces = self._stored.read().traces
        context.ports.root_causes.restore(alert_store.name, alert_store.alerts, traces, alert_store.interval)

    def configure(
        self, rule: AlertSettings | None, context: EvaluationContext, table: SeriesTable, *, at: float
    ) -> None:
        """Apply another configuration. Alerts that would have other labels end: they belong to another rule."""
        self.rule, self.context, self.alert_store.context = rule, context, context
        self.identities.configure(rule, context.settings.external_labels)
        self._unplaced = UnplacedAlerts(self.alert_store.alerts)
        self._idle = None
        self._end_renamed(table, at)

    def _end_renamed(self, table: SeriesTable, at: float) -> None:
        """End the alerts whose labels follow from another configuration: after a reload, or after a start."""
        saved = self._stored.read()
        before = saved.naming
        alerts = self.alert_store.alerts
        if self.rule is None or not before or before == self.identities.naming:
            return
        self._stored.assume(replace(saved, naming=self.identities.naming))
        self.identities.update(table, {})
        renamed = {
            identity
            for identity, alert in alerts.items()
            if alert.is_open and not len(self.identities.rows_of(identity))
        }
        if renamed:
            self.alert_store.withdraw(renamed, at=at, why="rule_changed")

    def evaluate(self, slot: SlotResult) -> Step:
        """Return the step that follows from a slot."""
        rule, store, ports, run = self.rule, self.alert_store, self.context.ports, self.context.ports.containment.run
        if self.is_idle(slot.states, slot.table):
            return Step(alerts={})
        begun = store.alerts or self._unplaced or len(slot.climbed) or slot.states.anomalous.any()
        self._idle = None if begun else (slot.table, slot.table.version)
        if rule is None:
            return self._without_rule(slot.states.at)
        # As of the slot before, so that this slot counts for the alerts that take their place.
        self._end_renamed(slot.table, store.newest)
        mask = ports.masks.row_mask(self.kind, self.name, rule, slot.table, slot.states.at)
        anomalous = slot.states.anomalous
        slot = slot if mask is None else masked(mask, slot)
        storms = self._stored.open_storms()
        storm_identities = {storm.identity for storm in storms}
        open_alerts = {
            identity: alert
            for identity, alert in store.alerts.items()
            if alert.is_open and identity not in storm_identities
        }
        self._update_identities(slot.table, open_alerts)
        rows = {identity: self.identities.rows_of(identity) for identity in open_alerts}
        if moved := self._unplaced.moved(store.alerts, self.identities, slot.elsewhere):
            store.leave(moved, at=store.newest)
            open_alerts = {identity: alert for identity, alert in open_alerts.items() if identity not in moved}
            rows = {identity: members for identity, members in rows.items() if identity not in moved}
        slot, held, waiting = without_load(slot, rows, open_alerts)
        assignment = self._assign(rule, slot, storms, rows)
        single, worst_members = explain_rows(
            slot, assignment, self.identities, self._index.hashes, partial(run, "explanation", store.name)
        )
        quiet = {identity: members for identity, members in rows.items() if identity not in single}
        members = self._members(slot, rows)
        missing, unknown = silent_alerts(slot, assignment, {identity: members[identity] for identity in quiet})
        candidates, traces = self._correlate(slot, assignment, single, worst_members, missing | unknown)
        sent, self._fresh = ports.sent_alerts(), False
        take_over = partial(taken_over, candidates, store.alerts, sent, waited=rule.for_, at=slot.states.at)
        candidates = run("pair", store.name, take_over, candidates)
        evaluated = EvaluatedSlot(
            slot.states.at,
            candidates := self.inquiries.carried(store.alerts, candidates),
            missing=missing,
            unknown=unknown | waiting,
            held=held,
            absorbed=assignment.absorbed,
            other_alerts=ports.alert_snapshots.open_alerts(besides=store.name),
            endings={identity: "ignored" for identity, members in quiet.items() if anomalous[members].any()},
        )
        step = evaluate(rule, self.context.settings.alerting, store.name, store.alerts, evaluated)
        complete = partial(self.inquiries.complete, step, candidates, partial(self._series_of, slot.table))
        step = run("inquiries", store.name, complete, step)
        step = run("recovery", store.name, partial(with_recovery, step, slot, self.identities.rows_of), step)
        if step.suppressed:
            log.warning("max_alerts is reached", extra={self.kind: self.name, "suppressed": step.suppressed})
        return replace(step, notes=self._save(step, assignment.storms, traces, slot, members))

    def is_idle(self, states: RowStates, table: SeriesTable) -> bool:
        """Return whether nothing follows from a slot: it has nothing to do, as the one before it of the same rows."""
        return self.rests(table) and not states.anomalous.any()

    def rests(self, table: SeriesTable) -> bool:
        """Return whether nothing follows from a slot without an anomalous row, where its rows are those of a table."""
        same = self._idle is not None and self._idle == (table, table.version)
        return same and not (self.alert_store.alerts or self._unplaced)

    def disagreement(self) -> float | None:
        """Return how far another exporter of the same series has other alerts; None where there is none."""
        ports = self.context.ports
        if self.rule is None or not ports.paired():
            return None
        return disagreement(self.alert_store.alerts, ports.sent_alerts(), self.identities.rows_of, self._owner)

    def _series_of(self, table: SeriesTable, identity: str) -> Labels:
        """Return the labels of the series of an alert; none where it is about several."""
        rows = self.identities.rows_of(identity).tolist()
        return table.labels(rows[0]) if len(rows) == 1 else ()

    def _members(self, slot: SlotResult, rows: Mapping[str, Rows]) -> dict[str, Rows]:
        """Return the rows that decide whether each open alert goes on.

        Of an alert that several series have these are the series that were anomalous under it, and while that is not
        known of those of which something is seen.
        """
        shared = self._stored.read().shared
        members = dict(rows)
        for identity, group in rows.items():
            if len(group) < 2:
                continue
            self._update_index(slot.table)
            earlier = np.intersect1d(self._index.rows_of(shared.get(identity, _NO_HASHES)), group)
            seen = group[slot.states.scored[group]]
            members[identity] = earlier if len(earlier) else seen if len(seen) else group[:1]
        return members

    def _update_identities(self, table: SeriesTable, open_alerts: Mapping[str, Alert]) -> None:
        """Look up which rows are of which alert; warn once when series come that have an alert together."""
        self.identities.update(table, open_alerts)
        sharing = self.identities.sharing()
        if len(sharing) and not self._sharing:
            example = self.identities.labels(table.labels(int(sharing[0])), int(sharing[0]))
            more = {self.kind: self.name, "series": len(sharing), "labels": json.dumps(dict(example))}
            log.warning("series have the same alert labels as others: one alert is about all of them", extra=more)
        self._sharing = len(sharing)

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
        alone = slot.score[self.identities.worst(assignment.alone, slot.score)[0]]
        scores = dict(zip(single, alone.tolist(), strict=True))
        storm_labels = {}
        for storm in assignment.storms:
            members = assignment.rows[storm.identity]
            if len(members):
                candidates[storm.identity] = storm_candidate(
                    slot,
                    assignment,
                    storm,
                    worst_members[storm.identity],
                    store.alerts,
                    self._index,
                    self._owner,
                    self.context.ports.containment,
                )
                scores[storm.identity] = float(slot.score[members].max())
                storm_labels[storm.identity] = self._index.common_labels(members, _MOST_SHARE)
        correlated = SlotCandidates(
            store.name,
            slot.states.at,
            store.interval,
            store.alerts,
            candidates,
            scores,
            storm_labels,
            silent,
            {} if self._shard is None else storm_incidents(assignment.storms, self.rule, self.kind, self.name),
        )
        run, before = self.context.ports.containment.run, self._stored.read().traces
        traces = run("causes", store.name, partial(root_causes.extend_traces, correlated, before), dict(before))
        explained = run("causes", store.name, partial(root_causes.explain, correlated, traces), candidates)
        ports, at, below = self.context.ports, slot.states.at, None if self.rule is None else self.rule.digest_below
        more = why_now(
            ports, self.name, at, store.interval, store.alerts, explained, store=store.name, digest_below=below
        )
        return more, traces

    def _save(
        self,
        step: Step,
        storms: Collection[OpenStorm],
        traces: Mapping[str, SeverityTrace],
        slot: SlotResult,
        members: Mapping[str, Rows],
    ) -> bytes:
        """Return the context of a step to store; publish the open alerts to other queries."""
        store = self.alert_store
        opened = {identity for identity, alert in step.alerts.items() if alert.is_open}
        shared: dict[str, Hashes] = {}
        if self._sharing:
            self._update_index(slot.table)
            before, hashes = self._stored.read().shared, self._index.hashes
            for identity in opened:
                rows = self.identities.rows_of(identity)
                if len(rows) > 1:
                    now = hashes[rows[slot.states.anomalous[rows]]]
                    earlier = before.get(identity, hashes[members[identity]] if identity in members else _NO_HASHES)
                    shared[identity] = np.union1d(earlier, now)
        saved = SavedContext(
            tuple(storm for storm in storms if storm.identity in opened),
            {identity: trace for identity, trace in traces.items() if identity in opened},
            shared,
            self.identities.naming if opened else "",
            slot.climbed,
        )
        causes = self.context.ports.root_causes
        causes.update(store.name, step.alerts, saved.traces, store.interval, recovered=step.recovered)
        return self._stored.encode(saved)

    # ------------------------------------------------------------------ storms

    def _assign(
        self, rule: AlertSettings, slot: SlotResult, storms: Collection[OpenStorm], rows: Mapping[str, Rows]
    ) -> StormAssignment:
        states, alerts = slot.states, self.alert_store.alerts
        settings = overlay(self.context.settings.alerting.storm, rule.storm)
        sent = sent_storms(self.context.ports.sent_alerts(), self.kind, self.name)
        if self._shard is not None:
            settings = part_of_storms(settings, self._shard.count, sent.values(), at=states.at)
        few = not settings.enabled or np.count_nonzero(states.eligible) < settings.members
        if few and not storms:
            return StormAssignment((), {}, {}, np.flatnonzero(states.anomalous))
        self._update_index(slot.table)
        row_alerts = {
            row: RowAlert(identity, alerts[identity].active_at, alerts[identity].fired_at is not None)
            for identity, members in rows.items()
            for row in members.tolist()
        }
        row_alerts |= sent_rows(self.context.ports.sent_alerts(), alerts, self.identities.rows_of, self._owner)
        # Of the rows with a sample: another exporter may have series in its table that this one has not.
        common = self._index.common_labels(np.flatnonzero(states.present))

        def name(key: Labels, number: int) -> dict[str, str]:
            storm = str(number) if self._shard is None else f"{self._shard.index}-{number}"
            return dict(self.identities.labels(tuple({**common, **dict(key)}.items()), storm=storm))

        return assign_storms(
            settings,
            storms,
            states,
            self._index,
            row_alerts,
            waiting={storm.identity for storm in storms if alerts[storm.identity].fired_at is None},
            taken={identity for identity, alert in alerts.items() if alert.is_open},
            name=name,
            sent=numbered({identity: storm for identity, storm in sent.items() if identity not in alerts}),
            joins_any=self._fresh,
        )

    def climbed(self, table: SeriesTable) -> tuple[Hashes, Hashes]:
        """Return the hashes of the series that did not alert because they climbed, and those of all rows."""
        before = self._stored.read().climbed
        self._update_index(table)
        return before, self._index.hashes[: table.size]

    def _update_index(self, table: SeriesTable) -> None:
        now = (table, table.version)
        if self._indexed != now:
            self._index.update(table.items(), table.size)
            self._indexed = now

    # ------------------------------------------------------------------ rows

    def labels(self, series: Labels, row: int) -> Mapping[str, str]:
        """Return the labels of the alert of a series; there must be a rule."""
        return self.identities.labels(series, row)

    def rows_of(self, identity: str, table: SeriesTable) -> list[int]:
        """Return the rows of an alert: that of its series, or those of the members of an open storm."""
        if self.rule is None:
            return []
        for storm in self._stored.open_storms():
            if storm.identity == identity:
                self._update_index(table)
                members = np.flatnonzero(np.isin(self._index.hashes[: table.size], storm.members))
                return [row for row in members.tolist() if table.in_use(row)]
        alert = self.alert_store.alerts.get(identity)
        self.identities.update(table, {} if alert is None else {identity: alert})
        rows: list[int] = self.identities.rows_of(identity).tolist()
        return rows

    def _without_rule(self, at: float) -> Step:
        """Resolve the alerts of an earlier configuration, and forget them once that was sent."""
        alerts = self.alert_store.alerts
        if any(alert.is_open for alert in alerts.values()):
            return withdraw(alerts, at=at, why="rule_removed")
        return self.alert_store.hold(at)
