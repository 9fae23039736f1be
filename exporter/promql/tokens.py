"""Tokens of a PromQL expression, and the checks that need no grammar: brackets, strings, durations, size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["BINARY_WORDS", "MalformedError", "Token", "check_brackets", "check_durations", "is_large", "tokenize"]

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
BINARY_WORDS = frozenset({"and", "or", "unless", "atan2"})

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
    """Yield the tokens of an expression, without space and comments.

    Raises
    ------
    MalformedError
    """
    at = 0
    while at < len(expr):
        match = _TOKEN.match(expr, at)
        if match is None:
            raise MalformedError(at, _unexpected(expr[at]))
        if match.lastgroup != "space":
            yield Token(str(match.lastgroup), match[0], at)
        at = match.end()


def _unexpected(character: str) -> str:
    if character in "\"'`":
        return "the string that starts here does not end"
    if character == "$":
        return "unexpected '$'; variables such as $__interval belong to Grafana and are not replaced here"
    if character in "“”„‘’":  # noqa: RUF001 - they are what is looked for.
        return f"unexpected {character!r}; PromQL wants straight quotes"
    return f"unexpected character {character!r}"


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
            if stack[-1].text != _CLOSES[token.text]:
                raise MalformedError(token.start, f"unexpected {token.text!r}; {stack[-1].text!r} is still open")
            stack.pop()
    if stack:
        raise MalformedError(stack[-1].start, f"{stack[-1].text!r} is not closed")


def check_durations(tokens: list[Token]) -> None:
    """Raise MalformedError for infinite durations: the native parser would panic."""
    inside = expected = False
    for token in tokens:
        if (inside or expected) and not _is_finite(token.text):
            raise MalformedError(token.start, f"a duration cannot be {token.text}")
        if token.text in ("[", "]"):
            inside = token.text == "["
        # A sign may stand between the word and its duration.
        expected = token.text.lower() == "offset" or (expected and token.text in ("+", "-"))


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
        operators += (token.kind == "operator" and token.text != ",") or token.text.lower() in BINARY_WORDS
    return deepest > _MAX_NESTING or operators > _MAX_OPERATORS
