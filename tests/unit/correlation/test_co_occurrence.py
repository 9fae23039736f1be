"""Which series became anomalous at about the same time, over all queries."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

from exporter.correlation.co_occurrence import CoOccurrence

SIZE = 30
TABLE: Any = SimpleNamespace(labels=lambda row: [("row", str(row))])


def verdict(at: float, scores: Mapping[int, float]) -> Any:
    """A slot in which the rows of `scores` are anomalous."""
    score = np.full(SIZE, 0.1)
    score[list(scores)] = list(scores.values())
    return SimpleNamespace(at=at, score=score, anomalous=score >= 0.5, ready=np.full(SIZE, True))


def listed(index: CoOccurrence, query: str, row: int, since: float) -> tuple[list[str], int]:
    series, count = index.near(query, since).besides(query, row)
    return [f"{other.query} {other.series['row']}" for other in series], count


def test_ten_minutes_apart_is_the_same_time_and_more_is_not() -> None:
    index = CoOccurrence()
    index.update("far", verdict(1000.0, {0: 0.9}), TABLE)
    index.update("near", verdict(1001.0, {0: 0.9}), TABLE)
    index.update("load", verdict(1601.0, {0: 0.9}), TABLE)
    assert listed(index, "load", 0, 1601.0) == (["near 0"], 1)


def test_twenty_series_of_a_query_are_kept_and_all_are_counted() -> None:
    index = CoOccurrence()
    lasting = dict.fromkeys(range(19), 0.9)
    index.update("load", verdict(0.0, lasting), TABLE)
    index.update("load", verdict(3600.0, {**lasting, 19: 0.7, 20: 0.6}), TABLE)
    assert listed(index, "other", 0, 3600.0) == (["load 19"], 1)
    assert index.near("other", 3600.0).count == 2


def test_five_are_shown_the_worst_of_other_queries_first() -> None:
    index = CoOccurrence()
    index.update("load", verdict(0.0, {row: 0.9 - row / 100 for row in range(8)}), TABLE)
    index.update("errors", verdict(0.0, {0: 0.6}), TABLE)
    assert listed(index, "load", 1, 0.0) == (["errors 0", "load 0", "load 2", "load 3", "load 4"], 8)
    series, count = index.near("load", 0.0).elsewhere("load")
    assert ([other.query for other in series], count) == (["errors"], 1)


def test_a_query_without_anomalies_is_forgotten() -> None:
    index = CoOccurrence()
    index.update("load", verdict(0.0, {3: 0.9}), TABLE)
    assert index.since("load", 3, 60.0) == 0.0
    index.update("load", verdict(60.0, {}), TABLE)
    assert index.since("load", 3, 60.0) == 60.0
    assert listed(index, "other", 0, 0.0) == ([], 0)
