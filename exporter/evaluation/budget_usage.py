"""Usage of the alert budget of one query: alerts spent and left, and the threshold."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable

from exporter.alerting.alert import AlertTransition, AuditEvent
from exporter.alerting.budget import AlertBudget
from exporter.config.plan import QueryPlan
from exporter.engine.calibration import Calibration
from exporter.errors import StateError
from exporter.evaluation.context import EvaluationContext

__all__ = ["BudgetUsage"]

log = logging.getLogger(__name__)

_MAX_COUNTED = 10_000
"""Alerts of a period that are counted; a query that raises more has another problem."""
_PAGES = 100
_WORTH_A_LINE = 0.1
"""Relative change of the threshold from which it is logged."""


class BudgetUsage:
    """Counts the alerts of a query that fire, against its budget if it has one."""

    def __init__(self, plan: QueryPlan, context: EvaluationContext) -> None:
        self._query = plan.name
        self._context = context
        self._budget: AlertBudget | None = None if plan.alert is None else plan.alert.budget
        self._shards = 1 if plan.shard is None else plan.shard.count
        self._fired: deque[float] | None = None
        self._logged: float | None = None
        """The threshold in the newest log line."""
        if self._budget is None:
            # A reload removed the budget of the query.
            for gauge in context.ports.metrics.budgets.values():
                gauge.remove_by_labels({"query": plan.name})

    def update(self, at: float, transitions: Iterable[AlertTransition], calibration: Calibration) -> None:
        """Count the alerts that fired in a slot, after it was made durable.

        Parameters
        ----------
        at : float, Unix seconds
        transitions : iterable of AlertTransition
        """
        budget = self._budget
        if budget is None:
            return
        if self._fired is None:
            # The audit log has the transitions of this slot already.
            self._fired = self._read(at - budget.seconds)
        else:
            self._fired.extend(transition.at for transition in transitions if transition.event is AuditEvent.FIRING)
        while self._fired and self._fired[0] <= at - budget.seconds:
            self._fired.popleft()
        self._publish(budget, len(self._fired), calibration)
        self._log(budget, calibration)

    def _read(self, since: float) -> deque[float]:
        """Read from the audit log when alerts fired."""
        newest_first: list[float] = []
        cursor = None
        try:
            for _ in range(_PAGES):
                with self._context.storing(self._query):
                    page = self._context.ports.store.audit.page(
                        query=self._query, since=since, after=cursor, limit=1000
                    )
                newest_first += [entry.at for entry in page.entries if entry.event == AuditEvent.FIRING]
                cursor = page.next
                if cursor is None or len(newest_first) >= _MAX_COUNTED:
                    break
        except StateError:
            log.warning("what was spent of the budget is counted from now on", extra={"query": self._query})
        return deque(reversed(newest_first[:_MAX_COUNTED]), maxlen=_MAX_COUNTED)

    def _publish(self, budget: AlertBudget, spent: int, calibration: Calibration) -> None:
        allowed = budget.alerts / self._shards
        values = {
            "alerts": allowed,
            "period_seconds": budget.seconds,
            "spent": spent,
            "left": max(0.0, allowed - spent),
            "threshold": calibration.threshold,
            "calibrated": calibration.fitted,
            "history_seconds": calibration.history,
            "expected": calibration.expected * budget.seconds,
            "expected_lower": calibration.lower * budget.seconds,
            "expected_upper": calibration.upper * budget.seconds,
        }
        for name, value in values.items():
            gauge = self._context.ports.metrics.budgets[name]
            if math.isnan(value):
                gauge.remove_by_labels({"query": self._query})
            else:
                gauge.labels(query=self._query).set(value)

    def _log(self, budget: AlertBudget, calibration: Calibration) -> None:
        logged, threshold = self._logged, calibration.threshold
        if logged is not None and abs(threshold / logged - 1.0) < _WORTH_A_LINE:
            return
        self._logged = threshold
        extra: dict[str, object] = {"query": self._query, "budget": str(budget), "threshold": round(threshold, 3)}
        if calibration.fitted:
            per = (calibration.expected, calibration.lower, calibration.upper)
            expected, lower, upper = (round(rate * budget.seconds, 2) for rate in per)
            extra |= {"expected": expected, "from": lower, "to": upper}
            log.info("the threshold is calibrated to the budget", extra=extra)
        else:
            extra["history_days"] = round(calibration.history / 86400.0, 1)
            log.warning("not enough history for the budget: the default threshold stays", extra=extra)
