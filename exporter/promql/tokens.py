"""Tokens of a PromQL expression, and the checks that need no grammar: brackets, strings, durations, size."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "CLOSES",
    "MalformedError",
    "Token",
    "check_brackets",
    "check_ends",
    "endless_duration",
    "is_binary",
    "is_keyword",
    "is_large",
    "position",
    "tokenize",
    "without_raw_strings",
]

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<number>[0-9.][0-9a-zA-Z_.]*(?:(?<=[eE])[+-][0-9]+)?)
    |(?P<word>(?:[a-zA-Z_:]|\\.)(?:[a-zA-Z0-9_:.]|\\.)*)
    |(?P<operator>=~|!~|==|!=|<=|>=|[-+*/%^<>=@,])
    |(?P<open>[(\[{])
    |(?P<close>[)\]}])""",
    re.VERBOSE | re.DOTALL,
)
CLOSES = {")": "(", "]": "[", "}": "{"}
_BINARY_WORDS = frozenset({"and", "or", "unless", "atan2"})
_MODIFIERS = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool", "start", "end"}
)
_QUOTES = "“”„‘’"  # noqa: RUF001 - they are what is looked for.

# The native parser is recursive: beyond this it could exhaust a thread's stack and end the process. Of larger
# expressions only brackets, strings and durations are checked.
_MAX_NESTING = 100
_MAX_OPERATORS = 100
_LONGEST_DURATION = 1e12


@dataclass(frozen=True, slots=True)
class Token:
    """A token and its index in the expression."""

    kind: str
    text: str
    start: int


class MalformedError(Exception):
    """An expression that no server can read, and the index where the fault starts."""

    def __init__(self, start: int, message: str) -> None:
        super().__init__(message)
        self.start = start
        self.message = message


def tokenize(expr: str) -> Iterator[Token]:
    """Yield the tokens of an expression, without space and comments; a character of no token is one of its own.

    Raises
    ------
    MalformedError
    """
    at = 0
    while at < len(expr):
        match = _TOKEN.match(expr, at)
        if match is None:
            yield _unknown(expr, at)
            at += 1
            continue
        if match.lastgroup != "space":
            yield Token(str(match.lastgroup), match[0], at)
        at = match.end()


def _unknown(expr: str, at: int) -> Token:
    character = expr[at]
    if character in "\"'`":
        raise MalformedError(at, "the string that starts here does not end")
    if character in _QUOTES:
        raise MalformedError(at, f"unexpected {character!r}; PromQL wants straight quotes")
    return Token("other", character, at)


def check_brackets(tokens: list[Token]) -> None:
    """Raise MalformedError unless every bracket is closed by its own kind."""
    if not tokens:
        raise MalformedError(0, "the expression is empty")
    stack: list[Token] = []
    for token in tokens:
        if token.kind == "open":
            stack.append(token)
        elif token.kind == "close":
            if not stack:
                raise MalformedError(token.start, f"unexpected {token.text!r}; nothing is open")
            if stack[-1].text != CLOSES[token.text]:
                raise MalformedError(token.start, f"unexpected {token.text!r}; {stack[-1].text!r} is still open")
            stack.pop()
    if stack:
        raise MalformedError(stack[-1].start, f"{stack[-1].text!r} is not closed")


def check_ends(tokens: list[Token]) -> None:
    """Raise MalformedError where the expression begins or ends with an operator that needs a value there."""
    first, last = tokens[0], tokens[-1]
    if is_binary(first) and first.text not in ("+", "-"):
        raise MalformedError(first.start, f"unexpected {first.text!r}; a value is missing before it")
    if is_binary(last) or last.text == ",":
        raise MalformedError(last.start, f"the expression ends after {last.text!r}")


def endless_duration(tokens: list[Token]) -> Token | None:
    """Return a duration that is infinite or nearly so: the native parser would panic."""
    inside = expected = False
    for token in tokens:
        if (inside or expected) and not _is_finite(token.text):
            return token
        if token.text in ("[", "]"):
            inside = token.text == "["
        # A sign may stand between the word and its duration.
        expected = token.text.lower() == "offset" or (expected and token.text in ("+", "-"))
    return None


def _is_finite(text: str) -> bool:
    try:
        return abs(float(text)) < _LONGEST_DURATION
    except ValueError:
        # Not a plain number: a duration, or something that the parser refuses.
        return True


def is_large(tokens: list[Token]) -> bool:
    """Return whether an expression is too large for the native parser."""
    depth = deepest = operators = 0
    for token in tokens:
        depth += (token.kind == "open") - (token.kind == "close")
        deepest = max(deepest, depth)
        operators += (token.kind == "operator" and token.text != ",") or token.text.lower() in _BINARY_WORDS
    return deepest > _MAX_NESTING or operators > _MAX_OPERATORS


def is_keyword(token: Token) -> bool:
    """Return whether a word is an operator or a modifier of PromQL."""
    return token.text.lower() in _MODIFIERS | _BINARY_WORDS


def is_binary(token: Token) -> bool:
    """Return whether a token is an operator between two values."""
    return (token.kind == "operator" and token.text not in (",", "@")) or token.text.lower() in _BINARY_WORDS


def position(expr: str, start: int) -> str:
    """Return ``line:column`` of an index, from 1."""
    before = expr[:start]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def without_raw_strings(expr: str, tokens: list[Token]) -> str:
    """Write strings in backticks with double quotes: the parser wrongly looks for escapes in them."""
    for token in reversed(tokens):
        if token.text.startswith("`"):
            end = token.start + len(token.text)
            expr = expr[: token.start] + json.dumps(token.text[1:-1], ensure_ascii=False) + expr[end:]
    return expr
