"""Expressions split by further labels."""

from __future__ import annotations

import promql_parser
import pytest

from exporter.promql.drill_down import PART, UnsplittableError, drill_down_query

SHOP = {"service": "shop"}


@pytest.mark.parametrize(
    ("expr", "split"),
    [
        ("sum by (service) (rate(a[5m]))", 'sum by (service,version) (rate(a{service="shop"}[5m]))'),
        ("sum(rate(a[5m])) by (service)", 'sum by (service,version) (rate(a{service="shop"}[5m]))'),
        ("sum(a)", "sum by (version) (a{})"),
        ("sum without (instance, version) (a)", 'sum without (instance) (a{service="shop"})'),
        ("(count by (service) (a == 0))", 'count by (service,version) (a{service="shop"} == 0)'),
        ("sum by (service, version) (a)", 'sum by (service,version) (a{service="shop"})'),
    ],
)
def test_a_sum_gets_more_labels_and_fewer_series(expr: str, split: str) -> None:
    query = drill_down_query(expr, ["version"], SHOP)
    assert (query.expr, query.ratio, query.factor) == (split, False, 1.0)


@pytest.mark.parametrize(
    ("expr", "factor"),
    [("sum(a) * 8", 8.0), ("8 * sum(a)", 8.0), ("(sum(a) / 1024) / 2", 1 / 2048), ("100 * sum(a) / sum(b)", 100.0)],
)
def test_constant_factors_are_kept_aside(expr: str, factor: float) -> None:
    assert drill_down_query(expr, ["version"]).factor == pytest.approx(factor)


@pytest.mark.parametrize(
    "expr",
    [
        "sum by (service) (rate(e[5m])) / sum by (service) (rate(t[5m]))",
        "sum(rate(e[5m])) / clamp_min(sum(rate(t[5m])), 1)",
        "sum(rate(e[5m])) / (sum(rate(t[5m])) > 0)",
        "1 - sum(rate(e[5m])) / sum(rate(t[5m]))",
        "100 * (1 - (sum(rate(e[5m])) / sum(rate(t[5m]))))",
        "avg by (service) (e)",
    ],
)
def test_a_ratio_is_one_query_with_both_parts(expr: str) -> None:
    query = drill_down_query(expr, ["version", "zone"], SHOP)
    assert query.ratio
    both = promql_parser.parse(query.expr)
    assert str(both.op) == "or"
    assert all(f'"{PART}", "{name}"' in query.expr for name in ("numerator", "denominator"))


@pytest.mark.parametrize(
    ("expr", "why"),
    [
        ("histogram_quantile(0.9, sum by (le) (rate(a[5m])))", "histogram_quantile() cannot"),
        ("rate(a[5m])", "rate() cannot"),
        ("max by (service) (a)", "max() cannot"),
        ("sum(a) + sum(b)", "without an aggregation"),
        ("sum(a) by (job) / on (job) group_left sum(b) by (job)", "group_left"),
        ("1 - sum(a)", "no ratio"),
        ("sum(", "|"),
    ],
)
def test_what_cannot_be_split_says_why(expr: str, why: str) -> None:
    with pytest.raises(UnsplittableError, match=why.replace("(", r"\(").replace(")", r"\)")):
        drill_down_query(expr, ["version"])


def test_a_label_of_the_series_that_is_not_aggregated_by_is_left_alone() -> None:
    assert drill_down_query("sum(a)", ["version"], {"cluster": "x"}).expr == "sum by (version) (a{})"
