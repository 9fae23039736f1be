"""What people said of episodes, taught to the baseline of their query, in the cycle's own thread.

`new normal` moves the level of the series to where it is, at once. A lesson is forgotten only when what came of it is
on disk: a crash in between has it learned again, from the state before it.
"""

from __future__ import annotations

import logging

import numpy as np

from exporter.alerting.alert import AlertState
from exporter.cycle.learning import Learning
from exporter.cycle.row_alerts import RowAlerts
from exporter.errors import StateError
from exporter.store import Lesson

__all__ = ["teach"]

log = logging.getLogger(__name__)


def teach(learning: Learning, alerts: RowAlerts, *, at: float) -> None:
    """Teach what people said since the last slot, write what came of it, and forget the lessons."""
    people = learning.around.people
    if people is None:
        return
    for lesson in people.lessons(learning.plan.name):
        if lesson not in learning.taught:
            _teach(lesson, learning, alerts, at)
            learning.taught.append(lesson)
    if not learning.taught:
        return
    learning.checkpoint()
    if learning.saved < learning.engine.at:
        return  # It could not be written: the lessons stay, and are not taught twice.
    done, learning.taught = learning.taught, []
    try:
        people.learned(done)
    except StateError as fault:
        # They are taught once more after the next start, when the level has not moved since: nothing comes of it.
        log.warning("a lesson could not be forgotten", extra={"query": learning.plan.name, "error": str(fault)})


def _teach(lesson: Lesson, learning: Learning, alerts: RowAlerts, at: float) -> None:
    more = {"query": lesson.query, "episode": lesson.episode}
    alert = alerts.book.alerts.get(lesson.fingerprint)
    rows = alerts.rows_of(lesson.fingerprint, learning.engine.table)
    if not rows:
        log.info("the new normal is not learned: its series are not there now", extra=more)
    elif alert is not None and alert.state is not AlertState.RESOLVED and alert.episode != lesson.episode:
        log.info("the new normal is not learned: another anomaly of the series is under way", extra=more)
    else:
        learning.engine.accept(np.array(rows, np.intp), at)
        log.info("the present level is the new normal", extra={**more, "series": len(rows)})
