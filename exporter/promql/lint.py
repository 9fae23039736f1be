"""What can be said about a PromQL expression without a server: is it well formed, and is it wise.

The server has the last word. A function, a modifier or an operator that only some servers know is a warning
here, because PromQL grows and MetricsQL has more of it; what no server can read is a problem.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import promql_parser as promql

__all__ = ["Malformed", "Remark", "Token", "examine", "is_large", "tokens_of"]

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)
    |(?P<number>[0-9.][0-9a-zA-Z_.]*(?:(?<=[eE])[+-][0-9]+)?)
    |(?P<word>(?:[a-zA-Z_:]|\\.)(?:[a-zA-Z0-9_:.]|\\.)*)
    |(?P<operator>=~|!~|==|!=|<=|>=|[-+*/%^<>=@,])
    |(?P<open>[(\[{])
    |(?P<close>[)\]}])""",
    re.VERBOSE,
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_BINARY_WORDS = frozenset({"and", "or", "unless", "atan2"})
_MODIFIERS = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "start", "end"}
)
# Words that only some servers know, where they stand for more than a name.
_DIALECT = frozenset(
    {"default", "if", "ifnot", "keep_metric_names", "with", "limit", "anchored", "smoothed", "fill", "fill_left"}
    | {"fill_right"}
)
_SERVERS_DIFFER = re.compile(r"unknown function|argument\(s\)|not supported|experimental|inside brackets")

# The parser is recursive in native code: beyond this it could exhaust a thread's stack and end the process,
# so what is larger is left to the server once its brackets and strings are right.
_MAX_NESTING = 100
_MAX_OPERATORS = 100
_LONGEST_DURATION = 1e12

_TYPES = {"matrix": "a range vector", "vector": "an instant vector", "scalar": "a scalar", "string": "a string"}
_TYPE = re.compile(r"(expected |got )(?:type )?(matrix|vector|scalar|string)\b")
_OWN_METRICS = re.compile(r"anomaly_.*|expected_value(_lower|_upper)?|observed_value")
_COUNTS_SERIES = frozenset({"count", "group", "absent", "timestamp", "count_values"})


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to say about an expression; fatal where no server can evaluate it."""

    message: str
    fatal: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression, and where it starts."""

    kind: str
    text: str
    start: int


class Malformed(Exception):  # noqa: N818 - it never leaves this package.
    """What no server can read, and where it starts."""

    def __init__(self, start: int, message: str) -> None:
        super().__init__(message)
        self.start = start
        self.message = message


def examine(expr: str) -> tuple[Remark, ...]:
    """Check `expr`; messages start with ``line:column`` inside the expression.

    >>> examine("rate(http_requests_total[5m]")
    (Remark(message="1:5: '(' is not closed", fatal=True),)
    """
    try:
        tokens = list(tokens_of(expr))
        _check_brackets(tokens)
        _check_durations(tokens)
    except Malformed as found:
        return (Remark(f"{_position(expr, found.start)}: {found.message}", fatal=True),)
    if is_large(tokens):
        return ()
    try:
        tree = promql.parse(_without_raw_strings(expr, tokens))
    except ValueError as error:
        return (_grammar_remark(expr, tokens, str(error)),)
    except OverflowError:
        return (Remark("1:1: a number is out of range", fatal=True),)
    except BaseException as error:
        # A panic of the native parser is not an Exception. The server will say what is wrong.
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


def tokens_of(expr: str) -> Iterator[Token]:
    """Yield the pieces of an expression, without space and comments."""
    at = 0
    while at < len(expr):
        found = _TOKEN.match(expr, at)
        if found is None:
            raise Malformed(at, _unexpected(expr[at]))
        if found.lastgroup != "space":
            yield Token(str(found.lastgroup), found[0], at)
        at = found.end()


def _without_raw_strings(expr: str, tokens: list[Token]) -> str:
    """Write strings in backticks with double quotes: the parser wrongly looks for escapes in them."""
    for token in reversed(tokens):
        if token.text.startswith("`"):
            end = token.start + len(token.text)
            expr = expr[: token.start] + json.dumps(token.text[1:-1], ensure_ascii=False) + expr[end:]
    return expr


def _unexpected(character: str) -> str:
    if character in "\"'`":
        return "the string that starts here does not end"
    if character == "$":
        return "unexpected '$'; variables such as $__interval belong to Grafana and are not replaced here"
    if character in "“”„‘’":  # noqa: RUF001 - they are what is looked for.
        return f"unexpected {character!r}; PromQL wants straight quotes"
    return f"unexpected character {character!r}"


def _check_brackets(tokens: list[Token]) -> None:
    if not tokens:
        raise Malformed(0, "the expression is empty")
    stack: list[Token] = []
    for token in tokens:
        if token.kind == "open":
            stack.append(token)
        elif token.kind == "close":
            if not stack:
                raise Malformed(token.start, f"unexpected {token.text!r}; nothing is open")
            if stack[-1].text != _CLOSES[token.text]:
                raise Malformed(token.start, f"unexpected {token.text!r}; {stack[-1].text!r} is still open")
            stack.pop()
    if stack:
        raise Malformed(stack[-1].start, f"{stack[-1].text!r} is not closed")


