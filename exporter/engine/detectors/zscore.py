"""Z-score against the hour-of-week bucket."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from exporter.engine.detectors.base import Detector, DetectorResult, ReasonContext, SampleBatch, interval_result

__all__ = ["ZScore"]


class ZScore(Detector):
    """Distance from the bucket's mean, in standard deviations of that bucket.

    Fails on slow drift, because the mean follows it, and on heavy tails, where three standard deviations
    are passed often.

    Parameters
    ----------
    threshold : float > 0, standard deviations
        Severity is 1.0 here.

    References
    ----------
    .. [1] W. A. Shewhart (1931), Economic Control of Quality of Manufactured Product.

    Examples
    --------
    >>> import numpy as np
    >>> from exporter.engine.baseline import BucketStats
    >>> ones = np.ones(1)
    >>> stats = BucketStats(mean=10 * ones, std=2 * ones, q1=9 * ones, q3=11 * ones, weight=ones)
    >>> sample = 16 * ones[None]
    >>> batch = SampleBatch(ones, 0, 0, sample, sample > 0, stats, 1e-9 * ones)
    >>> ZScore(threshold=3.0).score(batch).above
    array([[1.]])
    """

    kind: Literal["zscore"] = Field("zscore", description="Z-score against the same hour of the week.")
    threshold: float = Field(3.0, gt=0, le=100, allow_inf_nan=False, description="Standard deviations.")

    def score(self, batch: SampleBatch) -> DetectorResult:
        """Judge the samples of every series."""
        mean, reach = batch.stats.mean, self.threshold * batch.stats.std
        return interval_result(batch, mean, mean - reach, mean + reach)

    def reason(self, context: ReasonContext) -> str:
        """Say how many standard deviations the sample is from the mean."""
        if not math.isfinite(context.z):
            return "beyond its limit"
        count = f"{abs(context.z):.1f}" if abs(context.z) < 100 else "over 100"
        return f"{count} standard deviations {'below' if context.z < 0 else 'above'} the mean of {context.hours}"
