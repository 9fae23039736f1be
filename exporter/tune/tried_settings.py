"""The settings that are tried, and the alerts that a query would have with them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from exporter.backtest.recorder import RecordedAlert
from exporter.config.plan import QueryPlan
from exporter.engine.replay import lasting
from exporter.tune.evidence import Evidence

__all__ = ["TriedSettings"]

BoolArray = npt.NDArray[np.bool_]

_RELATIVE = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)
_NOISE = (3.0, 5.0, 8.0, 12.0, 20.0)
"""Smallest deviations, in standard deviations of what is left when nothing happens."""
_WAITS = (0.0, 300.0, 600.0, 900.0, 1800.0)
_MORE_VOTES = 2
_HARDER = 1.25


@dataclass(frozen=True, slots=True)
class TriedSettings:
    """What is tried of a query, and of its `alert`; the fields are those of the configuration."""

    direction: Literal["above", "below", "both"]
    min_deviation: float
    min_relative_deviation: float
    quorum: int
    for_: float

    @classmethod
    def of(cls, plan: QueryPlan) -> TriedSettings:
        """Return those of the configuration."""
        for_ = 0.0 if plan.alert is None else plan.alert.for_
        quorum = plan.detection.quorum
        return cls(plan.direction, plan.min_deviation, plan.min_relative_deviation, quorum, for_)

    def neighbours(self, noise: float, *, alerts: bool) -> Iterator[TriedSettings]:
        """Yield settings that differ in one field. What the query ignores now it goes on to ignore.

        Parameters
        ----------
        noise : float
            Standard deviation of ordinary deviations, in units of the value; NaN where it is not known.
        alerts : bool
            Whether the query has an `alert`.
        """
        if self.direction == "both":
            yield replace(self, direction="above")
            yield replace(self, direction="below")
        shares = (each for each in _RELATIVE if each > self.min_relative_deviation)
        yield from (replace(self, min_relative_deviation=each) for each in shares)
        if math.isfinite(noise) and noise > 0.0:
            sizes = (float(f"{times * noise:.2g}") for times in _NOISE)
            yield from (replace(self, min_deviation=each) for each in sizes if each > self.min_deviation)
        yield from (replace(self, quorum=self.quorum + more) for more in range(1, _MORE_VOTES + 1))
        if alerts:
            yield from (replace(self, for_=each) for each in _WAITS if each != self.for_)

    def harder(self, step: float) -> TriedSettings:
        """Return settings by which an incident counts only where it is a quarter larger, and lasts a sample longer."""
        return replace(
            self,
            min_deviation=_HARDER * self.min_deviation,
            min_relative_deviation=_HARDER * self.min_relative_deviation,
            for_=self.for_ + step,
        )

    def alerts(self, evidence: Evidence, part: slice) -> list[RecordedAlert]:
        """Return the alerts in a part of the instants; series that turn at the same instant are one."""
        alerting = lasting(self._anomalous(evidence, part), math.ceil(self.for_ / evidence.step) + 1)
        alerting &= evidence.ready[part]
        begins = alerting & ~np.concatenate([np.zeros_like(alerting[:1]), alerting[:-1]])
        times = evidence.times[part]
        alerts = []
        for index in np.flatnonzero(begins.any(axis=1)).tolist():
            rows = np.flatnonzero(begins[index])
            over = ~alerting[index:, rows]
            ends = index + int(np.where(over.any(axis=0), over.argmax(axis=0), len(over)).max())
            end = float(times[ends]) if ends < len(times) else None
            at = float(times[index])
            common = set.intersection(*(set(evidence.labels[row].items()) for row in rows.tolist()))
            labels = {"query": evidence.plan.name, **dict(common)}
            alerts.append(RecordedAlert(evidence.plan.name, "", labels, "", at - self.for_, at, at, end))
        return alerts

    def _anomalous(self, evidence: Evidence, part: slice) -> BoolArray:
        deviation, expected = evidence.deviation[part], evidence.expected[part]
        least = np.fmax(self.min_deviation, self.min_relative_deviation * np.abs(expected))
        size = {"above": deviation, "below": -deviation, "both": np.abs(deviation)}[self.direction]
        with np.errstate(invalid="ignore"):
            counts = (size > 0.0) & (size >= least) & (evidence.votes[part] >= self.quorum)
        return (evidence.anomalous[part] & counts) | evidence.certain[part]
