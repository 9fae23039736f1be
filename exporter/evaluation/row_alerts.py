"""From what is said of every row to a step: alerts of single rows, and of storms of them.

The rows are the series of a query or the things of a group; what they say of themselves is not known here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Alert, AlertCandidate, AlertState, EvaluatedSlot, Step, fingerprint
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
    """An anomalous row that is to be explained.

    Attributes
    ----------
    since : float or None, Unix seconds
        Since when it is anomalous, where the alert of the row does not know.
    in_storm : bool
        It speaks for a storm, so that more series of its query turned is no news.
    """

    row: int
    since: float | None = None
    in_storm: bool = False


@dataclass(frozen=True, slots=True)
class SlotResult:
    """What one slot says.

    Attributes
    ----------
    said : RowStates
        Of every row.
    score : ndarray, shape (size,)
        The higher, the worse.
    table : SeriesTable
        Whose rows they are.
    findings : callable
        Explains anomalous rows, in their order; called once, for those only that are shown.
    partial : bool
        The answer may be incomplete, so it does not say that a series is gone.
    """

    said: RowStates
    score: npt.NDArray[np.float64]
    table: SeriesTable
    findings: Callable[[Sequence[ExplanationRequest]], list[AlertCandidate]]
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
    context : EvaluationContext
    book : AlertStore
    shard : Shard, optional
        Which part of the series is here: each part has storms of its own.
    """

    def __init__(
        self,
        name: str,
        kind: Literal["query", "group"],
        rule: AlertSettings | None,
        context: EvaluationContext,
        book: AlertStore,
        *,
        shard: Shard | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.rule = rule
        self.context = context
        self.book = book
        self._shard = shard
        self._row_of: dict[str, int] = {}
        self._unindexed: list[int] | None = None
        self._population = LabelIndex()
        self._populated: tuple[SeriesTable | None, int] = (None, -1)
        self._notes, self._notes_of = decode_context(book.notes), book.notes
        context.ports.root_causes.update(book.name, book.alerts, self._notes.traces, book.interval)

    def configure(
        self, rule: AlertSettings | None, context: EvaluationContext, table: SeriesTable, *, at: float
    ) -> None:
        """Go on under another configuration. Alerts that it gives other labels end: they are those of another rule."""
        alerts = self.book.alerts
        same = not alerts or _naming(self.rule, self.context) == _naming(rule, context)
        known = set() if same else self._identities(table) | {storm.identity for storm in self._open_storms()}
        self.rule, self.context, self.book.context = rule, context, context
        self.forget()
        renamed = (known & alerts.keys()) - self._identities(table) if known and rule is not None else set()
        if renamed:
            self.book.withdraw(renamed, at=at, why="rule_changed")

    def judge(self, turn: SlotResult) -> Step:
        """Return the step that a slot leads to.

        Raises
        ------
        DuplicateAlert
        """
        rule, book = self.rule, self.book
        if rule is None:
            return self._without_rule(turn.said.at)
        effect = self.context.ports.masks.row_mask(self.kind, self.name, rule, turn.table, turn.said.at)
        turn = turn if effect is None else _under(effect, turn)
        said = turn.said
        storms = self._open_storms()
        of_storms = {storm.identity for storm in storms}
        rows = {
            identity: self._find(rule, turn.table, identity)
            for identity, alert in book.alerts.items()
            if _is_open(alert) and identity not in of_storms
        }
        gathered = self._gather(rule, turn, storms, rows)
        alone = gathered.alone.tolist()
        told, speakers = self._tell(turn, gathered)
        found = collect(told)
        self._row_of.update(zip(found, alone, strict=True))
        missing, unknown = self._silent(turn, gathered, {one: row for one, row in rows.items() if one not in found})
        found, traces = self._explained(turn, gathered, found, speakers, missing | unknown)
        slot = EvaluatedSlot(
            said.at,
            found,
            missing=missing,
            unknown=unknown,
            absorbed=gathered.absorbed,
            other_alerts=self.context.ports.alert_snapshots.open_alerts(besides=book.name),
        )
        step = evaluate(rule, self.context.settings.alerting, book.name, book.alerts, slot)
        if step.suppressed:
            log.warning("max_alerts is reached", extra={self.kind: self.name, "suppressed": step.suppressed})
        return replace(step, notes=self._remember(step, gathered.storms, traces))

    def _silent(
        self, turn: SlotResult, gathered: StormAssignment, rows: Mapping[str, int | None]
    ) -> tuple[set[str], set[str]]:
        """Return the open alerts that are missing, and those of which nothing can be said; `rows` are not anomalous."""
        missing, unknown = set(gathered.missing), set(gathered.unknown)
        for identity, row in rows.items():
            if row is None or not turn.said.present[row]:
                missing.add(identity)
            elif not turn.said.scored[row]:
                unknown.add(identity)
        return (set(), missing | unknown) if turn.partial else (missing, unknown)

    def _explained(
        self,
        turn: SlotResult,
        gathered: StormAssignment,
        alone: Mapping[str, AlertCandidate],
        speakers: Mapping[str, Sequence[AlertCandidate]],
        silent: Collection[str],
    ) -> tuple[dict[str, AlertCandidate], dict[str, SeverityTrace]]:
        """Return all findings, with their causes, and the traces that causes are found by."""
        book, causes, at = self.book, self.context.ports.root_causes, turn.said.at
        found = dict(alone)
        scores = dict(zip(alone, turn.score[gathered.alone].tolist(), strict=True))
        shared = {}
        for storm in gathered.storms:
            members = gathered.rows[storm.identity]
            if len(members):
                found[storm.identity] = self._storm(turn, gathered, storm, speakers[storm.identity])
                scores[storm.identity] = float(turn.score[members].max())
                shared[storm.identity] = self._population.common_labels(members, _MOST_SHARE)
        slot = SlotCandidates(book.name, at, book.interval, book.alerts, found, scores, shared, silent)
        traces = causes.extend_traces(slot, self._remembered().traces)
        return causes.explain(slot, traces), traces

    def _remember(self, step: Step, storms: Collection[OpenStorm], traces: Mapping[str, SeverityTrace]) -> bytes:
        """Return the notes of a step, and let others see what is open."""
        opened = {identity for identity, alert in step.alerts.items() if _is_open(alert)}
        notes = SavedContext(
            tuple(storm for storm in storms if storm.identity in opened),
            {identity: trace for identity, trace in traces.items() if identity in opened},
        )
        self.context.ports.root_causes.update(self.book.name, step.alerts, notes.traces, self.book.interval)
        self._notes, self._notes_of = notes, encode_context(notes)
        return self._notes_of

    # ------------------------------------------------------------------ storms

    def _remembered(self) -> SavedContext:
        if self._notes_of is not self.book.notes:
            self._notes, self._notes_of = decode_context(self.book.notes), self.book.notes
        return self._notes

    def _open_storms(self) -> tuple[OpenStorm, ...]:
        """Return the storms whose alerts are open."""
        alerts = self.book.alerts
        return tuple(storm for storm in self._remembered().storms if _is_open(alerts.get(storm.identity)))

    def _gather(
        self, rule: AlertSettings, turn: SlotResult, storms: Collection[OpenStorm], rows: dict[str, int | None]
    ) -> StormAssignment:
        said, alerts = turn.said, self.book.alerts
        settings = overlay(self.context.settings.alerting.storm, rule.storm)
        few = not settings.enabled or np.count_nonzero(said.eligible) < settings.members
        if few and not storms:
            return StormAssignment((), {}, {}, np.flatnonzero(said.anomalous))
        self._populate(turn.table)
        own = {
            row: RowAlert(identity, alerts[identity].active_at, alerts[identity].fired_at is not None)
            for identity, row in rows.items()
            if row is not None
        }
        # Of what is there now: another exporter may remember series that this one has never seen.
        everywhere = self._population.common_labels(np.flatnonzero(said.present))

        def name(key: Labels, number: int) -> dict[str, str]:
            storm = str(number) if self._shard is None else f"{self._shard.index}-{number}"
            return self._labels(rule, {**everywhere, **dict(key)}, storm=storm)

        return assign_storms(
            settings,
            storms,
            said,
            self._population,
            own,
            waiting={storm.identity for storm in storms if alerts[storm.identity].fired_at is None},
            taken={identity for identity, alert in alerts.items() if _is_open(alert)},
            name=name,
        )

    def _tell(
        self, turn: SlotResult, gathered: StormAssignment
    ) -> tuple[list[AlertCandidate], dict[str, list[AlertCandidate]]]:
        """Return the findings of single rows, and by identity of a storm those of its worst members."""
        asked = [ExplanationRequest(row, gathered.since.get(row)) for row in gathered.alone.tolist()]
        count, ends = len(asked), {}
        for storm in gathered.storms:
            asked += self._worst(turn, gathered.rows[storm.identity], storm)
            ends[storm.identity] = len(asked)
        findings = turn.findings(asked) if asked else []
        alone = [
            replace(finding, since=one.since) for one, finding in zip(asked[:count], findings[:count], strict=True)
        ]
        begins = dict(zip(ends, [count, *ends.values()], strict=False))
        return alone, {identity: findings[begins[identity] : end] for identity, end in ends.items()}

    def _storm(
        self, turn: SlotResult, gathered: StormAssignment, storm: OpenStorm, worst: Sequence[AlertCandidate]
    ) -> AlertCandidate:
        """Explain a storm: only its worst members are looked at one by one."""
        rows, at, known = gathered.rows[storm.identity], turn.said.at, self.book.alerts.get(storm.identity)
        begun = gathered.begun.get(storm.identity)
        labels, since = ({}, at) if known is None else (known.labels, known.active_at)
        if begun is not None:
            labels, since = begun
        source = StormInput(
            self.name,
            [finding.explanation.annotations.get("summary", "") for finding in worst],
            now=len(rows),
            total=storm.total,
            series=len(turn.table),
            frequent=self._population.frequent_labels(rows, besides=[name for name, _ in storm.key]),
            since=since,
            members="series" if self.kind == "query" else "things",
        )
        return replace(worst[0], labels=labels, explanation=worst[0].explanation.add(STORM, source), since=since)

    def _worst(self, turn: SlotResult, rows: Rows, storm: OpenStorm) -> list[ExplanationRequest]:
        # By hash where scores are equal, because rows are others after a restart.
        hashes = self._population.hashes[rows]
        order = np.lexsort((hashes, -turn.score[rows]))[:_WORST].tolist()
        joined = [float(storm.joined[storm.members == hashes[place]][0]) for place in order]
        return [
            ExplanationRequest(int(rows[place]), since, in_storm=True)
            for place, since in zip(order, joined, strict=True)
        ]

    def _populate(self, table: SeriesTable) -> None:
        now = (table, table.version)
        if self._populated != now:
            self._population.update(table.items(), table.size)
            self._populated = now

    # ------------------------------------------------------------------ rows

    def claim(self, rows: Iterable[int]) -> None:
        """Note that rows were given to series: an open alert may be about one of them."""
        if self._unindexed is not None:
            self._unindexed.extend(rows)

    def release(self, rows: Collection[int]) -> None:
        """Note that rows have no series any more."""
        gone = set(rows)
        self._row_of = {identity: row for identity, row in self._row_of.items() if row not in gone}
        if self._unindexed:
            self._unindexed = [row for row in self._unindexed if row not in gone]

    def forget(self) -> None:
        """Note that all rows may belong to other series, or alerts to other rows."""
        self._row_of, self._unindexed = {}, None

    def labels(self, series: Labels) -> dict[str, str]:
        """Return the labels of the alert of a series; only where there is a rule."""
        assert self.rule is not None  # noqa: S101 - without one nothing alerts.
        return self._labels(self.rule, dict(series))

    def rows_of(self, identity: str, table: SeriesTable) -> list[int]:
        """Return the rows that an alert is about: of its series, or of all that are in a storm that goes on."""
        if self.rule is None:
            return []
        for storm in self._open_storms():
            if storm.identity == identity:
                self._populate(table)
                members = np.flatnonzero(np.isin(self._population.hashes[: table.size], storm.members))
                return [row for row in members.tolist() if table.in_use(row)]
        row = self._find(self.rule, table, identity)
        return [] if row is None else [row]

    def _without_rule(self, at: float) -> Step:
        """Let the alerts of an earlier configuration go: resolve them, and forget them once that was sent."""
        alerts = self.book.alerts
        if any(_is_open(alert) for alert in alerts.values()):
            return withdraw(alerts, at=at, why="rule_removed")
        return self.book.hold(at)

    def _labels(self, rule: AlertSettings, series: dict[str, str], storm: str = "") -> dict[str, str]:
        settings = self.context.settings
        return alert_labels(
            series,
            self.name,
            rule,
            settings.external_labels,
            utf8=settings.utf8_labels,
            kind=self.kind,
            storm=storm,
        )

    def _identities(self, table: SeriesTable) -> set[str]:
        """Return the fingerprints that the alerts of all series have or would have."""
        rule = self.rule
        if rule is None:
            return set()
        return {fingerprint(self._labels(rule, dict(labels))) for _, labels in table.items()}

    def _find(self, rule: AlertSettings, table: SeriesTable, identity: str) -> int | None:
        """Return the row of the series that an open alert is about, or None where there is none."""
        if identity not in self._row_of and self._unindexed != []:
            # After a start, or when a series is back: an alert is kept under its own labels, and only the rule leads
            # there from a series.
            rows = [row for row, _ in table.items()] if self._unindexed is None else self._unindexed
            self._unindexed = []
            for row in rows:
                self._row_of.setdefault(fingerprint(self._labels(rule, dict(table.labels(row)))), row)
        return self._row_of.get(identity)


def _under(effect: RowMask, turn: SlotResult) -> SlotResult:
    """Return what a slot says where something is known beforehand: see docs/calendar.md."""
    said = replace(turn.said, anomalous=turn.said.anomalous & ~effect.ignored, silenced=effect.silenced)

    def findings(asked: Sequence[ExplanationRequest]) -> list[AlertCandidate]:
        found = turn.findings(asked)
        return [effect.annotate(finding, one.row) for finding, one in zip(found, asked, strict=True)]

    return replace(turn, said=said, findings=findings)


def _is_open(alert: Alert | None) -> bool:
    return alert is not None and alert.state is not AlertState.RESOLVED


def _naming(rule: AlertSettings | None, context: EvaluationContext) -> tuple[object, ...]:
    """Return everything but its series that the labels of an alert follow from."""
    own = None if rule is None else (rule.alertname, rule.labels)
    return own, dict(context.settings.external_labels), context.settings.utf8_labels
