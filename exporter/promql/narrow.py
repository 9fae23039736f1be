"""Narrowing: an expression for a single series, with its labels as matchers where that cannot change its value.

Without it the chart of a series would make the server compute all of them. Where the value might change, the expression
stays as it is, and the caller picks the series from the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import promql_parser as promql

from exporter.promql.tokens import MalformedError, Token, is_large, tokenize

__all__ = ["narrow"]

_PASSES = frozenset(
    {"abs", "absent_over_time", "ceil", "changes", "clamp", "clamp_max", "clamp_min", "deg", "delta", "deriv", "exp"}
    | {"floor", "holt_winters", "double_exponential_smoothing", "idelta", "increase", "irate", "ln", "log10", "log2"}
    | {"predict_linear", "quantile_over_time", "rad", "rate", "resets", "round", "sgn", "sin", "cos", "tan", "sqrt"}
    | {"avg_over_time", "count_over_time", "last_over_time", "mad_over_time", "max_over_time", "min_over_time"}
    | {"present_over_time", "stddev_over_time", "stdvar_over_time", "sum_over_time", "timestamp", "minute", "hour"}
    | {"day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year", "histogram_quantile"}
) - {"absent_over_time"}
"""Functions whose result for a series depends on samples with its labels only, and keeps these labels."""
_OF_GROUPS = frozenset({"sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "quantile"})
"""Aggregations whose result has the labels that it is grouped by, and no others."""
_NO_SELECTOR_AFTER = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = _NO_SELECTOR_AFTER | {"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan", "start", "end"}


def narrow(expr: str, labels: Mapping[str, str]) -> str:
    """Return an expression with the series `labels` of `expr`, unchanged, and as few others as is safe.

    >>> narrow('sum by (job) (rate(a_total{env="x"}[5m])) / sum by (job) (b)', {"job": "web", "__name__": "c"})
    'sum by (job) (rate(a_total{job="web",env="x"}[5m])) / sum by (job) (b{job="web"})'
    >>> narrow("topk(3, a)", {"job": "web"})
    'topk(3, a)'
    """
    pushable = {name: value for name, value in labels.items() if name != "__name__" and _is_plain(name)}
    try:
        tokens = list(tokenize(expr))
        if not pushable or is_large(tokens) or "`" in expr:
            return expr
        selectors = list(_pushed(promql.parse(expr), frozenset(pushable)))
        places = list(_places(tokens))
        if len(selectors) != len(places):
            return expr
        pairs = [[(name, pushable[name]) for name in sorted(names)] for _, names in selectors]
        narrowed = _inserted(expr, places, pairs)
        now = [_matchers(node) for node, _ in _pushed(promql.parse(narrowed), frozenset(pushable))]
        meant = [sorted(_matchers(node) + _equal(new)) for (node, _), new in zip(selectors, pairs, strict=True)]
    except (MalformedError, ValueError):
        return expr
    except BaseException as error:
        # A panic of the native parser is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        return expr
    # The positions of selectors come from the tokens and not from the parser, so the parser has to agree.
    return narrowed if now == meant else expr


def _matchers(node: Any) -> list[str]:
    return sorted(f"{each.op} {each.name} {each.value}" for each in node.matchers.matchers)


def _equal(pairs: list[tuple[str, str]]) -> list[str]:
    return [f"{promql.MatchOp.Equal} {name} {value}" for name, value in pairs]


def _pushed(node: Any, names: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """Yield every selector in the order of the text, and which of `names` may become matchers of it."""
    if isinstance(node, promql.VectorSelector):
        yield node, frozenset() if node.matchers.or_matchers else names
    elif isinstance(node, promql.MatrixSelector):
        yield from _pushed(node.vector_selector, names)
    elif isinstance(node, (promql.SubqueryExpr, promql.ParenExpr, promql.UnaryExpr)):
        yield from _pushed(node.expr, names)
    elif isinstance(node, promql.Call):
        own = names - {"le"} if node.func.name in _PASSES else frozenset[str]()
        for argument in node.args:
            yield from _pushed(argument, own)
    elif isinstance(node, promql.AggregateExpr):
        own = _grouped(node, names)
        if node.param is not None:
            yield from _pushed(node.param, frozenset())
        yield from _pushed(node.expr, own)
    elif isinstance(node, promql.BinaryExpr):
        left, right = _matched(node, names)
        yield from _pushed(node.lhs, left)
        yield from _pushed(node.rhs, right)


def _grouped(node: Any, names: frozenset[str]) -> frozenset[str]:
    if (
        node.modifier is None
        or str(node.op) == "count_values"
        or (str(node.op) not in _OF_GROUPS and node.modifier.type != promql.AggModifierType.By)
    ):
        # The top ten of a part are not those of the whole.
        return frozenset()
    listed = frozenset(node.modifier.labels)
    return names & listed if node.modifier.type == promql.AggModifierType.By else names - listed


def _matched(node: Any, names: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that may become matchers on the left and on the right of a binary operator."""
    if any(isinstance(side, promql.NumberLiteral) for side in (node.lhs, node.rhs)):
        return names, names
    modifier = node.modifier
    matching = None if modifier is None else modifier.matching
    if matching is None:
        shared = names
    elif matching.type == promql.LabelModifierType.Include:
        shared = names & frozenset(matching.labels)
    else:
        shared = names - frozenset(matching.labels)
    # Labels that group_left or group_right takes over are not pushed.
    taken = frozenset(() if modifier is None else modifier.group_labels or ())
    operator = str(node.op)
    if operator in ("and", "unless"):
        return names, shared
    return shared - taken, shared - taken


def _places(tokens: list[Token]) -> Iterator[tuple[int, bool]]:
    """Yield where every selector can take matchers, and whether it has braces with something in them already."""
    depth, skipping = 0, 0
    for index, token in enumerate(tokens):
        following = tokens[index + 1].text if index + 1 < len(tokens) else ""
        before = tokens[index - 1] if index else None
        if token.text == "(" and before is not None and before.text.lower() in _NO_SELECTOR_AFTER:
            skipping = 1
        elif skipping and token.text in "()":
            skipping += 1 if token.text == "(" else -1
        elif token.text in ("{", "["):
            if token.text == "{" and not depth:
                yield token.start + 1, following != "}"
            depth += 1
        elif token.text in ("}", "]"):
            depth -= 1
        is_name = token.kind == "word" and token.text.lower() not in _WORDS
        if (
            is_name
            and not depth
            and not skipping
            and following not in ("(", "{")
            and following.lower() not in ("by", "without")
        ):
            yield -(token.start + len(token.text)), False


def _inserted(expr: str, places: Iterable[tuple[int, bool]], matchers: Iterable[list[tuple[str, str]]]) -> str:
    for (place, more), pairs in reversed(list(zip(places, matchers, strict=True))):
        if not pairs:
            continue
        text = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in pairs)
        at = abs(place)
        text = f"{{{text}}}" if place < 0 else text + ("," if more else "")
        expr = expr[:at] + text + expr[at:]
    return expr


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isidentifier()
