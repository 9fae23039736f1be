"""Applies feedback on episodes to the baseline of their query, to their group or canary, in the evaluator's own thread.

`new normal` moves the level of the series to where it is now, at once. Feedback stays pending until the state that
follows from it is on disk: after a crash it is applied again, to the state before it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from exporter.engine.series import SeriesTable
from exporter.errors import StateError
from exporter.evaluation.learner import Learner
from exporter.evaluation.row_alerts import RowAlerts
from exporter.feedback.episodes import EpisodeFeedback
from exporter.store import PendingFeedback
from exporter.store.feedback_rows import SOON

__all__ = ["apply_feedback", "apply_job_feedback"]

log = logging.getLogger(__name__)

_WORSE = 1.5
"""Times as far from what was expected as when it was called normal: another anomaly."""


def apply_feedback(learner: Learner, alerts: RowAlerts, *, at: float, adopted: bool = False) -> None:
    """Apply the feedback since the last slot, write the state that follows from it, and mark it as applied.

    `adopted`: only what another exporter was given while this one was not running, before a slot is judged: nobody is
    to be notified of a level that was accepted.
    """
    feedback = learner.context.ports.feedback
    if feedback is None:
        return
    learner.engine.note_judged(feedback.judged(learner.plan.name))
    for pending in feedback.pending(learner.plan.name):
        if pending not in learner.applied and (pending.adopted or not adopted):
            _apply(pending, partial(learner.accept, at=at), alerts, learner.engine.table, feedback, at=at)
            learner.applied.append(pending)
    if not learner.applied:
        return
    learner.checkpoint()
    if learner.saved < learner.engine.at:
        return  # It could not be written: the feedback stays pending, and is not applied twice.
    done, learner.applied = learner.applied, []
    # If this fails, it is applied once more after the next start, when the level has not moved since.
    _mark_applied(feedback, done, learner.plan.name)


def apply_job_feedback(
    feedback: EpisodeFeedback | None,
    alerts: RowAlerts,
    accept: Callable[[npt.NDArray[np.intp]], None],
    table: SeriesTable,
    save: Callable[[], bool],
    *,
    at: float,
) -> None:
    """Apply feedback to a group or a canary, as `apply_feedback` does.

    Parameters
    ----------
    accept : callable
        Takes the present of some rows as normal.
    save : callable
        Writes the state, and returns whether that worked.
    """
    batch = [] if feedback is None else feedback.pending(alerts.alert_store.name)
    if feedback is None or not batch:
        return
    for pending in batch:
        # To accept the present twice is to accept it once, so it does no harm where this has to be tried again.
        _apply(pending, accept, alerts, table, feedback, at=at)
    if save():
        _mark_applied(feedback, batch, alerts.alert_store.name)


def _mark_applied(feedback: EpisodeFeedback, batch: list[PendingFeedback], query: str) -> None:
    try:
        feedback.mark_applied(batch)
    except StateError as fault:
        log.warning("a lesson could not be forgotten", extra={"query": query, "error": str(fault)})


def _apply(
    pending: PendingFeedback,
    accept: Callable[[npt.NDArray[np.intp]], None],
    alerts: RowAlerts,
    table: SeriesTable,
    feedback: EpisodeFeedback,
    *,
    at: float,
) -> None:
    more = {"query": pending.query, "episode": pending.episode}
    rows = alerts.rows_of(pending.fingerprint, table)
    why = "its series are not there now" if not rows else _objection(pending, alerts, feedback, at)
    if why:
        log.info("the new normal is not learned", extra={**more, "reason": why})
        feedback.note_unlearned(pending, at=at, why=why)
    else:
        accept(np.array(rows, np.intp))
        log.info("the present level is the new normal", extra={**more, "series": len(rows)})


def _objection(pending: PendingFeedback, alerts: RowAlerts, feedback: EpisodeFeedback, at: float) -> str:
    """Return why the present level is not the one that was called normal; empty where it is."""
    alert = alerts.alert_store.alerts.get(pending.fingerprint)
    if alert is None or not alert.is_open:
        return ""
    if alert.episode != pending.episode:
        return "another anomaly of the series is under way"
    worst = alert.worst
    # It is learned within a slot or two, unless this process was not running.
    if worst is None or worst.at <= pending.at or at - pending.at <= max(SOON, 3 * alerts.alert_store.interval):
        return ""
    before = feedback.deviation_of(pending)
    if (
        before is not None
        and worst.observed is not None
        and worst.expected is not None
        and abs(worst.observed - worst.expected) <= _WORSE * before
    ):
        return ""
    return "the anomaly became worse after that was said"