def _check_durations(tokens: list[Token]) -> None:
    """Refuse endless durations, on which the parser would panic."""
    inside = wanted = False
    for token in tokens:
        if (inside or wanted) and not _is_finite(token.text):
            raise Malformed(token.start, f"a duration cannot be {token.text}")
        if token.text in ("[", "]"):
            inside = token.text == "["
        # A sign may stand between the word and its duration.
        wanted = token.text.lower() == "offset" or (wanted and token.text in ("+", "-"))


def _is_finite(text: str) -> bool:
    try:
        return abs(float(text)) < _LONGEST_DURATION
    except ValueError:
        # Not a plain number: a duration, or something that the parser refuses.
        return True


def is_large(tokens: list[Token]) -> bool:
    """Return whether the native parser should not be asked to read an expression."""
    depth = deepest = operators = 0
    for token in tokens:
        depth += (token.kind == "open") - (token.kind == "close")
        deepest = max(deepest, depth)
        operators += (token.kind == "operator" and token.text != ",") or token.text.lower() in _BINARY_WORDS
    return deepest > _MAX_NESTING or operators > _MAX_OPERATORS


def _grammar_remark(expr: str, tokens: list[Token], message: str) -> Remark:
    """Turn the parser's message, which has no position, into one that has."""
    if message == "invalid promql query":
        start, message = _misplaced(tokens)
    else:
        start = _mentioned(tokens, message)
    message = _TYPE.sub(lambda found: f"{found[1]}{_TYPES[found[2]]}", message)
    dialect = any(token.kind == "word" and token.text.lower() in _DIALECT for token in tokens)
    if dialect or _SERVERS_DIFFER.search(message):
        message += "; if your server knows it, this is fine"
        return Remark(f"{_position(expr, start)}: {message}", fatal=False)
    return Remark(f"{_position(expr, start)}: {message}", fatal=True)


def _mentioned(tokens: list[Token], message: str) -> int:
    """Return where the expression has the word that the message is about."""
    for name in [*reversed(re.findall(r"'([^']+)'", message)), message.split()[-1]]:
        for token in tokens:
            if name in (token.text, token.text.strip("\"'`")):
                return token.start
    return tokens[0].start


def _misplaced(tokens: list[Token]) -> tuple[int, str]:
    """Return the first token that cannot follow the one before it."""
    before: Token | None = None
    open_after: list[Token | None] = []
    for token in tokens:
        complaint = _complaint(before, token, inside=token.text == "}" or _in_braces(open_after))
        if complaint:
            return token.start, complaint
        if token.kind == "open":
            open_after.append(token if token.text == "{" else before)
        elif token.kind == "close":
            opener = open_after.pop()
            if token.text == ")" and opener is not None and opener.text.lower() in _MODIFIERS:
                # The list of labels of a modifier: an operand may follow it.
                token = opener
        before = token
    if before is not None and _wants_operand(before):
        return before.start, f"the expression ends after {before.text!r}"
    return tokens[0].start, "not a valid PromQL expression"


def _in_braces(open_after: list[Token | None]) -> bool:
    return bool(open_after) and open_after[-1] is not None and open_after[-1].text == "{"


def _complaint(before: Token | None, token: Token, *, inside: bool) -> str | None:
    if inside:
        if before is not None and before.text in ("=", "!=", "=~", "!~") and token.kind != "string":
            return f"a label matcher wants a string in quotes after {before.text!r}"
        return None
    operator = _is_binary(token)
    if operator and token.text not in ("+", "-") and (before is None or _wants_operand(before)):
        return f"unexpected {token.text!r}; a value is missing before it"
    operand = token.kind in ("number", "string") or (token.kind == "word" and not _is_keyword(token))
    if operand and before is not None and _is_operand_end(before):
        return f"unexpected {token.text!r}; an operator is missing before it"
    return None


def _is_keyword(token: Token) -> bool:
    return token.text.lower() in _MODIFIERS | _BINARY_WORDS


def _is_binary(token: Token) -> bool:
    return (token.kind == "operator" and token.text not in (",", "@")) or token.text.lower() in _BINARY_WORDS


def _wants_operand(token: Token) -> bool:
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
        place = _position(expr, _mentioned(tokens, f"'{name}'"))
        if name.endswith(("_total", "_bucket")) and not counted:
            yield Remark(f"{place}: {name} is a counter, which only grows; score rate({name}[5m]) instead", fatal=False)
        if _OWN_METRICS.fullmatch(name):
            yield Remark(
                f"{place}: {name} is written by this exporter; scoring a score can feed back, so do not alert on it",
                fatal=False,
            )


def _selectors(node: Any, *, counted: bool) -> Iterator[tuple[Any, bool]]:
    """Yield every selector of a tree, and whether a counter is in order there."""
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
