"""How far queries and their shadows differ, for the page and the API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from exporter.evaluation.evaluator import QueryEvaluator
from exporter.web.api.shadows import ShadowReport

__all__ = ["shadow_reports"]


def shadow_reports(evaluators: Iterable[QueryEvaluator]) -> list[ShadowReport]:
    """Return a report of each query that has a shadow, in the order of their names."""
    statuses = [status for evaluator in evaluators if (status := evaluator.shadow.status) is not None]
    return [
        ShadowReport(**asdict(status), disagreement=status.disagreement)
        for status in sorted(statuses, key=lambda status: status.query)
    ]
