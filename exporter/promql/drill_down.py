"""Drilling down: the expression of an aggregate, split by further labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

from exporter.promql.narrow import narrow
from exporter.promql.tokens import MalformedError, is_large, tokenize

__all__ = ["DrillDownQuery", "UnsplittableError", "drill_down_query", "ratio_query", "sum_query"]

PART = "drill_down_part"
"""Label that says which part of a ratio a series belongs to."""
_ADDS_UP = frozenset({"sum", "count"})


class UnsplittableError(ValueError):
    """An expression whose parts do not add up to it."""


@dataclass(frozen=True, slots=True)
class DrillDownQuery:
    """One query for the parts of an aggregate.

    Attributes
    ----------
    expr : str
        Of a ratio the series have the label `PART`: ``numerator`` or ``denominator``.
    ratio : bool
        Whether it is the ratio of two sums.
    factor : float
        What the sum or the ratio is multiplied by.
    """

    expr: str
    ratio: bool
    factor: float = 1.0


def drill_down_query(expr: str, labels: Iterable[str], series: Mapping[str, str] | None = None) -> DrillDownQuery:
    """Return the query that splits a sum, a count, an average or a ratio of sums by further labels.

    Parameters
    ----------
    expr : str
        Of the aggregate.
    labels : iterable of str
        Labels to split it by.
    series : mapping, optional
        Labels of the series that is split; all of them unless given.

    Raises
    ------
    UnsplittableError

    >>> drill_down_query("sum by (job) (rate(a[5m]))", ["version"], {"job": "web"}).expr
    'sum by (job,version) (rate(a{job="web"}[5m]))'
    >>> drill_down_query("histogram_quantile(0.9, sum by (le) (rate(a[5m])))", ["version"])
    Traceback (most recent call last):
    exporter.promql.drill_down.UnsplittableError: histogram_quantile() cannot be split into parts that add up
    """
    node, factor = _scaled(_parsed(expr))
    by = tuple(dict.fromkeys(labels))
    if isinstance(node, promql.BinaryExpr) and str(node.op) == "-" and _number(node.lhs) == 1.0:
        # One minus a ratio: what is missing from it.
        ratio, inner = _scaled(node.rhs)
        whole, part = _ratio(ratio)
        top, bottom = _aggregate(whole, by), _aggregate(part, by)
        if inner != 1.0:
            raise UnsplittableError("one minus a multiple of a ratio cannot be split")
        return ratio_query(f"({bottom}) - (({top}) or ({bottom}) * 0)", bottom, series, factor)
    if isinstance(node, promql.BinaryExpr) and str(node.op) == "/":
        top, bottom = _ratio(node)
        (top, above), (bottom, below) = _scaled(top), _scaled(bottom)
        return ratio_query(_aggregate(top, by), _aggregate(bottom, by), series, factor * above / below)
    if isinstance(node, promql.AggregateExpr) and str(node.op) == "avg":
        parts = f"{_grouping(node, by)} ({node.expr})"
        return ratio_query(f"sum {parts}", f"count {parts}", series, factor)
    return sum_query(_aggregate(node, by), series, factor)


def sum_query(expr: str, series: Mapping[str, str] | None = None, factor: float = 1.0) -> DrillDownQuery:
    """Return the query for the parts of a sum."""
    return DrillDownQuery(narrow(expr, series or {}), False, factor)


def ratio_query(top: str, bottom: str, series: Mapping[str, str] | None = None, factor: float = 1.0) -> DrillDownQuery:
    """Return the query for the parts of a ratio."""
    parts = (("numerator", top), ("denominator", bottom))
    texts = [f'label_replace({narrow(expr, series or {})}, "{PART}", "{name}", "", "")' for name, expr in parts]
    return DrillDownQuery(" or ".join(texts), True, factor)


def _parsed(expr: str) -> Any:
    try:
        large = is_large(list(tokenize(expr)))
        if not large:
            return promql.parse(expr)
    except (MalformedError, ValueError) as fault:
        raise UnsplittableError(str(fault)) from None
    except BaseException as error:
        # A panic of the native parser is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise UnsplittableError("the expression cannot be read") from None
    raise UnsplittableError("the expression is too large to be split")


def _scaled(node: Any) -> tuple[Any, float]:
    """Return an expression without parentheses and constant factors, and their product."""
    if isinstance(node, promql.ParenExpr):
        return _scaled(node.expr)
    if isinstance(node, promql.BinaryExpr) and str(node.op) in "*/":
        right = _number(node.rhs)
        left = _number(node.lhs) if str(node.op) == "*" else None
        if right:
            inner, factor = _scaled(node.lhs)
            return inner, factor * right if str(node.op) == "*" else factor / right
        if left:
            inner, factor = _scaled(node.rhs)
            return inner, factor * left
    return node, 1.0


def _ratio(node: Any) -> tuple[Any, Any]:
    if not isinstance(node, promql.BinaryExpr) or str(node.op) != "/":
        raise UnsplittableError("it is no ratio of two sums")
    if node.modifier is not None and (node.modifier.group_labels or "Many" in str(node.modifier.card)):
        raise UnsplittableError("a ratio with group_left or group_right cannot be split")
    bottom, _ = _unclamped(node.rhs)
    return node.lhs, bottom


def _unclamped(node: Any) -> tuple[Any, bool]:
    """Return what a denominator is kept above zero for: `clamp_min(x, 1)`, `x > 0`."""
    while True:
        if isinstance(node, promql.ParenExpr):
            node = node.expr
        elif isinstance(node, promql.Call) and node.func.name == "clamp_min":
            node = node.args[0]
        elif isinstance(node, promql.BinaryExpr) and str(node.op) in (">", "!=") and _number(node.rhs) is not None:
            node = node.lhs
        else:
            return node, True


def _number(node: Any) -> float | None:
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    return float(node.val) if isinstance(node, promql.NumberLiteral) else None


def _aggregate(node: Any, by: tuple[str, ...]) -> str:
    """Return an aggregation with more labels."""
    while isinstance(node, promql.ParenExpr):
        node = node.expr
    if not isinstance(node, promql.AggregateExpr):
        what = f"{node.func.name}()" if isinstance(node, promql.Call) else "an expression without an aggregation"
        raise UnsplittableError(f"{what} cannot be split into parts that add up")
    if str(node.op) not in _ADDS_UP:
        raise UnsplittableError(f"{node.op}() cannot be split into parts that add up")
    return f"{node.op} {_grouping(node, by)} ({node.expr})"


def _grouping(node: Any, by: tuple[str, ...]) -> str:
    if node.modifier is None:
        return f"by ({','.join(by)})"
    listed = list(node.modifier.labels)
    if node.modifier.type == promql.AggModifierType.By:
        return f"by ({','.join(dict.fromkeys([*listed, *by]))})"
    return f"without ({','.join(name for name in listed if name not in by)})"
