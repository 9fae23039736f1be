"""The alerts of one query: from verdicts to a step, durable before it is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from exporter.alerting.alert import Alert, AlertState, Finding, Step, fingerprint
from exporter.alerting.explain import explain, generator_url
from exporter.alerting.labels import alert_labels
from exporter.alerting.life import collect, evaluate, hold, withdraw
from exporter.alerting.settings import AlertSettings
from exporter.config.model import QueryPlan
from exporter.cycle.surroundings import Surroundings
from exporter.engine.series import Labels, SeriesTable
from exporter.engine.verdict import Verdict
from exporter.errors import StateError

__all__ = ["QueryAlerts"]

log = logging.getLogger(__name__)


class QueryAlerts:
    """All alerts of one query, and how they follow from its verdicts.

    Parameters
    ----------
    plan : QueryPlan
    around : Surroundings
    restored : Step
        What an earlier run left; committed with the first step.
    succeeded : float, Unix seconds
        The newest slot with a good answer; before the first one, the start of the program.
    """

    def __init__(self, plan: QueryPlan, around: Surroundings, restored: Step, *, succeeded: float) -> None:
        self.plan = plan
        self.around = around
        self.alerts: dict[str, Alert] = dict(restored.alerts)
        self.succeeded = succeeded
        self._unsaved = restored.transitions
        self._row_of: dict[str, int] = {}
        self._indexed = False

    def configure(self, plan: QueryPlan, around: Surroundings) -> None:
        """Go on under another configuration; alerts that it gives other labels end as their series were gone."""
        self.plan, self.around = plan, around
        self._row_of, self._indexed = {}, False

    def judge(self, verdict: Verdict, table: SeriesTable, *, partial: bool) -> Step:
        """Return the step that a verdict leads to.

        Parameters
        ----------
        partial : bool
            The server calls its answer incomplete, so it does not say that a series is gone.

        Raises
        ------
        DuplicateAlert
        """
        rule = self.plan.alert
        if rule is None:
            return self._without_rule(verdict.at)
        rows = np.flatnonzero(verdict.anomalous & verdict.ready).tolist()
        found = collect(self._finding(rule, verdict, table, row) for row in rows)
        self._row_of.update(zip(found, rows, strict=True))
        missing: set[str] = set()
        unknown: set[str] = set()
        for identity, alert in self.alerts.items():
            if identity in found or alert.state is AlertState.RESOLVED:
                continue
            row = self._find(rule, table, identity)
            if row is None or np.isnan(verdict.observed[row]):
                (unknown if partial else missing).add(identity)
            elif np.isnan(verdict.score[row]):
                unknown.add(identity)
        step = evaluate(
            rule,
            self.around.alerting,
            self.plan.name,
            self.alerts,
            at=verdict.at,
            found=found,
            missing=missing,
            unknown=unknown,
            others=self.around.board.open_alerts(besides=self.plan.name),
        )
        if step.suppressed:
            log.warning("max_alerts is reached", extra={"query": self.plan.name, "suppressed": step.suppressed})
        return step

    def hold(self, at: float) -> Step:
        """Return the step of a slot of which nothing is known."""
        limits, plan = self.around.alerting, self.plan
        return hold(limits, plan.name, self.alerts, at=at, since=self.succeeded, interval=plan.interval)

    def commit(self, slot: float, step: Step) -> bool:
        """Make the step of a slot durable; return whether it counts (a slot counts once)."""
        return self._store(step, lambda whole: self.around.store.commit(self.plan.name, slot, whole))

    def record(self, step: Step) -> None:
        """Make a step durable that judges no slot."""
        if step.alerts or step.transitions or self.alerts or self._unsaved:

            def write(whole: Step) -> bool:
                self.around.store.record(self.plan.name, whole)
                return True

            self._store(step, write)

    def _store(self, step: Step, write: Callable[[Step], bool]) -> bool:
        whole = replace(step, transitions=self._unsaved + step.transitions)
        try:
            with self.around.storing(self.plan.name):
                if not write(whole):
                    return False
            self._unsaved = ()
        except StateError:
            # The people on call matter more than the audit: go on from memory, and write it all next time.
            self._unsaved = whole.transitions
        self.alerts = dict(step.alerts)
        return True

    def send(self) -> None:
        """Hand the alerts to the senders, as they are now."""
        self.around.board.publish(self.plan.name, self.alerts, interval=self.plan.interval)

    def forget_rows(self, rows: Collection[int]) -> None:
        """Note that rows belong to other series from now on."""
        gone = set(rows)
        self._row_of = {identity: row for identity, row in self._row_of.items() if row not in gone}

    def _without_rule(self, at: float) -> Step:
        """Let the alerts of an earlier configuration go: resolve them, and forget them once that was sent."""
        if any(alert.state is not AlertState.RESOLVED for alert in self.alerts.values()):
            return withdraw(self.alerts, at=at, why="rule_removed")
        return self.hold(at)

    def _finding(self, rule: AlertSettings, verdict: Verdict, table: SeriesTable, row: int) -> Finding:
        plan, around = self.plan, self.around
        labels = self._labels(rule, table.labels(row))
        known = self.alerts.get(fingerprint(labels))
        votes = zip(plan.detection.detectors, verdict.each[:, row], strict=True)
        annotations = explain(
            plan.name,
            labels,
            observed=float(verdict.observed[row]),
            expected=float(verdict.expected[row]),
            lower=float(verdict.lower[row]),
            upper=float(verdict.upper[row]),
            score=float(verdict.score[row]),
            votes=[detector.kind for detector, severity in votes if severity >= 1.0],
            quorum=plan.detection.quorum,
            templates=rule.annotations,
            since=verdict.at if known is None or known.state is AlertState.RESOLVED else known.active_at,
        )
        return Finding(labels, annotations, generator_url(around.source_url, plan.expr))

    def _labels(self, rule: AlertSettings, series: Labels) -> dict[str, str]:
        around = self.around
        return alert_labels(dict(series), self.plan.name, rule, around.external_labels, utf8=around.utf8_labels)

    def _find(self, rule: AlertSettings, table: SeriesTable, identity: str) -> int | None:
        """Return the row of the series that an open alert is about, or None where there is none."""
        if identity not in self._row_of and not self._indexed:
            # After a start: an alert is kept under its own labels, and only the rule leads there from a series.
            self._indexed = True
            for row, labels in table.items():
                self._row_of.setdefault(fingerprint(self._labels(rule, labels)), row)
        return self._row_of.get(identity)
