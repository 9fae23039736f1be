"""The past of a query that has long learned it, read once more for a group that was added since."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from exporter.errors import PrometheusError
from exporter.evaluation.learner import Abandoned, Learner
from exporter.evaluation.reading_beside import ReadingBeside

__all__ = ["GroupHistory"]

log = logging.getLogger(__name__)


class GroupHistory(ReadingBeside):
    """Judges the past as it was judged when the query learned it. Nothing of it changes what the query has learned."""

    def read(self, old: Learner, now: float, beat: Callable[[], None]) -> None:
        """Read what groups wait for, up to the slot `now`, Unix seconds; `beat` is called after every part of it."""
        plan, groups = old.plan, old.context.ports.groups
        if self._abandoned or not groups.past_due(plan.name):
            return
        query = {"query": plan.name}
        if old.context.ports.admission.left(old.engine) < len(old.engine.table):
            # For a while there would be two of each series.
            log.warning("a new group learns from now on: there is no room to read the past again", extra=query)
            groups.end_past(plan, None)
            return
        learner = self._learner = old.beside()
        table = learner.engine.table

        def goes_on() -> None:
            groups.past_goes_on(plan.name, learner.progress)
            beat()

        learner.beat = goes_on
        learner.on_slot = partial(groups.add_past, plan)
        try:
            learner.catch_up(now)
            groups.end_past(plan, table)
        except Abandoned:
            return
        except PrometheusError as fault:
            log.warning("the past cannot be read for a new group", extra={**query, "error": fault.message})
            groups.begin_past(plan.name)
            self._pauses.later()
        except Exception:
            log.exception("the past could not be judged for a new group", extra=query)
            groups.end_past(plan, None)
        finally:
            self._learner = None
