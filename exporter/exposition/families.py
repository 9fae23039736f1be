"""The metrics of the ``/metrics`` page that carry scores: their names and help texts, and their values of a verdict."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from exporter.alerting.suppressed import SUPPRESSION_REASONS
from exporter.engine.forecast.forecast import LEVELS, Forecast
from exporter.engine.verdict import Verdict, Verdicts
from exporter.settings import format_duration

__all__ = ["FAMILIES", "SUPPRESSED", "group_scores", "scores_of", "split_metric", "values_of"]

FloatArray = NDArray[np.float64]

SUPPRESSED = "anomaly_suppressed"
_AS_OF = "as of the last evaluation of its query"
FAMILIES: Mapping[str, str] = {
    "anomaly_score": f"How anomalous the sample is, from 0 to 1; 0.5 and above is anomalous ({_AS_OF}).",
    "expected_value": f"Value that was expected for the sample, in its own unit ({_AS_OF}).",
    "expected_value_lower": f"Lower edge of the band of values that are not anomalous ({_AS_OF}).",
    "expected_value_upper": f"Upper edge of the band of values that are not anomalous ({_AS_OF}).",
    "observed_value": f"The sample that was scored ({_AS_OF}).",
    "anomaly_votes": f"How many detectors call the sample anomalous ({_AS_OF}).",
    "forecast_value": f"Value that is forecast, in its own unit: its median at the time `horizon` ahead ({_AS_OF}).",
    "forecast_value_lower": "Lower edge of the band that holds four of five values at the time `horizon` ahead "
    f"({_AS_OF}).",
    "forecast_value_upper": f"Upper edge of that band ({_AS_OF}).",
    "forecast_time_to_limit_seconds": "How long until the series reaches the limit of its query, with the probability "
    f"`quantile`; +Inf = not within 30 days ({_AS_OF}).",
    "forecast_limit_probability": "Probability that the series reaches the limit of its query within the time that "
    f"alerts ({_AS_OF}).",
    "anomaly_group_score": "How anomalous the metrics of a group are together, from 0 to 1; 0.5 and above is "
    "anomalous (as of the last evaluation of the group).",
    "anomaly_group_load_factor": "The factor by which the metrics of a group are up together while a load holds back "
    "their alerts (as of the last evaluation of the group).",
    "anomaly_canary_score": "How sure it is that the candidate of a canary differs from its baseline, from 0 to 1; 0.5 "
    f"and above: it does ({_AS_OF}).",
    "anomaly_canary_p_value": "The highest probability that so much evidence of a difference ever comes together where "
    f"there is none ({_AS_OF}).",
    "anomaly_canary_candidate_value": f"The candidate of a canary of late, in the unit of the query ({_AS_OF}).",
    "anomaly_canary_baseline_value": f"Its baseline of late ({_AS_OF}).",
    SUPPRESSED: "1 exactly while the series does not alert whatever its score, and why; otherwise absent. Reasons: "
    + "; ".join(f"{reason} ({text})" for reason, text in SUPPRESSION_REASONS.items())
    + ".",
}
"""The metrics that carry scores, in the order of the page, with their help texts. All are gauges."""


def scores_of(verdict: Verdict) -> dict[str, FloatArray]:
    """Return the values of every metric of a query, shape (n,); the order is that of the page.

    The key is the name of the metric, or the name, a comma and a label that all its rows have:
    ``forecast_value,horizon="1h"``.
    """
    scores = values_of(verdict)
    return scores if verdict.forecast is None else scores | _forecasts_of(verdict.forecast)


def values_of(verdict: Verdict | Verdicts) -> dict[str, FloatArray]:
    """Return the values of the metrics that every verdict has, shape (n,), or (t, n) of several instants."""
    return {
        "anomaly_score": verdict.score,
        "expected_value": verdict.expected,
        "expected_value_lower": verdict.lower,
        "expected_value_upper": verdict.upper,
        "observed_value": verdict.observed,
        "anomaly_votes": verdict.votes,
    }


def _forecasts_of(forecast: Forecast) -> dict[str, FloatArray]:
    metrics = {}
    for name, values in (
        ("forecast_value", forecast.value),
        ("forecast_value_lower", forecast.lower),
        ("forecast_value_upper", forecast.upper),
    ):
        for horizon, row in zip(forecast.horizons.tolist(), values, strict=True):
            metrics[f'{name},horizon="{format_duration(horizon)}"'] = row
    if forecast.times is not None and forecast.probability is not None:
        for quantile in ("0.1", "0.5", "0.9"):
            row = forecast.times[LEVELS.tolist().index(float(quantile))]
            metrics[f'forecast_time_to_limit_seconds,quantile="{quantile}"'] = row
        metrics["forecast_limit_probability"] = forecast.probability
    return metrics


def split_metric(key: str) -> tuple[str, bytes]:
    """Return the name of a metric of `scores_of`, and the label that all its rows have, with its comma.

    >>> split_metric('forecast_value,horizon="1h"')
    ('forecast_value', b',horizon="1h"')
    """
    name, comma, label = key.partition(",")
    return name, (comma + label).encode()


def group_scores(score: FloatArray, load: FloatArray) -> dict[str, FloatArray]:
    """Return the values of every metric of a group, shape (n,); the order is that of the page."""
    return {"anomaly_group_score": score, "anomaly_group_load_factor": load}
