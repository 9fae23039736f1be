"""Z-score against the hour-of-week bucket."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from exporter.engine.detectors.base import DetectorResult, Params, SampleBatch, interval_judgement

__all__ = ["ZScore"]


class ZScore(Params):
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
    >>> one = np.ones(1)
    >>> stats = BucketStats(mean=10 * one, std=2 * one, q1=9 * one, q3=11 * one, weight=one)
    >>> sample = 16 * one[None]
    >>> moment = SampleBatch(one, 0, 0, sample, sample > 0, stats, 1e-9 * one)
    >>> ZScore(threshold=3.0).judge(moment).above
    array([[1.]])
    """

    kind: Literal["zscore"] = Field("zscore", description="Z-score against the same hour of the week.")
    threshold: float = Field(3.0, gt=0, le=100, allow_inf_nan=False, description="Standard deviations.")

    def judge(self, moment: SampleBatch) -> DetectorResult:
        """Judge the samples of every series; see `Detector`."""
        mean, reach = moment.stats.mean, self.threshold * moment.stats.std
        return interval_judgement(moment, mean, mean - reach, mean + reach)
