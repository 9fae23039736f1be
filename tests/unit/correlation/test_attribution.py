"""Which label values carry the change of an aggregate, in cubes with causes that are planted."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from exporter.correlation.attribution import attribute_ratio, attribute_sum

SIZES = {"version": 4, "region": 6, "instance": 12}


class Cube:
    """Every combination of three labels, with sizes that differ a lot."""

    def __init__(self, seed: int = 0, noise: float = 0.05) -> None:
        self.rng = np.random.default_rng(seed)
        codes = np.array(list(itertools.product(*map(range, SIZES.values()))))
        self.labels = {name: [f"v{code}" for code in codes[:, place]] for place, name in enumerate(SIZES)}
        self.size = 1000.0 * np.exp(self.rng.normal(0, 1, len(codes)))
        self.noise = noise

    def under(self, **values: str) -> np.ndarray:
        return np.all([np.array(self.labels[name]) == value for name, value in values.items()], axis=0)

    def noisy(self, values: np.ndarray) -> np.ndarray:
        return values * np.exp(self.rng.normal(0, self.noise, len(values)))

    def sum(self, *causes: tuple[Mapping[str, str], float]) -> list[dict[str, str]]:
        now = self.size.copy()
        for values, factor in causes:
            now[self.under(**values)] *= factor
        return [dict(each.values) for each in attribute_sum(self.labels, self.size, self.noisy(now))]

    def ratio(self, *causes: tuple[Mapping[str, str], float]) -> list[dict[str, str]]:
        share = np.full(len(self.size), 0.01)
        for values, more in causes:
            share[self.under(**values)] += more
        total = np.round(self.noisy(self.size))
        events = self.rng.binomial(total.astype(int), share).astype(float)
        return [dict(each.values) for each in attribute_ratio(self.labels, 0.01 * self.size, self.size, events, total)]


CAUSES = [
    pytest.param([({"version": "v1"}, 0.1)], id="a label value that fell"),
    pytest.param([({"region": "v2"}, 3.0)], id="a label value that rose"),
    pytest.param([({"version": "v1", "region": "v2"}, 0.4)], id="a pair"),
    pytest.param([({"version": "v1", "region": "v2"}, 0.0)], id="a pair that is gone"),
    pytest.param([({"version": "v1"}, 0.3), ({"version": "v3"}, 2.0)], id="traffic that moved to another version"),
    pytest.param(
        [({"version": "v1", "region": "v0"}, 0.3), ({"version": "v1", "region": "v1"}, 0.3)], id="two of one version"
    ),
    pytest.param([({"instance": "v7"}, 4.0), ({"region": "v3", "version": "v0"}, 0.3)], id="two that differ"),
]


@pytest.mark.parametrize("noise", [0.0, 0.05, 0.2])
@pytest.mark.parametrize("causes", CAUSES)
def test_the_causes_of_a_sum_are_named_exactly(causes: list[tuple[dict[str, str], float]], noise: float) -> None:
    named = Cube(noise=noise).sum(*causes)
    assert sorted(map(sorted, (each.items() for each in named))) == sorted(sorted(each.items()) for each, _ in causes)


@pytest.mark.parametrize(
    "causes",
    [
        pytest.param([({"version": "v1"}, 0.1)], id="a version"),
        pytest.param([({"version": "v1", "region": "v2"}, 0.2)], id="a version in a region"),
        pytest.param([({"region": "v1"}, 0.1), ({"instance": "v2"}, 0.05)], id="two"),
    ],
)
def test_the_causes_of_a_ratio_are_named_exactly(causes: list[tuple[dict[str, str], float]]) -> None:
    named = Cube().ratio(*causes)
    assert sorted(map(sorted, (each.items() for each in named))) == sorted(sorted(each.items()) for each, _ in causes)


def test_noise_alone_and_a_change_of_everything_have_no_carrier() -> None:
    assert Cube().sum() == []
    assert Cube().ratio() == []
    assert Cube().sum(({}, 0.5)) == []


def test_a_version_that_is_new_carries_its_failures() -> None:
    labels = {"version": ["1.4.1"] * 3 + ["1.4.2"] * 3, "instance": ["a", "b", "c"] * 2}
    before, now = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0]), np.array([0.5, 0.4, 0.6, 14.0, 15.0, 16.0])
    total = np.array([100.0, 100.0, 100.0, 0.0, 0.0, 0.0]), np.array([50.0, 50.0, 50.0, 50.0, 50.0, 50.0])
    (carrier,) = attribute_ratio(labels, before, total[0], now, total[1])
    assert carrier.values == {"version": "1.4.2"}
    assert carrier.leaves.tolist() == [3, 4, 5]


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_leaves_are_no_error(count: int) -> None:
    labels, ones = {"version": ["a"] * count, "zone": ["b"] * count}, np.ones(count)
    assert attribute_sum(labels, ones, 0.1 * ones) == ()
    assert attribute_ratio(labels, 0 * ones, ones, ones, ones) == ()
    assert attribute_sum(labels, 0 * ones, 0 * ones) == ()


def test_changes_are_in_units_of_the_aggregate_and_the_largest_comes_first() -> None:
    labels = {"version": ["a", "b", "c", "d"] * 5, "zone": [str(i) for i in range(5) for _ in range(4)]}
    expected = np.full(20, 10.0)
    observed = expected * np.array([1.0, 0.5, 3.0, 1.0] * 5)
    carriers = attribute_sum(labels, expected, observed)
    assert [(dict(each.values), each.change) for each in carriers] == [
        ({"version": "c"}, 100.0),
        ({"version": "b"}, -25.0),
    ]
