"""What a replay records: counts of scores, and the alerts that would have been sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from exporter.alerting.alert import Alert, AlertState, AuditEvent, Step
from exporter.alerting.suppressed import SuppressionCodes
from exporter.calendar import SuppressionRule, all_match
from exporter.config.plan import QueryPlan
from exporter.engine.series import Labels, SeriesTable
from exporter.engine.verdict import Verdict, Verdicts
from exporter.exposition import group_scores
from exporter.store import AuditPage

__all__ = ["AlertRecorder", "MetricsRecorder", "RecordedAlert", "ReplayStore", "ScoreCounts"]

_EVERY = slice(None)
_ENDS = frozenset({AuditEvent.RESOLVED, AuditEvent.EXPIRED_SOURCE_DOWN, AuditEvent.EXPIRED})
_EFFECT = "effect"
_REASONS = ("drill_down", "likely_causes")


@dataclass(slots=True)
class RecordedAlert:
    """One alert from firing to resolved. Times are Unix seconds.

    Attributes
    ----------
    name : str
        Of the query; the job of a group.
    summary : str
        What its annotation says when it fires.
    reasons : mapping of str to str
        What the annotations about its cause say then, by name: `drill_down`, `likely_causes`.
    since : float
        Since when its series is anomalous.
    notified_at : float or None
        The first slot in which it fires and no silence of the calendar covers it; None: it was not notified.
    resolved_at : float or None
        None: it fires still.
    score : float
        The highest.
    """

    name: str
    fingerprint: str
    labels: Mapping[str, str]
    summary: str
    since: float
    fired_at: float
    notified_at: float | None = None
    resolved_at: float | None = None
    score: float = float("nan")
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_effect(self) -> bool:
        """Whether it follows from another alert, so that an Alertmanager may inhibit it."""
        return self.labels.get("incident_role") == _EFFECT


@dataclass(slots=True)
class ScoreCounts:
    """Counts of the scores of one query.

    Attributes
    ----------
    slots : int
        That were judged.
    empty : int
        Of these, those without a sample of any series: Prometheus has a hole, or there was nothing.
    samples, scored : int
    young : int
        Scored samples of series that are too young to alert.
    masked : int
        Samples under an entry of the calendar.
    counted, anomalous : int
        Samples that could have led to an alert, and the anomalous ones among them.
    series : int
        That there were in all.
    """

    slots: int = 0
    empty: int = 0
    samples: int = 0
    scored: int = 0
    young: int = 0
    masked: int = 0
    counted: int = 0
    anomalous: int = 0
    by_series: dict[Labels, list[int]] = field(default_factory=dict)
    """Counted and anomalous samples of every series."""
    _rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, 0), np.int64))
    _version: int = -1
    _labels: list[tuple[int, Labels]] = field(default_factory=list)

    @property
    def series(self) -> int:
        """How many series there were."""
        return len(self.by_series)

    def put(self, verdict: Verdict | Verdicts, table: SeriesTable, when: slice = _EVERY) -> None:
        """Count the scores of one slot, or of some of several."""
        if table.version != self._version:
            self.settle()
            self._version, self._labels = table.version, table.items()
            self._rows = np.zeros((2, table.size), np.int64)
        columns = (verdict.observed, verdict.score, verdict.ready, verdict.masked)
        observed, score, ready, masked = (np.atleast_2d(column)[when] for column in columns)
        here, scored = ~np.isnan(observed), ~np.isnan(score)
        counted = scored & ready & ~masked
        anomalous = counted & (score >= 0.5)
        self.slots += len(here)
        self.empty += len(here) - int(np.count_nonzero(here.any(axis=1)))
        self.samples += int(np.count_nonzero(here))
        self.scored += int(np.count_nonzero(scored))
        self.young += int(np.count_nonzero(scored & ~ready))
        self.masked += int(np.count_nonzero(here & masked))
        by_row = np.stack([counted, anomalous]).sum(axis=1)
        self.counted += int(by_row[0].sum())
        self.anomalous += int(by_row[1].sum())
        self._rows += by_row

    def settle(self) -> None:
        """Add what was counted by row to the series of the rows."""
        for row, labels in self._labels:
            sums = self.by_series.setdefault(labels, [0, 0])
            sums[0] += int(self._rows[0, row])
            sums[1] += int(self._rows[1, row])
        self._rows[:] = 0


class AlertRecorder:
    """Records the alerts of a replay instead of storing them; see `ReplayStore`.

    Parameters
    ----------
    rules : callable
        Returns what the calendar has in effect at an instant.
    """

    def __init__(self, rules: Callable[[float], Sequence[SuppressionRule]]) -> None:
        self._rules = rules
        self.scores: dict[str, ScoreCounts] = {}
        self.alerts: list[RecordedAlert] = []
        """In the order in which they fired."""
        self.suppressed = 0
        """Candidates that became no alert because `max_alerts` was reached."""
        self.fired: Callable[[RecordedAlert], None] = lambda _: None
        """Told of every alert that begins to fire."""
        self._open: dict[str, RecordedAlert] = {}
        self._reached: dict[str, float] = {}

    def add_verdict(
        self, plan: QueryPlan, verdict: Verdict | Verdicts, table: SeriesTable, when: slice = _EVERY
    ) -> None:
        """Count the scores of one slot of a query, or of some of several."""
        self.scores.setdefault(plan.name, ScoreCounts()).put(verdict, table, when)

    def commit(self, query: str, slot: float, step: Step) -> bool:
        """Note the step of a slot, unless it was noted before."""
        if slot <= self._reached.get(query, -np.inf):
            return False
        self._reached[query] = slot
        self.suppressed += step.suppressed
        self.record(query, step)
        return True

    def record(self, query: str, step: Step) -> None:
        """Note a step."""
        by_episode = {alert.episode: alert for alert in step.alerts.values()}
        for transition in step.transitions:
            alert = by_episode.get(transition.episode)
            if transition.event is AuditEvent.FIRING and alert is not None:
                self._open[transition.episode] = recorded = _recorded(query, alert, transition.at)
                self.alerts.append(recorded)
                self.fired(recorded)
            elif transition.event in _ENDS and transition.episode in self._open:
                self._open.pop(transition.episode).resolved_at = transition.at
        self._update(step.alerts.values())

    def _update(self, alerts: Iterable[Alert]) -> None:
        for alert in alerts:
            recorded = self._open.get(alert.episode)
            if recorded is None or alert.state is not AlertState.FIRING:
                continue
            if alert.worst is not None and alert.worst.score is not None:
                recorded.score = alert.worst.score
            if recorded.notified_at is None:
                silent = (rule for rule in self._rules(alert.evaluated_at) if rule.action == "silence")
                if not any(all_match(rule.matchers, alert.labels) for rule in silent):
                    recorded.notified_at = alert.evaluated_at


class ReplayAudit:
    """The audit of a replay: empty, because before its first slot there was no alert."""

    def page(self, **_: object) -> AuditPage:
        """Return an empty page."""
        return AuditPage((), None)


class ReplayArrays:
    """Learned state of a replay: everything is learned from history, and nothing is kept."""

    def save(self, *_: object, **__: object) -> None:
        """Do nothing."""

    def load(self, *_: object, **__: object) -> None:
        """Return None."""

    def version(self, query: str) -> None:
        """Return None."""

    def rename(self, *_: object, **__: object) -> None:
        """Do nothing."""

    def forget(self, *_: object) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class ReplayStore:
    """The store of a replay; nothing is on disk."""

    alerts: AlertRecorder
    audit: ReplayAudit = field(default_factory=ReplayAudit)
    learned_arrays: ReplayArrays = field(default_factory=ReplayArrays)


def _recorded(query: str, alert: Alert, at: float) -> RecordedAlert:
    summary = alert.annotations.get("summary", "")
    reasons = {name: alert.annotations[name] for name in _REASONS if alert.annotations.get(name)}
    return RecordedAlert(query, alert.fingerprint, dict(alert.labels), summary, alert.active_at, at, reasons=reasons)


class MetricsRecorder:
    """Takes the place of ``/metrics``: every row that would have been on it is passed on with the time of its slot.

    Parameters
    ----------
    clock : callable
        The slot, Unix seconds.
    write : callable, optional
        Given the slot, metrics by name, and label texts.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        write: Callable[[float, Mapping[str, NDArray[np.float64]], Sequence[bytes]], None] | None = None,
    ) -> None:
        self._clock, self._write = clock, write

    def publish(
        self,
        query: str,  # noqa: ARG002 - it is among the labels.
        prefixes: Sequence[bytes],
        metrics: Mapping[str, NDArray[np.float64]],
        suppressed: SuppressionCodes,  # noqa: ARG002 - alerts are recorded themselves.
        utf8_prefixes: Sequence[bytes],  # noqa: ARG002 - the file is for every version.
    ) -> None:
        """Pass on the rows of a query."""
        if self._write is not None:
            self._write(self._clock(), metrics, prefixes)

    def publish_group(
        self,
        group: str,  # noqa: ARG002 - as above.
        prefixes: Sequence[bytes],
        score: NDArray[np.float64],
        load: NDArray[np.float64],
        suppressed: SuppressionCodes,  # noqa: ARG002 - as above.
        utf8_prefixes: Sequence[bytes],  # noqa: ARG002 - as above.
    ) -> None:
        """Pass on the rows of a group."""
        if self._write is not None:
            self._write(self._clock(), group_scores(score, load), prefixes)

    def publish_canary(
        self,
        query: str,  # noqa: ARG002 - as above.
        prefixes: Sequence[bytes],
        metrics: Mapping[str, NDArray[np.float64]],
        utf8_prefixes: Sequence[bytes],  # noqa: ARG002 - as above.
    ) -> None:
        """Pass on the rows of the comparisons of a query."""
        if self._write is not None:
            self._write(self._clock(), metrics, prefixes)

    def withdraw_canary(self, query: str) -> None:
        """Do nothing, as `withdraw`."""

    def withdraw(self, query: str) -> None:
        """Do nothing: there is no page."""

    def withdraw_group(self, group: str) -> None:
        """Do nothing: there is no page."""
