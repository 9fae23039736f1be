"""What people said of episodes, taught to the baseline of their query or to their group, in the cycle's own thread.

`new normal` moves the level of the series to where it is, at once. A lesson is forgotten only when what came of it is
on disk: a crash in between has it learned again, from the state before it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import AlertState
from exporter.engine.multivariate import Group
from exporter.engine.series import SeriesTable
from exporter.errors import StateError
from exporter.evaluation.learner import Learner
from exporter.evaluation.row_alerts import RowAlerts
from exporter.feedback.episodes import EpisodeFeedback
from exporter.store import PendingFeedback

__all__ = ["teach"]

log = logging.getLogger(__name__)


def teach(learning: Learner, alerts: RowAlerts, *, at: float) -> None:
    """Teach what people said since the last slot, write what came of it, and forget the lessons."""
    feedback = learning.context.feedback
    if feedback is None:
        return
    for lesson in feedback.lessons(learning.plan.name):
        if lesson not in learning.taught:
            _teach(lesson, partial(learning.engine.accept, at=at), alerts, learning.engine.table)
            learning.taught.append(lesson)
    if not learning.taught:
        return
    learning.checkpoint()
    if learning.saved < learning.engine.at:
        return  # It could not be written: the lessons stay, and are not taught twice.
    done, learning.taught = learning.taught, []
    try:
        feedback.learned(done)
    except StateError as fault:
        # They are taught once more after the next start, when the level has not moved since: nothing comes of it.
        log.warning("a lesson could not be forgotten", extra={"query": learning.plan.name, "error": str(fault)})


def teach_group(feedback: EpisodeFeedback | None, alerts: RowAlerts, group: Group, save: Callable[[], bool]) -> None:
    """Teach a group what people said since the last slot, as `teach` does; `save` returns whether it worked."""
    lessons = [] if feedback is None else feedback.lessons(alerts.book.name)
    if feedback is None or not lessons:
        return
    for lesson in lessons:
        # To accept the present twice is to accept it once, so it does no harm where this has to be tried again.
        _teach(lesson, group.accept, alerts, group.table)
    if not save():
        return
    try:
        feedback.learned(lessons)
    except StateError as fault:
        log.warning("a lesson could not be forgotten", extra={"query": alerts.book.name, "error": str(fault)})


def _teach(
    lesson: PendingFeedback, accept: Callable[[npt.NDArray[np.intp]], None], alerts: RowAlerts, table: SeriesTable
) -> None:
    more = {"query": lesson.query, "episode": lesson.episode}
    alert = alerts.book.alerts.get(lesson.fingerprint)
    rows = alerts.rows_of(lesson.fingerprint, table)
    if not rows:
        log.info("the new normal is not learned: its series are not there now", extra=more)
    elif alert is not None and alert.state is not AlertState.RESOLVED and alert.episode != lesson.episode:
        log.info("the new normal is not learned: another anomaly of the series is under way", extra=more)
    else:
        accept(np.array(rows, np.intp))
        log.info("the present level is the new normal", extra={**more, "series": len(rows)})
