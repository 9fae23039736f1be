"""The ``/metrics`` page: scores of all series, and the exporter's own metrics."""

from exporter.exposition.children import Children
from exporter.exposition.families import group_scores, scores_of, values_of
from exporter.exposition.labels import PageRows, page_labels, row_prefix
from exporter.exposition.page import Exposition, Scrape
from exporter.exposition.selfmetrics import SERIES_STATES, SelfMetrics

__all__ = [
    "Children",
    "Exposition",
    "PageRows",
    "SERIES_STATES",
    "Scrape",
    "SelfMetrics",
    "group_scores",
    "page_labels",
    "row_prefix",
    "scores_of",
    "values_of",
]
