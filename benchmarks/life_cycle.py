"""The life cycle of a query's alerts, as in the daemon, from the rows that are anomalous slot by slot."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from exporter.alerting.alert import AlertCandidate, AuditEvent, EvaluatedSlot, Step, fingerprint
from exporter.alerting.explanation.explanation import Explanation
from exporter.alerting.settings import AlertingSettings
from exporter.alerting.state_machine import evaluate
from exporter.config.model import Config, QuerySettings
from exporter.config.plan import QueryPlan

__all__ = ["LifeCycle", "plan_of"]


class LifeCycle:
    """The alerts of one query, which has a rule."""

    def __init__(self, plan: QueryPlan) -> None:
        assert plan.alert is not None
        self._rule, self._limits, self._after = plan.alert, AlertingSettings(), Step(alerts={})

    def step(self, at: float, anomalous: npt.NDArray[np.bool_]) -> int:
        """Take a slot, in Unix seconds, with `anomalous` of shape (series,); return how many begin to fire."""
        # Where nothing is anomalous and nothing is open, nothing follows.
        if not self._after.alerts and not anomalous.any():
            return 0
        labels = ({"alertname": self._rule.alertname, "series": str(row)} for row in np.flatnonzero(anomalous).tolist())
        candidates = {fingerprint(own): AlertCandidate(own, Explanation({}), "") for own in labels}
        slot = EvaluatedSlot(at, candidates)
        self._after = evaluate(self._rule, self._limits, "q", self._after.alerts, slot)
        return sum(event.event is AuditEvent.FIRING for event in self._after.transitions)


def plan_of(rule: Mapping[str, str], step: float) -> QueryPlan:
    """Return a query with slots every `step` seconds, and a rule of these settings."""
    query = {"name": "q", "expr": "q", "interval": f"{step:.0f}s", "alert": dict(rule)}
    return Config(queries=(QuerySettings.model_validate(query),)).plans()[0]
