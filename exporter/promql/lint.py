"""Checks of a PromQL expression without a server: what no server can read, and lints.

The server decides. PromQL grows, MetricsQL has more functions, operators, numbers and durations, and a parser in a
client is always behind: what it does not know is a warning. An error is only what no server can read or what has no
samples.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

from exporter.own_metrics import is_own_name
from exporter.promql.misplaced import misplaced
from exporter.promql.tokens import (
    MalformedError,
    Token,
    check_brackets,
    check_ends,
    endless_duration,
    is_large,
    position,
    tokenize,
    without_raw_strings,
)

__all__ = ["Remark", "examine"]

_SERVER_DECIDES = "; if your server knows it, this is fine"
_TYPES = {"matrix": "a range vector", "vector": "an instant vector", "scalar": "a scalar", "string": "a string"}
_TYPE = re.compile(r"(expected |got )(?:type )?(matrix|vector|scalar|string)\b")
_COUNTS_SERIES = frozenset({"count", "group", "absent", "timestamp", "count_values"})


@dataclass(frozen=True, slots=True)
class Remark:
    """A message about an expression; fatal where no server can evaluate it to samples."""

    message: str
    fatal: bool


def examine(expr: str) -> tuple[Remark, ...]:
    """Check `expr`; messages start with ``line:column`` inside the expression.

    >>> examine("rate(http_requests_total[5m]")
    (Remark(message="1:5: '(' is not closed", fatal=True),)
    """
    try:
        tokens = list(tokenize(expr))
        check_brackets(tokens)
        check_ends(tokens)
    except MalformedError as error:
        return (Remark(f"{position(expr, error.start)}: {error.message}", fatal=True),)
    if is_large(tokens):
        return ()
    endless = endless_duration(tokens)
    if endless is not None:
        # The native parser would panic.
        return (_doubt(expr, endless.start, f"a duration cannot be {endless.text}"),)
    try:
        tree = promql.parse(without_raw_strings(expr, tokens))
    except ValueError as error:
        start, message = misplaced(expr, tokens, str(error))
        message = _TYPE.sub(lambda match: f"{match[1]}{_TYPES[match[2]]}", message)
        return (_doubt(expr, start, message),)
    except OverflowError:
        return (_doubt(expr, tokens[0].start, "a number is out of range"),)
    except BaseException as error:
        # A panic of the native parser is not an Exception. The server will report what is wrong.
        if type(error).__name__ != "PanicException":
            raise
        return ()
    if isinstance(tree, (promql.MatrixSelector, promql.SubqueryExpr, promql.StringLiteral)):
        if isinstance(tree, promql.StringLiteral):
            return (Remark("1:1: the expression is a string, not a vector of values", fatal=True),)
        return (
            Remark("1:1: a range vector has many values a series; wrap it in rate() or avg_over_time()", fatal=True),
        )
    return tuple(dict.fromkeys(_lint(expr, tokens, tree)))


def _doubt(expr: str, start: int, message: str) -> Remark:
    return Remark(f"{position(expr, start)}: {message}{_SERVER_DECIDES}", fatal=False)


def _lint(expr: str, tokens: list[Token], tree: Any) -> Iterator[Remark]:
    for selector, counted in _selectors(tree, counted=False):
        name = selector.name or next(
            (m.value for m in selector.matchers.matchers if m.name == "__name__" and m.op == promql.MatchOp.Equal), ""
        )
        at = position(expr, _place_of(name, tokens))
        if name.endswith(("_total", "_bucket")) and not counted:
            yield Remark(f"{at}: {name} is a counter, which only grows; score rate({name}[5m]) instead", fatal=False)
        if not name and all(_may_be_own(matcher) for matcher in selector.matchers.matchers):
            yield Remark(
                f"{at}: a selector without the name of a metric may choose what this exporter writes, too, once it is "
                "scraped; such rows are left out, but the server reads them",
                fatal=False,
            )
        if is_own_name(name):
            yield Remark(
                f"{at}: {name} is written by this exporter; scoring a score can feed back, so do not alert on it",
                fatal=False,
            )


def _may_be_own(matcher: Any) -> bool:
    """Return whether a matcher lets scores pass."""
    if matcher.name != "__name__":
        return True
    try:
        fits = re.fullmatch(matcher.value, "anomaly_score") is not None
    except re.error:
        return True
    return fits if str(matcher.op).endswith("Re") and "Not" not in str(matcher.op) else not fits


def _place_of(name: str, tokens: list[Token]) -> int:
    return next((token.start for token in tokens if name in (token.text, token.text.strip("\"'`"))), tokens[0].start)


def _selectors(node: Any, *, counted: bool) -> Iterator[tuple[Any, bool]]:
    """Yield every selector of a tree, and whether a counter is fine there."""
    if isinstance(node, promql.VectorSelector):
        yield node, counted
    elif isinstance(node, promql.MatrixSelector):
        yield node.vector_selector, True
    elif isinstance(node, promql.SubqueryExpr):
        yield from _selectors(node.expr, counted=True)
    elif isinstance(node, promql.AggregateExpr):
        yield from _selectors(node.expr, counted=counted or str(node.op) in _COUNTS_SERIES)
    elif isinstance(node, promql.Call):
        for argument in node.args:
            yield from _selectors(argument, counted=counted or node.func.name in _COUNTS_SERIES)
    elif isinstance(node, promql.BinaryExpr):
        yield from _selectors(node.lhs, counted=counted)
        # The right-hand side of a set operator only chooses series.
        yield from _selectors(node.rhs, counted=counted or str(node.op) in ("and", "unless"))
    elif isinstance(node, (promql.ParenExpr, promql.UnaryExpr)):
        yield from _selectors(node.expr, counted=counted)
