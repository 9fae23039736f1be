"""A range of the past, and what a replay of it recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exporter.backtest.recorder import AlertRecorder
from exporter.config.plan import QueryPlan
from exporter.schedule import slot_at

__all__ = ["ReplayResult", "TimeSpan"]


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """The slots from `start` to `end`, both included, Unix seconds."""

    start: float
    end: float

    def slots(self, interval: float, offset: float) -> Iterator[float]:
        """Yield the instants of a grid."""
        number = round((slot_at(self.start, interval, offset) - offset) / interval)
        while (slot := round(number * interval + offset, 3)) <= self.end:
            if slot >= self.start:
                yield slot
            number += 1


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay recorded.

    Attributes
    ----------
    groups : tuple of str
        The jobs of groups and canaries, under which their alerts are recorded.
    warnings : mapping of str to tuple of str
        Warnings of Prometheus by query.
    """

    within: TimeSpan
    plans: tuple[QueryPlan, ...]
    groups: tuple[str, ...]
    record: AlertRecorder
    warnings: Mapping[str, tuple[str, ...]]
