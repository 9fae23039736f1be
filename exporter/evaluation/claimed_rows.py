"""Rows on the page for the series of a query."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from exporter.engine.series import SeriesTable
from exporter.evaluation.query_alerts import AlertEvaluator
from exporter.evaluation.query_metrics import QueryMetrics
from exporter.exposition import PageRows

__all__ = ["claim"]

log = logging.getLogger(__name__)


def claim(
    page: PageRows,
    table: SeriesTable,
    alerts: AlertEvaluator,
    metrics: QueryMetrics,
    rows: Sequence[int] | None,
    given_way: Sequence[int],
) -> None:
    """Give new rows their prefix on the page; those whose series gave way to others lose theirs first.

    Parameters
    ----------
    rows : sequence of int or None
        None: all of them, after history or a part of it.
    given_way : sequence of int
        Rows whose series gave way to others.
    """
    page.release(given_way)
    shared = page.claim([row for row, _ in table.items()] if rows is None else rows, table)
    alerts.rows.identities.with_metric = page.with_metric
    metrics.rejected(same_labels=shared)
    if shared:
        more = {"query": alerts.plan.name, "series": shared}
        log.warning("series have the same labels as others: the page shows the worst sample of each", extra=more)
