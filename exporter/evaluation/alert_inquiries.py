"""The inquiries of a query or group, from its settings."""

from __future__ import annotations

from exporter.alerting.settings import AlertSettings
from exporter.config.plan import QueryPlan
from exporter.evaluation.alert_context import AlertContext
from exporter.evaluation.context import EvaluationContext
from exporter.evaluation.drill_down import DrillDown
from exporter.evaluation.inquiries import Inquiries, Inquiry

__all__ = ["inquiries_of"]


def inquiries_of(
    rule: AlertSettings | None, context: EvaluationContext, *, interval: float, plan: QueryPlan | None = None
) -> Inquiries:
    """Return what Prometheus is asked when an alert fires.

    Parameters
    ----------
    rule : AlertSettings or None
        Of the query or group.
    interval : float, seconds
        Between slots.
    plan : QueryPlan or None
        Of the query; None for a group.
    """
    offset = context.settings.query_offset
    inquiries: list[Inquiry] = []
    if plan is not None and plan.drill_down is not None:
        own = plan.drill_down.expr
        unit = plan.unit if own is None else None
        labels = plan.drill_down.labels
        inquiries.append(DrillDown(own or plan.expr, labels, unit, interval=interval, query_offset=offset))
    if rule is not None:
        inquiries += [AlertContext(each, query_offset=offset) for each in rule.context]
    return Inquiries(inquiries, context.ports.inquiry_api, interval=interval)
