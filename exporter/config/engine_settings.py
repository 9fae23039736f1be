"""The engine settings of a query plan: the same for the daemon, `detect` and `backtest`."""

from __future__ import annotations

import functools
import math
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from exporter.config.plan import QueryPlan
from exporter.engine.buckets import Holidays
from exporter.engine.calibration import Budget
from exporter.engine.engine import EngineSettings
from exporter.engine.settings import BaselineSettings

__all__ = ["engine_settings", "holidays_of"]


def engine_settings(plan: QueryPlan) -> EngineSettings:
    """Return the engine settings of a query."""
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
        holidays=_holidays(plan.baseline),
        budget=_budget(plan),
        cadence=plan.cadence,
        drifting=plan.drift.anomalous_ratio if plan.drift.relearn else None,
        peers=plan.peers,
        forecast=plan.forecast,
        forecast_step=plan.cadence,
    )


def _budget(plan: QueryPlan) -> Budget:
    """Return what makes an alert of the query, and how many it may raise; without a rule, each anomaly is one."""
    rule = plan.alert
    if rule is None:
        return Budget(None, 1, 1, plan.interval)
    needed, kept = (math.ceil(seconds / plan.interval) + 1 for seconds in (rule.for_, rule.keep_firing_for))
    # Each shard has its part of the budget, so that all together raise as many alerts as one process would.
    shards = 1 if plan.shard is None else plan.shard.count
    return Budget(None if rule.budget is None else rule.budget.rate / shards, needed, kept, plan.interval)


def _holidays(baseline: BaselineSettings) -> Holidays | None:
    return None if baseline.holidays is None else holidays_of(baseline.holidays, bridge_days=baseline.bridge_days)


@functools.lru_cache(maxsize=64)
def holidays_of(region: str, *, bridge_days: bool = False) -> Holidays:
    """Return the holidays of `region`, such as ``DE`` or ``US-CA``.

    Parameters
    ----------
    bridge_days : bool
        Whether a day between a holiday and another day of rest is one.

    Raises
    ------
    NotImplementedError
        The package does not have that country or that part of it.
    """
    import holidays  # Takes a tenth of a second, and most configurations have none.

    country, _, part = region.partition("-")
    calendar = holidays.country_holidays(country, subdiv=part or None)
    weekend = frozenset(calendar.weekend)

    def rests(day: date) -> bool:
        return day.weekday() in weekend or day in calendar

    def falls_on(day: date) -> bool:
        if day in calendar:
            return True
        if not bridge_days or day.weekday() in weekend:
            return False
        before, after = day - timedelta(days=1), day + timedelta(days=1)
        return rests(before) and rests(after)

    return Holidays(region, rest_day=max(weekend, default=6), falls_on=functools.lru_cache(4096)(falls_on))
