"""What the engine made of the past of a query, so that settings can be tried without judging it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.config.engine_settings import engine_settings
from exporter.config.plan import QueryPlan
from exporter.engine.replay import Replay

__all__ = ["Evidence", "evidence_of"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Verdicts on history, by the widest settings. Arrays of shape (t, n) unless said otherwise.

    Attributes
    ----------
    labels : sequence of mapping, length n
    times : ndarray of float64, shape (t,), Unix seconds
        `step` seconds apart.
    anomalous
        Whether a sample is, whatever its size and side.
    certain
        Whether it is anomalous for a reason that no setting here concerns: missing, or zero where it never is.
    votes, deviation, expected
        Detectors' votes, and the value less what was expected; NaN where there is no verdict.
    ready
        Whether the series could alert.
    """

    plan: QueryPlan
    labels: Sequence[Mapping[str, str]]
    times: npt.NDArray[np.float64]
    step: float
    anomalous: npt.NDArray[np.bool_]
    certain: npt.NDArray[np.bool_]
    votes: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    expected: npt.NDArray[np.float32]
    ready: npt.NDArray[np.bool_]

    def noise(self, part: slice) -> float:
        """Return the standard deviation of ordinary deviations in a part of the instants; NaN where there are none."""
        deviation = np.abs(self.deviation[part])
        deviation = deviation[np.isfinite(deviation)]
        return 1.4826 * float(np.median(deviation)) if len(deviation) else float("nan")


def evidence_of(
    plan: QueryPlan, labels: Sequence[Mapping[str, str]], values: npt.NDArray[np.float32], *, end: float, step: float
) -> Evidence | None:
    """Judge a history; None where there is none.

    Parameters
    ----------
    values : ndarray of float32, shape (t, n)
        Source units; NaN = no sample.
    end, step : float, seconds
        Instant of the last row, and how far rows are apart.
    """
    present = np.flatnonzero(~np.isnan(values).all(axis=1))
    if not len(present):
        return None
    samples = values[present[0] :].astype(np.float64)
    settings = replace(engine_settings(plan), direction="both", min_deviation=0.0, min_relative_deviation=0.0)
    history = Replay(settings, samples, end=end, step=step)
    parts = []
    for verdicts in history.run():
        anomalous = verdicts.score >= 0.5
        parts.append(
            (
                anomalous,
                anomalous & (verdicts.absent | verdicts.zero),
                verdicts.votes.astype(np.float32),
                (verdicts.observed - verdicts.expected).astype(np.float32),
                verdicts.expected.astype(np.float32),
                verdicts.ready,
            )
        )
    return Evidence(plan, labels, history.times, step, *(np.concatenate(each) for each in zip(*parts, strict=True)))
