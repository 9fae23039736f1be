"""Where an expression stops being PromQL that this program's parser knows: its messages have no position."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser as promql

from exporter.promql.tokens import CLOSES, Token, is_binary, is_keyword, without_raw_strings

__all__ = ["misplaced"]

# The text is well-formed, but a function or an operator does not take what it is given.
_MEANING = re.compile(
    r"expected (?!.*in label matching)|unknown function|wrong number|vector selector must|illegal regex"
)
# What may follow a beginning of an expression, so that together they are one; closing brackets come in between.
_FILLERS = ("", " x", " 5m", " 5", ' "a"', ' ="a"', "(a)", "()", " x[5m]")
_ENDS = ("", " x", "(x)")
_OPENS = {opening: closing for closing, opening in CLOSES.items()}


def misplaced(expr: str, tokens: list[Token], message: str) -> tuple[int, str]:
    """Return the index of what the parser does not know, and a message about it.

    Parameters
    ----------
    message : str
        The parser's.
    """
    if _MEANING.match(message):
        return _of_meaning(expr, tokens, message), message
    stack: list[Token] = []
    for number, token in enumerate(tokens):
        before, inside = tokens[number - 1] if number else None, stack[-1].text if stack else ""
        if token.kind == "open":
            stack.append(token)
        elif token.kind == "close":
            stack.pop()
        text = without_raw_strings(expr[: token.start + len(token.text)], tokens[: number + 1])
        if not _can_go_on(text, "".join(_OPENS[opened.text] for opened in reversed(stack))):
            return token.start, _sentence(before, token, inside)
    return tokens[-1].start, f"the expression ends after {tokens[-1].text!r}"


def _can_go_on(text: str, closing: str) -> bool:
    """Return whether the beginning of an expression, with brackets that are open, can be completed."""
    return any(_is_readable(text + filler + closing + end) for filler in _FILLERS for end in _ENDS)


def _is_readable(text: str) -> bool:
    message = _failure(text)
    return message is None or _MEANING.match(message) is not None


def _failure(text: str) -> str | None:
    """Return the parser's message, or None where it has none."""
    try:
        promql.parse(text)
    except (ValueError, OverflowError) as error:
        return str(error)
    except BaseException as error:
        # A panic of the native parser is not an Exception.
        if type(error).__name__ != "PanicException":
            raise
        return "panic"
    return None


def _of_meaning(expr: str, tokens: list[Token], message: str) -> int:
    """Return the index of the shortest part of the expression that has the same fault."""
    regex = message.partition("illegal regex for ")[2]
    for token in tokens:
        if regex and token.kind == "string" and token.text[1:-1] == regex:
            return token.start
    parts = [(start, end) for start, end in _parts(tokens) if _failure(expr[start:end]) == message]
    if parts:
        return min(parts, key=lambda part: part[1] - part[0])[0]
    # The longest names first: a name may be part of another.
    for name in sorted(re.findall(r"'([^']+)'", message), key=len, reverse=True) or [message.rpartition(" ")[2]]:
        for token in tokens:
            if name in (token.text, token.text.strip("\"'`")):
                return token.start
    return tokens[0].start


def _parts(tokens: list[Token]) -> Iterator[tuple[int, int]]:
    """Yield where calls, selectors and parentheses begin and end."""
    opened: list[int] = []
    for number, token in enumerate(tokens):
        if token.kind == "open":
            named = number and token.text != "[" and tokens[number - 1].kind == "word"
            opened.append(tokens[number - 1].start if named else token.start)
        elif token.kind == "close":
            yield opened.pop(), token.start + len(token.text)


def _sentence(before: Token | None, token: Token, inside: str) -> str:
    if token.text == "$":
        return "unexpected '$'; variables such as $__interval belong to Grafana and are not replaced here"
    if token.kind == "number" and _failure(token.text) is not None:
        return f"{token.text} is not a number or duration of PromQL"
    if inside == "{" and before is not None and before.text in ("=", "!=", "=~", "!~"):
        return f"a label matcher wants a string in quotes after {before.text!r}"
    if is_binary(token) and (before is None or is_binary(before) or before.text in ("(", ",")):
        return f"unexpected {token.text!r}; a value is missing before it"
    operand = token.kind in ("number", "string") or (token.kind == "word" and not is_keyword(token))
    if operand and before is not None and _is_operand_end(before):
        return f"unexpected {token.text!r}; an operator is missing before it"
    return f"unexpected {token.text!r}"


def _is_operand_end(token: Token) -> bool:
    return token.kind in ("number", "string", "close") or (token.kind == "word" and not is_keyword(token))
