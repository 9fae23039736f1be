"""Label values that some series have in common, or far more often than the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from exporter.alerting.label_index import FrequentLabel, LabelIndex


def index_of(series: Sequence[Mapping[str, str]]) -> LabelIndex:
    index = LabelIndex()
    index.update(((row, tuple(sorted(labels.items()))) for row, labels in enumerate(series)), len(series))
    return index


def frequent(index: LabelIndex, count: int) -> list[FrequentLabel]:
    """Of the first `count` rows."""
    return index.frequent_labels(np.arange(count))


def test_a_value_is_frequent_from_twice_its_share_of_all() -> None:
    def zones(count: int) -> LabelIndex:
        """Half of the first ten series, and `count` of the twenty, are in zone a."""
        rows = [*range(5), *range(10, 5 + count)]
        return index_of([{"id": str(row), "zone": "a" if row in rows else str(row)} for row in range(20)])

    assert frequent(zones(5), 10) == [FrequentLabel("zone", "a", 5, 5)]
    assert frequent(zones(6), 10) == []


def test_a_quarter_of_the_members_must_have_it() -> None:
    def zones(count: int) -> LabelIndex:
        return index_of([{"zone": "a" if row < count else f"{row}"} for row in range(60)])

    assert frequent(zones(5), 20) == [FrequentLabel("zone", "a", 5, 5)]
    assert frequent(zones(4), 20) == []


def test_a_value_of_a_single_series_is_not_frequent() -> None:
    assert frequent(index_of([{"pod": str(row)} for row in range(8)]), 2) == []


def test_the_three_clearest_values_are_named() -> None:
    series = [dict.fromkeys("abcd", "x") if row < 4 else {"a": "x"} if row == 4 else {} for row in range(20)]
    assert [label.name for label in frequent(index_of(series), 4)] == ["b", "c", "d"]


def test_sixty_four_label_names_are_indexed() -> None:
    index = index_of([{f"l{number:03}": "x" for number in range(70)}] * 2)
    assert len(index.common_labels(np.arange(2))) == 64


def test_a_label_is_common_from_the_given_share() -> None:
    index = index_of([{"zone": "a" if row < 8 else "b"} for row in range(10)])
    assert index.common_labels(np.arange(10), 0.8) == {"zone": "a"}
    assert index.common_labels(np.arange(10), 0.81) == {}
