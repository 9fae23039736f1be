"""The segments of a series by their means: as good as any, whatever the values."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from exporter.engine.drift import segments


def cost(values: np.ndarray, edges: list[int], penalty: float) -> float:
    parts = [values[begin:end] for begin, end in pairwise(edges)]
    return sum(float(((part - part.mean()) ** 2).sum()) + penalty for part in parts)


@pytest.mark.parametrize("seed", range(8))
def test_no_other_segments_are_better(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(np.repeat(rng.normal(0.0, 3.0, 3), 5), 1.0)
    possible = [
        [0, *inner, 15]
        for count in range(4)
        for inner in combinations(range(3, 13), count)
        if min(np.diff([0, *inner, 15])) >= 3
    ]
    chosen = segments(values, 4.0, 3)
    assert chosen in possible
    assert cost(values, chosen, 4.0) == pytest.approx(min(cost(values, edges, 4.0) for edges in possible))


def test_values_that_do_not_change_are_one_segment() -> None:
    assert segments(np.zeros(50), 1.0, 4) == [0, 50]
