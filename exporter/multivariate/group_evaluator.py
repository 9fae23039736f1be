"""One slot of one group: join the newest inputs of its queries, judge them, publish, checkpoint."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import Step
from exporter.alerting.incident_groups import GroupMembers
from exporter.config.model import AlertingGroup
from exporter.config.plan import QueryPlan
from exporter.correlation.loads import Loads
from exporter.engine.multivariate import (
    Forest,
    Group,
    GroupInput,
    GroupVerdict,
    JointForest,
    alerts_under_load,
    fit,
    join,
)
from exporter.engine.series import SeriesTable
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.table_job import TableJob
from exporter.exposition import PageRows
from exporter.multivariate.group_alerts import GroupAlerts
from exporter.multivariate.group_inputs import GroupInputs, HistoryWait, QueryInput, replay
from exporter.multivariate.group_status import GroupStatus, status_of
from exporter.multivariate.member_loads import member_rows
from exporter.store import LearnedState

__all__ = ["GroupEvaluator", "job_of", "members_of"]

log = logging.getLogger(__name__)

_DEADLINE = 0.9
"""Part of the interval after which a slot is judged without the queries that have no answer."""
_ROUND = 0.95
"""Part of the interval within which inputs belong to the same round."""
_LOGGED = 10
"""Entities of a group that get a line of the log in one slot at most."""
_SAME = np.array([[1.5], [30.0]])
"""Intervals for which an entity is not anomalous, or not under load, before it is logged again that it is. A load that
comes and goes at the edge of what counts is one load."""
_ENOUGH = 1440
"""Slots of the past from which a new group has enough of it: those that it gets at slots of a second."""
_NONE = np.zeros(0, np.intp)


class GroupEvaluator(TableJob):
    """Evaluates one group; owns its learned state, its rows on the page, its alerts.

    Parameters
    ----------
    plans : sequence of QueryPlan
        Of its queries, in its order.
    training : Executor
        Where forests are trained, so that no slot waits for one.
    restored : Step
        Its alerts as an earlier process or configuration left them.
    started : float, Unix seconds
        Now, or the newest slot that was judged.
    progress : callable
        Returns how much of its history a query has learned, 0 to 1.
    loads : Loads
        Takes the load of its members.
    before : GroupEvaluator, optional
        One of the same name that has ended.
    """

    kind, label = "group", "group"

    def __init__(
        self,
        settings: AlertingGroup,
        plans: Sequence[QueryPlan],
        context: EvaluationContext,
        inputs: GroupInputs,
        training: Executor,
        restored: Step,
        *,
        started: float,
        progress: Callable[[str], float],
        loads: Loads,
        before: GroupEvaluator | None = None,
    ) -> None:
        super().__init__(settings.name, job_of(settings), _identity(settings, plans), context)
        self.settings = settings
        slowest = max(plans, key=lambda plan: plan.interval)
        self.interval = slowest.interval
        """How often it is judged, seconds: as often as its slowest query."""
        self.offset = (slowest.offset + _DEADLINE * slowest.interval) % slowest.interval
        """When `run` is due, seconds after multiples of the interval: late enough for every query to be judged."""
        self._intervals = {plan.name: plan.interval for plan in plans}
        self._judged = -np.inf
        self.begun = False
        """Whether it has learned the past of its queries, so that slots can be judged."""
        self._wait = HistoryWait()
        self._rereads = False
        self._progress = progress
        self.group = Group(settings, max(plan.baseline.window for plan in plans))
        self._ttl = max(plan.baseline.series_ttl for plan in plans)
        self._inputs, self._loads = inputs, loads
        self._alerting = np.array([plan.alert is not None for plan in plans])
        self._training = training
        self.status: GroupStatus | None = None
        """The newest; never changed, and None where there is none."""
        self._forest: Future[Forest] | None = None
        self._places: dict[str, tuple[Sequence[bytes | None], int, npt.NDArray[np.intp]]] = {}
        self._page = PageRows("group", settings.name)
        self._last_logged = np.zeros((2, 0))
        self.alerts = GroupAlerts(self.job, settings, plans, context, restored, succeeded=started)
        self.rows = self.alerts.rows
        limits = None if before is None else (before.identity, before.settings.contamination)
        same = limits == (self.identity, settings.contamination)
        if before is not None and before.ended and same:
            self.group, self.saved, self.begun = before.group, before.saved, before.begun
            self.group.settings = settings  # How its metrics vote is not learned.
        else:
            self._restore()
        inputs.keep_past(self.job, () if self.begun else settings.queries)

    def arrived(self) -> None:
        """Judge the newest slot if all queries have been judged in it; called after each of them."""
        if not self.begun:
            return
        inputs = {query: self._inputs.get(query, self.settings.by) for query in self.settings.queries}
        newest = {query: part.values.at for query, part in inputs.items() if part is not None}
        slot = max((at for query, at in newest.items() if self._intervals[query] == self.interval), default=-np.inf)
        # The slots of a faster query are among them or in between.
        if len(newest) == len(inputs) and all(at > slot - self._intervals[query] for query, at in newest.items()):
            self._run(slot, after=slot)

    def run(self, slot: float) -> None:
        """Judge with the inputs there are, unless `arrived` did: a query may have failed."""
        self._run(slot, after=slot - self.interval)

    def _run(self, slot: float, *, after: float) -> None:
        """Judge a slot, if none later than `after` was judged; a failure reaches no query and no other group."""
        with self._lock:
            if self._retired or self._judged >= after:
                return
            try:
                if not self.begun and not self._begin(slot):
                    self.alerts.hold(slot)
                    return
                self._judged = slot
                self._judge(slot)
            except Exception:
                log.exception("a group could not be judged", extra={"group": self.settings.name})
                self.context.ports.exposition.withdraw_group(self.settings.name)
                self.status = None
                self.alerts.hold(slot)

    def _begin(self, slot: float) -> bool:
        """Learn the past of the queries, up to the slot, if all of it is there; return whether."""
        queries = self.settings.queries
        if not self._wait.over([min(self._progress(name), self._inputs.past_progress(name)) for name in queries], slot):
            return False
        past = {query: self._inputs.past(query) for query in queries}
        # Those of a replay have read all there is.
        if not (self._rereads or self.context.ports.needs_history) and self._lacks(past):
            self._rereads, self._wait = True, HistoryWait(least=0)
            self._inputs.ask_past(queries)
            return False
        inputs = {query: self._inputs.get(query, self.settings.by) for query in queries}
        for _ in range(2):
            places = {query: self._past_place(query, part, slot) for query, part in inputs.items()}
        slowest = [query for query in queries if self._intervals[query] == self.interval]
        age = _ROUND * self.interval
        slots = sorted({values.at for query in slowest for values in past[query] if values.at <= slot - age})
        number = replay(
            self.group, past, places, slots=slots, interval=self.interval, age=age, ended=lambda: self._retired
        )
        self.begun = not self._retired
        if not self.begun:
            return False
        self._inputs.keep_past(self.job, ())
        more = {"group": self.settings.name, "slots": number, "entities": len(self.group.table)}
        if number:
            log.info("a group has learned from the past of its queries", extra=more)
            self._save()
        elif self.saved == -np.inf:
            log.info("a group has no past to learn from: it learns from now on", extra=more)
        return True

    def _lacks(self, past: Mapping[str, Sequence[GroupInput]]) -> bool:
        """Return whether the past has to be read: its queries have learned it before this group was there."""
        return self.saved == -np.inf and max(len(each) for each in past.values()) < _ENOUGH

    def _past_place(self, query: str, newest: QueryInput | None, slot: float) -> npt.NDArray[np.intp]:
        """Return the row of the entity of every row of the past of a query, -1 where there is none."""
        entities = self._inputs.past_entities(query, self.settings.by)
        return self._place(query, newest, slot) if entities is None else self._rows_of(entities, slot)

    def _judge(self, slot: float) -> None:
        settings, group = self.settings, self.group
        inputs = [self._inputs.get(query, settings.by) for query in settings.queries]
        # Twice, because one query may admit an entity into a row that another one has looked up before.
        for _ in range(2):
            places = [self._place(query, part, slot) for query, part in zip(settings.queries, inputs, strict=True)]
        newest = [None if part is None else part.values for part in inputs]
        # Of this round only: metrics read at different times disagree whenever all of them change.
        matrix = join(newest, places, group.table.size, since=slot - _ROUND * self.interval)
        self.context.ports.containment.run("training", self.job, lambda: self._train(slot), None)
        verdict = group.step(slot, matrix, self.interval)
        self._page.claim((row for row, _ in group.table.items()), group.table)
        if self._retired:
            return
        fresh = [values is not None and values.at >= slot - _ROUND * self.interval for values in newest]
        mature = _mature(inputs, places, group.table.size)
        if any(fresh):
            load = alerts_under_load(verdict, self._alerting, group_alerts=settings.rule is not None)
            # What fails under a load has the alert of its query, which says more.
            alerting = mature & ~load.replaced
            whole = all(fresh) and all(part is not None and part.complete for part in inputs)
            self.alerts.evaluate(verdict, matrix, group, alerting, complete=whole)
            self._loads.update(self.job, member_rows(slot, load, settings.queries, places))
        else:
            self.alerts.hold(slot)
        suppressed = self.alerts.suppressed(verdict, group.table, mature)
        prefixes = self._page.prefixes(verdict.score)
        self.context.ports.exposition.publish_group(
            settings.name, prefixes, verdict.score, verdict.load, suppressed, self._page.utf8_prefixes(prefixes)
        )
        run = self.context.ports.containment.run
        self.status = run(
            "page", self.job, lambda: status_of(settings.name, settings.queries, verdict, group.table), None
        )
        run("log", self.job, lambda: self._log(verdict), None)
        self._apply_feedback(slot)
        self._page.release(group.expire(slot - self._ttl))
        if slot - self.saved >= self.context.settings.checkpoint_interval:
            self._save()

    def _place(self, query: str, newest: QueryInput | None, slot: float) -> npt.NDArray[np.intp]:
        """Return the row of the entity of every row of a query, -1 where there is none."""
        if newest is None:
            return _NONE
        entities, version, place = self._places.get(query, (None, -1, _NONE))
        if entities is newest.entities and version == self.group.table.version:
            return place
        place = self._rows_of(newest.entities, slot)
        self._places[query] = (newest.entities, self.group.table.version, place)
        return place

    def _rows_of(self, entities: Sequence[bytes | None], slot: float) -> npt.NDArray[np.intp]:
        keys = {row: entity for row, entity in enumerate(entities) if entity is not None}
        place = np.full(len(entities), -1, np.intp)
        place[list(keys)] = self.group.admit(list(keys.values()), slot)
        return place

    def _log(self, verdict: GroupVerdict) -> None:
        """Log the entities that became anomalous, or under load, since the last slot, and why."""
        now = np.array([verdict.anomalous, ~np.isnan(verdict.load)])
        last = np.full(now.shape, -np.inf)
        last[:, : self._last_logged.shape[1]] = self._last_logged
        newly = now & (last < verdict.at - self.interval * _SAME)
        self._last_logged = np.where(now, verdict.at, last)
        more: dict[str, object]
        for row in np.flatnonzero(newly[0])[:_LOGGED].tolist():
            shares = sorted(zip(verdict.share[row], self.settings.queries, strict=True), reverse=True)
            why = ", ".join(f"{query} {share:.0%}" for share, query in shares if share >= 0.05)
            more = {"group": self.settings.name, "score": round(float(verdict.score[row]), 3), "because": why}
            log.info("a group is anomalous", extra={**more, "entity": self._page.text(row)})
        for row in np.flatnonzero(newly[1])[:_LOGGED].tolist():
            more = {"group": self.settings.name, "factor": round(float(verdict.load[row]), 2)}
            log.info("all metrics up together: load", extra={**more, "entity": self._page.text(row)})

    def _train(self, slot: float) -> None:
        """Begin to train a forest where it is time, and take up one that is ready."""
        detector = self.group.detector
        if not isinstance(detector, JointForest):
            return
        if self._forest is None:
            if detector.due(slot):
                self._forest = self._training.submit(
                    fit, detector.training(slot), self.settings.forest_contamination, slot
                )
        elif self._forest.done():
            done, self._forest = self._forest, None
            detector.adopt(done.result())
            log.info("a forest was trained", extra={"group": self.settings.name})

    # ------------------------------------------------------------------ state

    @property
    def table(self) -> SeriesTable:
        """The entities."""
        return self.group.table

    @property
    def newest(self) -> float:
        """The newest slot that was judged, Unix seconds."""
        return self.group.at

    def _accept(self, rows: npt.NDArray[np.intp]) -> None:
        self.group.accept(rows)

    def _parts(self) -> Mapping[str, npt.NDArray[Any]]:
        return self.group.arrays()

    def _take(self, stored: LearnedState) -> bool:
        return self.group.restore(stored.at, stored.parts, stored.series)


def job_of(settings: AlertingGroup) -> str:
    """Return the name of a group's job and of its learned state; no query can have it."""
    return f"(group) {settings.name}"


def members_of(settings: AlertingGroup) -> GroupMembers:
    """Return the alerts that a group joins into incidents."""
    return GroupMembers(settings.name, settings.by, settings.queries)


def _mature(
    inputs: Sequence[QueryInput | None], places: Sequence[npt.NDArray[np.intp]], size: int
) -> npt.NDArray[np.bool_]:
    """Return which entities have two metrics at least that are old enough to alert, shape (size,)."""
    metrics = np.zeros((size, len(inputs)), np.bool_)
    for metric, (newest, place) in enumerate(zip(inputs, places, strict=True)):
        if newest is not None:
            rows = np.flatnonzero((place >= 0) & newest.ready[: len(place)])
            metrics[place[rows], metric] = True
    enough: npt.NDArray[np.bool_] = metrics.sum(axis=1) >= 2
    return enough


def _identity(settings: AlertingGroup, plans: Sequence[QueryPlan]) -> str:
    """Hash what learned state depends on."""
    parts = [settings.by, settings.detector, [(plan.name, plan.identity, plan.baseline.window) for plan in plans]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
