"""What a limit that is near means for the verdict: the series is anomalous, whatever the detectors say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from exporter.engine.verdict import Verdict
from exporter.engine.vote import score_of

__all__ = ["with_limits"]


def with_limits(verdict: Verdict) -> Verdict:
    """Return the verdict with a score of at least 0.5 where a limit will probably be reached in the time that alerts.

    The score is 0.5 at the probability that alerts, and grows with it. Nothing is learned from this: what the limit is
    does not say what is normal.
    """
    forecast = verdict.forecast
    if forecast is None or forecast.near is None or forecast.probability is None or forecast.limit is None:
        return verdict
    rows = forecast.near & ~np.isnan(verdict.observed)
    if not rows.any():
        return verdict
    severity = np.maximum(1.0, forecast.probability / forecast.limit.probability)
    score = np.where(rows, np.fmax(verdict.score, score_of(severity)), verdict.score)
    return replace(verdict, score=score, near_limit=rows)
