"""Metrics as an exporter would have them, generated from the expressions that read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import promql_parser

from tests.integration.remote_write import Series

__all__ = ["metrics_for"]

_BASE = {"job": "exporter", "instance": "host:9000"}
_VALUES = {"5..": "500", "reporter": "destination"}
_BUCKETS = ("0.1", "1", "+Inf")


def metrics_for(exprs: list[str], times: np.ndarray) -> Iterator[Series]:
    """Yield series, all rising, of every metric in `exprs`, with labels that their matchers want."""
    labels: dict[str, dict[str, dict[str, str]]] = {}
    for expr in exprs:
        selectors = list(_selectors(promql_parser.parse(expr)))
        kept = {name: "x1" for name in _grouping(promql_parser.parse(expr)) if name not in (*_BASE, "le")}
        shared = kept | {name: value for _, plain, _ in selectors for name, value in plain.items()}
        for metric, plain, special in selectors:
            labels.setdefault(metric, {})[str(sorted({**shared, **plain, **special}.items()))] = {
                **_BASE,
                **shared,
                **plain,
                **special,
            }
    number = 0
    for metric, variants in labels.items():
        for variant in variants.values():
            for le in _BUCKETS if metric.endswith("_bucket") else ("",):
                number += 1
                own = {"__name__": metric, **variant} | ({"le": le} if le else {})
                # What is a maximum is not reached.
                size = 1.0 if le == "0.1" else 4.0 if "_max_" in metric else 2.0
                yield own, times, (times - times[0]) * size + 5.0 + number


def _selectors(node: object) -> Iterator[tuple[str, Mapping[str, str], Mapping[str, str]]]:
    """Yield each metric with labels for its matchers: those that others may share, and those of it alone."""
    if isinstance(node, promql_parser.VectorSelector):
        plain, special = {}, {}
        for matcher in node.matchers.matchers:
            if matcher.op in (promql_parser.MatchOp.NotEqual, promql_parser.MatchOp.NotRe):
                plain[matcher.name] = "x1"
        for matcher in node.matchers.matchers:
            if matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.Re):
                special[matcher.name] = _VALUES.get(matcher.value, matcher.value)
        yield node.name, plain, special
    for child in ("lhs", "rhs", "expr", "vector_selector"):
        below = getattr(node, child, None)
        if below is not None and not isinstance(below, str):
            yield from _selectors(below)
    for argument in getattr(node, "args", None) or ():
        yield from _selectors(argument)


def _grouping(node: object) -> Iterator[str]:
    modifier = getattr(node, "modifier", None)
    if isinstance(node, promql_parser.AggregateExpr) and modifier is not None:
        yield from modifier.labels
    for child in ("lhs", "rhs", "expr"):
        below = getattr(node, child, None)
        if below is not None and not isinstance(below, str):
            yield from _grouping(below)
    for argument in getattr(node, "args", None) or ():
        yield from _grouping(argument)
