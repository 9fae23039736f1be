"""The alerts of one query: from verdicts to a step."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

import numpy as np

from exporter.alerting.alert import Alert, AlertState, Finding, Step, fingerprint
from exporter.alerting.explain import explain, generator_url
from exporter.alerting.labels import alert_labels
from exporter.alerting.life import collect, evaluate, withdraw
from exporter.alerting.settings import AlertSettings
from exporter.config.model import QueryPlan
from exporter.cycle.book import AlertBook
from exporter.cycle.surroundings import Surroundings
from exporter.engine.series import Labels, SeriesTable
from exporter.engine.verdict import Verdict

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
        self.book = AlertBook(plan.name, around, restored, interval=plan.interval, succeeded=succeeded)
        """Keeps and sends them."""
        self._row_of: dict[str, int] = {}
        self._unindexed: list[int] | None = None

    @property
    def alerts(self) -> dict[str, Alert]:
        """All alerts by fingerprint."""
        return self.book.alerts

    def configure(self, plan: QueryPlan, around: Surroundings, table: SeriesTable, *, at: float) -> None:
        """Go on under another configuration. Alerts that it gives other labels end: they are those of another rule."""
        same = not self.alerts or _naming(self.plan, self.around) == _naming(plan, around)
        known = set() if same else self._identities(table)
        self.plan, self.around = plan, around
        self.book.around, self.book.interval = around, plan.interval
        self.forget_rows()
        renamed = (known & self.alerts.keys()) - self._identities(table) if known and plan.alert is not None else set()
        if renamed:
            self.book.withdraw(renamed, at=at, why="rule_changed")

    def judge(self, verdict: Verdict, table: SeriesTable, *, partial: bool) -> Step:
        """Return the step that a verdict leads to.

        Parameters
        ----------
        partial : bool
            The answer may be incomplete, so it does not say that a series is gone.

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

    def claim_rows(self, rows: Iterable[int]) -> None:
        """Note that rows were given to series: an open alert may be about one of them."""
        if self._unindexed is not None:
            self._unindexed.extend(rows)

    def release_rows(self, rows: Collection[int]) -> None:
        """Note that rows have no series any more."""
        gone = set(rows)
        self._row_of = {identity: row for identity, row in self._row_of.items() if row not in gone}
        if self._unindexed:
            self._unindexed = [row for row in self._unindexed if row not in gone]

    def forget_rows(self) -> None:
        """Note that all rows may belong to other series, or alerts to other rows."""
        self._row_of, self._unindexed = {}, None

    def _without_rule(self, at: float) -> Step:
        """Let the alerts of an earlier configuration go: resolve them, and forget them once that was sent."""
        if any(alert.state is not AlertState.RESOLVED for alert in self.alerts.values()):
            return withdraw(self.alerts, at=at, why="rule_removed")
        return self.book.hold(at)

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
            cast=int(verdict.votes[row]),
            quorum=plan.detection.quorum,
            templates=rule.annotations,
            since=verdict.at if known is None or known.state is AlertState.RESOLVED else known.active_at,
            series=dict(table.labels(row)),
        )
        return Finding(labels, annotations, generator_url(around.source_url, plan.expr))

    def _labels(self, rule: AlertSettings, series: Labels) -> dict[str, str]:
        around = self.around
        return alert_labels(dict(series), self.plan.name, rule, around.external_labels, utf8=around.utf8_labels)

    def _identities(self, table: SeriesTable) -> set[str]:
        """Return the fingerprints that the alerts of all series have or would have."""
        rule = self.plan.alert
        return set() if rule is None else {fingerprint(self._labels(rule, labels)) for _, labels in table.items()}

    def _find(self, rule: AlertSettings, table: SeriesTable, identity: str) -> int | None:
        """Return the row of the series that an open alert is about, or None where there is none."""
        if identity not in self._row_of and self._unindexed != []:
            # After a start, or when a series is back: an alert is kept under its own labels, and only the rule leads
            # there from a series.
            rows = [row for row, _ in table.items()] if self._unindexed is None else self._unindexed
            self._unindexed = []
            for row in rows:
                self._row_of.setdefault(fingerprint(self._labels(rule, table.labels(row))), row)
        return self._row_of.get(identity)


def _naming(plan: QueryPlan, around: Surroundings) -> tuple[object, ...]:
    """Return everything but its series that the labels of an alert follow from."""
    own = None if plan.alert is None else (plan.alert.alertname, plan.alert.labels)
    return own, dict(around.external_labels), around.utf8_labels
