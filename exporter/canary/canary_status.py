"""The newest comparisons of a query, for pages and the API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.correlation.canary_roles import ComparedSides
from exporter.engine.canary.comparisons import CanaryVerdict
from exporter.engine.series import labels_of
from exporter.json_numbers import finite_number

__all__ = ["CanaryStatus", "ComparisonStatus", "comparison_statuses"]


@dataclass(frozen=True, slots=True)
class ComparisonStatus:
    """One comparison; None where a number is not known.

    Attributes
    ----------
    labels : mapping
        Those of `by`, and what selects the candidate.
    different : bool
    direction : str
        ``above`` or ``below``: the side of the baseline on which there is more evidence.
    smallest : float
        Differences up to this size do not count, source units.
    since : float, Unix seconds
        When the difference began.
    series : tuple of int
        Of baseline and candidate in this slot.
    slots : int
        How many were compared.
    """

    labels: dict[str, str]
    baseline_name: str
    candidate_name: str
    different: bool
    score: float | None
    p_value: float | None
    direction: str
    baseline: float | None
    candidate: float | None
    smallest: float
    since: float | None
    series: tuple[int, int]
    slots: int


@dataclass(frozen=True, slots=True)
class CanaryStatus:
    """The comparisons of a query in its newest slot. Never changed.

    Attributes
    ----------
    at : float or None, Unix seconds
        None: nothing was compared so far.
    comparisons : tuple of ComparisonStatus
        What differs first.
    """

    query: str
    at: float | None
    comparisons: tuple[ComparisonStatus, ...]


def comparison_statuses(
    verdict: CanaryVerdict, sides: Sequence[ComparedSides], rows: Sequence[int]
) -> tuple[ComparisonStatus, ...]:
    """Return the status of each comparison, by row; what differs first."""
    statuses = [
        ComparisonStatus(
            dict(labels_of(compared.key)),
            compared.baseline,
            compared.candidate,
            different=bool(verdict.different[row]),
            score=finite_number(verdict.score[row]),
            p_value=finite_number(verdict.p_value[row]),
            direction="above" if verdict.sign[row] > 0 else "below",
            baseline=finite_number(verdict.baseline[row]),
            candidate=finite_number(verdict.candidate[row]),
            smallest=float(verdict.floor[row]),
            since=finite_number(verdict.since[row]),
            series=(int(verdict.count[0, row]), int(verdict.count[1, row])),
            slots=int(verdict.slots[row]),
        )
        for compared, row in zip(sides, rows, strict=True)
    ]
    return tuple(sorted(statuses, key=lambda status: -(status.score or 0.0)))
