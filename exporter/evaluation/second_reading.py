"""Another reading of all of history, beside the slots, where the first one was refused or incomplete."""

from __future__ import annotations

import logging
from collections.abc import Callable

from exporter.errors import PrometheusError
from exporter.evaluation.learner import Abandoned, Learner
from exporter.evaluation.reading_beside import ReadingBeside

__all__ = ["SecondReading"]

log = logging.getLogger(__name__)

_BETTER = 0.95
"""Part of the incomplete instants that must be left at most: how many there are differs a little from time to time."""


class SecondReading(ReadingBeside):
    """Learns the history of a query anew. An attempt that is broken off by the server is gone on with."""

    def plan(self, learner: Learner) -> None:
        """Plan a reading, because slots are judged without all of history."""
        seconds = self._pauses.later()
        more = {"query": learner.plan.name, "reason": learner.unread, "again_in_seconds": round(seconds)}
        log.warning("slots are judged without all of history", extra=more)

    def read(self, old: Learner, now: float, beat: Callable[[], None]) -> Learner | None:
        """Return a learner that knows more of history than `old`; None where there is none now.

        Parameters
        ----------
        now : float, Unix seconds
            The newest slot.
        beat : callable
            Called after every part of history, for the watchdog.
        """
        query = {"query": old.plan.name}
        if self._learner is None and old.context.ports.admission.left(old.engine) < len(old.engine.table):
            # For a while there are two of each series.
            self._pauses.later()
            return None
        learner = self._learner = self._learner or old.beside()
        learner.beat = beat
        if self._abandoned:
            return None
        try:
            learner.catch_up(now)
        except Abandoned:
            return None
        except PrometheusError as fault:
            log.warning("history still cannot be read", extra={**query, "error": fault.message})
            self._pauses.later()
            return None
        except Exception:
            log.exception("history could not be learned", extra=query)
            self._learner = None
            self._pauses.later()
            return None
        self._learner = None
        if learner.unread_points >= _BETTER * old.unread_points:
            log.info("history is as incomplete as before", extra={**query, "reason": str(learner.unread)})
            self._pauses.later()
            return None
        log.info("history was read again", extra={**query, "complete": learner.unread is None})
        return learner
