"""Chooses among candidates by what they cost and show, and completes their fields from the noise that was seen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporter.suggest.candidates import Candidate
from exporter.suggest.measure import STEP, Measurement

__all__ = ["Proposal", "groups_of", "propose", "totals"]

_SLOW = 0.02
"""Share of a processor of the server that one query may take; a slower one is evaluated less often."""
_LOUD = 3.0
"""Alerts a week above which a query gets a budget instead of its default threshold."""
_BUDGET = "2/week"
_INTERVALS = ("1m", "5m", "15m")
_SECONDS = {"15s": 15.0, "30s": 30.0, "1m": 60.0, "5m": 300.0, "15m": 900.0}
_EVALUATION = 0.003
"""Processor seconds of an evaluation beside its series: the request, the arrays, the page."""
_INSTANT = 0.0004
"""Processor seconds of an instant of history, of a few series or of hundreds."""
_NOISES = 2.0
"""Standard deviations of the noise below which a deviation does not matter."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A query that is written, or the reason why it is not.

    Attributes
    ----------
    fields : mapping
        As they are written; the interval and what the noise says are added.
    measurement : Measurement
    left_out : str
        Empty where it is written.
    """

    candidate: Candidate
    fields: Mapping[str, Any]
    measurement: Measurement
    left_out: str = ""

    @property
    def interval(self) -> float:
        """Seconds between evaluations."""
        return _SECONDS[self.fields.get("interval", "1m")]


def propose(measured: Sequence[tuple[Candidate, Measurement]], *, max_series: int) -> list[Proposal]:
    """Choose the queries that are written; those with an alert come first where there is not room for all."""
    order = sorted(range(len(measured)), key=lambda index: (measured[index][0].rank, index))
    left = max_series
    result: dict[int, Proposal] = {}
    for index in order:
        candidate, seen = measured[index]
        reason = ""
        if not seen.series:
            reason = seen.trouble or "no series"
        elif seen.series > left:
            reason = f"{seen.series} series are more than the {left} that --max-series leaves"
        else:
            left -= seen.series
        result[index] = Proposal(candidate, _complete(candidate, seen), seen, reason)
    return [result[index] for index in range(len(measured))]


def _complete(candidate: Candidate, seen: Measurement) -> dict[str, Any]:
    fields = dict(candidate.fields)
    interval = fields.get("interval", "1m")
    while seen.seconds > _SLOW * _SECONDS[interval] and interval != _INTERVALS[-1]:
        interval = _INTERVALS[_INTERVALS.index(interval) + 1]
    if interval != "1m":
        fields["interval"] = interval
    if "min_deviation" not in fields and seen.noise > 0.0:
        fields["min_deviation"] = _round_digit(_NOISES * seen.noise)
    rate = seen.alerts_a_week()
    if rate is not None and rate[0] > _LOUD and "alert" in fields:
        fields["alert"] = {**fields["alert"], "budget": _BUDGET}
    return fields


def _round_digit(value: float) -> float:
    """Round to one digit.

    >>> _round_digit(0.0437)
    0.04
    """
    return float(f"{value:.0e}")


def groups_of(proposals: Sequence[Proposal]) -> Iterator[dict[str, Any]]:
    """Yield the groups of presets of which at least two queries are written."""
    written = [proposal.candidate for proposal in proposals if not proposal.left_out]
    names = {candidate.name for candidate in written}
    seen: set[str] = set()
    for candidate in written:
        group = candidate.group
        if group is None or group["name"] in seen:
            continue
        seen.add(group["name"])
        members = [name for name in group["queries"] if name in names]
        if len(members) >= 2:
            yield {**group, "queries": members, "alert": {"for": "10m", "labels": {"severity": "warning"}}}


def totals(proposals: Sequence[Proposal]) -> dict[str, float]:
    """Return what the written queries cost together: series, shares of a processor, and seconds of it to learn."""
    written = [proposal for proposal in proposals if not proposal.left_out]
    return {
        "queries": len(written),
        "series": sum(proposal.measurement.series for proposal in written),
        "server": math.fsum(proposal.measurement.seconds / proposal.interval for proposal in written),
        "engine": math.fsum(
            (_EVALUATION + proposal.measurement.engine_seconds) / proposal.interval for proposal in written
        ),
        "learning": math.fsum(proposal.measurement.days * 86400.0 / STEP * _INSTANT for proposal in written),
        "alerts": math.fsum((proposal.measurement.alerts_a_week() or (0.0,))[0] for proposal in written),
    }
