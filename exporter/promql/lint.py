"""Checks of a PromQL expression without a server: syntax errors and lints.

The server decides. What only some servers support is a warning, because PromQL grows and MetricsQL has more functions
and operators; what no server can read is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

from exporter.promql.tokens import (
    BINARY_WORDS,
    MalformedError,
    Token,
    check_brackets,
    check_durations,
    is_large,
    tokenize,
)

__all__ = ["Remark", "examine"]

_MODIFIERS = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "start", "end"}
)
# Keywords that only some servers support.
_DIALECT = frozenset(
    {"default", "if", "ifnot", "keep_metric_names", "with", "limit", "anchored", "smoothed", "fill", "fill_left"}
    | {"fill_right"}
)
_SERVERS_DIFFER = re.compile(r"unknown function|argument\(s\)|not supported|experimental|inside brackets")

_TYPES = {"matrix": "a range vector", "vector": "an instant vector", "scalar": "a scalar", "string": "a string"}
_TYPE = re.compile(r"(expected |got )(?:type )?(matrix|vector|scalar|string)\b")
_OWN_METRICS = re.compile(r"anomaly_.*|expected_value(_lower|_upper)?|observed_value")
_COUNTS_SERIES = frozenset({"count", "group", "absent", "timestamp", "count_values"})


@dataclass(frozen=True, slots=True)
class Remark:
    """A message about an expression; fatal where no server can evaluate it."""

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
        check_durations(tokens)
    except MalformedError as error:
        return (Remark(f"{_position(expr, error.start)}: {error.message}", fatal=True),)
    if is_large(tokens):
        return ()
    try:
        tree = promql.parse(_without_raw_strings(expr, tokens))
    except ValueError as error:
        return (_grammar_remark(expr, tokens, str(error)),)
    except OverflowError:
        return (Remark("1:1: a number is out of range", fatal=True),)
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


def _without_raw_strings(expr: str, tokens: list[Token]) -> str:
    """Write strings in backticks with double quotes: the parser wrongly looks for escapes in them."""
    for token in reversed(tokens):
        if token.text.startswith("`"):
            end = token.start + len(token.text)
            expr = expr[: token.start] + json.dumps(token.text[1:-1], ensure_ascii=False) + expr[end:]
    return expr


def _grammar_remark(expr: str, tokens: list[Token], message: str) -> Remark:
    """Return the parser's message with a position, which it lacks."""
    if message == "invalid promql query":
        start, message = _misplaced(tokens)
    else:
        start = _mentioned(tokens, message)
    message = _TYPE.sub(lambda match: f"{match[1]}{_TYPES[match[2]]}", message)
    dialect = any(token.kind == "word" and token.text.lower() in _DIALECT for token in tokens)
    if dialect or _SERVERS_DIFFER.search(message):
        message += "; if your server knows it, this is fine"
        return Remark(f"{_position(expr, start)}: {message}", fatal=False)
    return Remark(f"{_position(expr, start)}: {message}", fatal=True)


def _mentioned(tokens: list[Token], message: str) -> int:
    """Return the index of the word that the message is about."""
    for name in [*reversed(re.findall(r"'([^']+)'", message)), message.split()[-1]]:
        for token in tokens:
            if name in (token.text, token.text.strip("\"'`")):
                return token.start
    return tokens[0].start


def _misplaced(tokens: list[Token]) -> tuple[int, str]:
    """Return the index of the first token that cannot follow its predecessor, and a message."""
    before: Token | None = None
    open_after: list[Token | None] = []
    for token in tokens:
        problem = _problem(before, token, inside=token.text == "}" or _in_braces(open_after))
        if problem:
            return token.start, problem
        if token.kind == "open":
            open_after.append(token if token.text == "{" else before)
        elif token.kind == "close":
            opener = open_after.pop()
            if token.text == ")" and opener is not None and opener.text.lower() in _MODIFIERS:
                # The list of labels of a modifier: an operand may follow it.
                token = opener
        before = token
    if before is not None and _needs_operand(before):
        return before.start, f"the expression ends after {before.text!r}"
    return tokens[0].start, "not a valid PromQL expression"


def _in_braces(open_after: list[Token | None]) -> bool:
    return bool(open_after) and open_after[-1] is not None and open_after[-1].text == "{"


def _problem(before: Token | None, token: Token, *, inside: bool) -> str | None:
    if inside:
        if before is not None and before.text in ("=", "!=", "=~", "!~") and token.kind != "string":
            return f"a label matcher wants a string in quotes after {before.text!r}"
        return None
    operator = _is_binary(token)
    if operator and token.text not in ("+", "-") and (before is None or _needs_operand(before)):
        return f"unexpected {token.text!r}; a value is missing before it"
    operand = token.kind in ("number", "string") or (token.kind == "word" and not _is_keyword(token))
    if operand and before is not None and _is_operand_end(before):
        return f"unexpected {token.text!r}; an operator is missing before it"
    return None


def _is_keyword(token: Token) -> bool:
    return token.text.lower() in _MODIFIERS | BINARY_WORDS


def _is_binary(token: Token) -> bool:
    return (token.kind == "operator" and token.text not in (",", "@")) or token.text.lower() in BINARY_WORDS


def _needs_operand(token: Token) -> bool:
    return _is_binary(token) or token.text in ("(", ",")


def _is_operand_end(token: Token) -> bool:
    if token.kind == "word":
        return not _is_keyword(token)
    return token.kind in ("number", "string", "close")


def _position(expr: str, start: int) -> str:
    before = expr[:start]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def _lint(expr: str, tokens: list[Token], tree: Any) -> Iterator[Remark]:
    for selector, counted in _selectors(tree, counted=False):
        name = selector.name or next(
            (m.value for m in selector.matchers.matchers if m.name == "__name__" and m.op == promql.MatchOp.Equal), ""
        )
        at = _position(expr, _mentioned(tokens, f"'{name}'"))
        if name.endswith(("_total", "_bucket")) and not counted:
            yield Remark(f"{at}: {name} is a counter, which only grows; score rate({name}[5m]) instead", fatal=False)
        if _OWN_METRICS.fullmatch(name):
            yield Remark(
                f"{at}: {name} is written by this exporter; scoring a score can feed back, so do not alert on it",
                fatal=False,
            )


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
