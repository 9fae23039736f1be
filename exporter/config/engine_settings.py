"""From the plan of a query to what its engine has to know."""

from __future__ import annotations

import math
from zoneinfo import ZoneInfo

import numpy as np

from exporter.config.holidays import holidays_of
from exporter.config.model import QueryPlan
from exporter.engine.calibration import Budget
from exporter.engine.engine import EngineSettings

__all__ = ["engine_settings"]


def engine_settings(plan: QueryPlan) -> EngineSettings:
    """Return what the engine of a query has to know: the same for the daemon, `detect` and `backtest`."""
    low, high = plan.valid_range
    return EngineSettings(
        zone=ZoneInfo(plan.zone),
        baseline=plan.baseline,
        detection=plan.detection,
        direction=plan.direction,
        min_deviation=plan.min_deviation,
        min_relative_deviation=plan.min_relative_deviation,
        valid_range=(-np.inf if low is None else low, np.inf if high is None else high),
        max_series=plan.max_series,
        holidays=None if plan.baseline.holidays is None else holidays_of(plan.baseline.holidays),
        budget=_budget(plan),
        cadence=plan.cadence,
        drifting=plan.drift.anomalous_ratio if plan.drift.relearn else None,
    )


def _budget(plan: QueryPlan) -> Budget | None:
    rule = plan.alert
    if rule is None or rule.budget is None:
        return None
    needed, kept = (math.ceil(seconds / plan.interval) + 1 for seconds in (rule.for_, rule.keep_firing_for))
    # Every shard has its part of it: together they spend what one process would.
    shards = 1 if plan.shard is None else plan.shard.count
    return Budget(rule.budget.rate / shards, needed, kept, plan.interval)
