"""What a series is judged against at each hour of the week, for the API and its page."""

from __future__ import annotations

import numpy as np

from exporter.engine.engine import Engine
from exporter.engine.series import Labels
from exporter.evaluation.evaluator import QueryEvaluator
from exporter.json_numbers import finite_number
from exporter.views.latest_verdicts import LatestVerdict
from exporter.views.series import matching_rows
from exporter.web.api import ApiError, ErrorType
from exporter.web.api.baseline import BaselineBucket, BaselineParameters, SeriesBaseline

__all__ = ["baseline_of", "read_baseline"]

_SCOPES = ("week", "day", "all")
_HOURS = (1, 1, 24)
"""Of each visit."""
_HOUR, _WEEK = 3600.0, 168


def read_baseline(
    evaluator: QueryEvaluator | None, latest: LatestVerdict | None, request: BaselineParameters
) -> SeriesBaseline:
    """Return the baseline of the series that a request names; raises `ApiError`."""
    if evaluator is None:
        raise ApiError(ErrorType.NOT_FOUND, f"no query is called {request.query!r}")
    rows = [] if latest is None else matching_rows(latest, tuple(sorted(request.labels.items())))
    if latest is None or not rows:
        raise ApiError(ErrorType.NOT_FOUND, "no series of this query has these labels")
    if len(rows) > 1:
        raise ApiError(ErrorType.BAD_DATA, f"{len(rows)} series have these labels; add labels until it is one")
    baseline = baseline_of(evaluator, latest.names.labels[rows[0]] or ())
    if baseline is None:
        raise ApiError(ErrorType.NOT_FOUND, "nothing was learned of this series so far")
    return baseline


def baseline_of(evaluator: QueryEvaluator, labels: Labels) -> SeriesBaseline | None:
    """Return the baseline of a series; None where the engine has no such series now.

    The evaluator may be learning meanwhile: a bucket may be of before or after its newest sample.
    """
    engine: Engine = evaluator.learner.engine
    row, at = engine.table.row(labels), engine.at
    if row is None or not np.isfinite(at):
        return None
    summary = engine.week_summary(row)
    if engine.table.row(labels) != row:
        return None
    current = engine.buckets_at(at).week
    interval = evaluator.plan.interval

    buckets = tuple(
        BaselineBucket(
            bucket=bucket,
            weekday=bucket // 24,
            hour=bucket % 24,
            scope=_SCOPES[summary.scope[bucket]],  # type: ignore[arg-type]
            mean=finite_number(summary.mean[bucket]),
            stddev=finite_number(summary.std[bucket]),
            q1=finite_number(summary.q1[bucket]),
            q3=finite_number(summary.q3[bucket]),
            sample_count=round(float(summary.visits[bucket]) * _HOURS[summary.scope[bucket]] * _HOUR / interval),
            visits=round(float(summary.visits[bucket]), 2),
            updated_at=_passed(at, (current - bucket) % _WEEK) if summary.visits[bucket] > 0 else None,
        )
        for bucket in range(_WEEK)
    )
    return SeriesBaseline(evaluator.plan.name, dict(labels), evaluator.plan.zone, at, current, buckets)


def _passed(at: float, hours: int) -> float:
    """Return when the hour of the week was passed last that is so many hours before that of `at`."""
    return at if not hours else at // _HOUR * _HOUR - (hours - 1) * _HOUR
