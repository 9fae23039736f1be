"""Tukey's fences around the quartiles of the hour-of-week bucket."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from exporter.engine.detectors.base import Detector, DetectorResult, ReasonContext, SampleBatch, interval_result

__all__ = ["Iqr"]


class Iqr(Detector):
    """Distance from the quartiles, in interquartile ranges of that bucket.

    Robust against outliers in what was learned. Fails where more than three quarters of the values are
    equal: the fences then close on that value, and `min_deviation` has to say what matters.

    Parameters
    ----------
    multiplier : float > 0, interquartile ranges
        The fences are ``q1 - multiplier * (q3 - q1)`` and ``q3 + multiplier * (q3 - q1)``; severity is 1.0
        there and 0.0 in the middle of the quartiles. 2.5 is usual for noisy series.

    References
    ----------
    .. [1] J. W. Tukey (1977), Exploratory Data Analysis.

    Examples
    --------
    >>> import numpy as np
    >>> from exporter.engine.baseline import BucketStats
    >>> ones = np.ones(1)
    >>> stats = BucketStats(mean=10 * ones, std=2 * ones, q1=9 * ones, q3=11 * ones, weight=ones)
    >>> sample = 14 * ones[None]
    >>> batch = SampleBatch(ones, 0, 0, sample, sample > 0, stats, 1e-9 * ones)
    >>> Iqr().score(batch).above
    array([[1.]])
    """

    kind: Literal["iqr"] = Field("iqr", description="Tukey's fences around the quartiles of the same hour of the week.")
    multiplier: float = Field(1.5, gt=0, le=100, allow_inf_nan=False, description="Interquartile ranges.")

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series."""
        q1, q3 = batch.stats.q1, batch.stats.q3
        reach = self.multiplier * (q3 - q1)
        return interval_result(batch, 0.5 * (q1 + q3), q1 - reach, q3 + reach)

    def reason(self, context: ReasonContext) -> str:
        """Say between which values the middle half lies."""
        text = f"far {context.side} the middle half of {context.hours}"
        return text if context.quartiles is None else f"{text}, {' to '.join(context.quartiles)}"
