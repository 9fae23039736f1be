"""The newest comparisons of all canaries, for the page and the API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from exporter.canary.canary_status import CanaryStatus
from exporter.web.api.canaries import CanaryReport, ComparisonReport

__all__ = ["canary_reports"]


def canary_reports(statuses: Iterable[CanaryStatus]) -> list[CanaryReport]:
    """Return a report of each query that has a canary, in the order of their names."""
    return [
        CanaryReport(status.query, status.at, tuple(ComparisonReport(**asdict(each)) for each in status.comparisons))
        for status in sorted(statuses, key=lambda status: status.query)
    ]
