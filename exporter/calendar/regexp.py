"""Anchored regular expressions as Alertmanager has them: RE2 syntax, in time that is linear in the text.

Python's `re` can take forever on an innocent pattern such as ``(a+)+b``, and a silence may hold any pattern.
The engine that pydantic validates strings with is one of the RE2 family, so it is used instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic_core import SchemaError, SchemaValidator, core_schema

__all__ = ["Regexp", "RegexpError"]

_LONGEST = 4096
"""Characters of a pattern; Alertmanager has no limit, but no person writes more."""

_CLASSES = {
    "d": "[0-9]", "D": "[^0-9]", "s": r"[\t\n\f\r ]", "S": r"[^\t\n\f\r ]", "w": "[0-9A-Za-z_]", "W": "[^0-9A-Za-z_]",
    "b": r"(?-u:\b)", "B": r"(?-u:\B)",
}  # fmt: skip
"""In RE2 these are ASCII; in this engine they are not unless they are written out."""
_REPETITION = re.compile(r"\{[0-9]+(,[0-9]*)?\}")
_POSIX = re.compile(r"\[:\^?[a-z]+:\]")
_PUNCTUATION = frozenset(r"\.+*?()|[]{}^$#&-~")
_META = frozenset(r"\.+*?()|[]{}^$")


class RegexpError(ValueError):
    """A pattern that cannot be used; the text says why."""


class Regexp:
    """A pattern that has to match a whole text.

    Parameters
    ----------
    pattern : str
        RE2 syntax, without anchors: they are added, as Alertmanager does.

    Attributes
    ----------
    literals : tuple of str or None
        The texts that it matches, where it is only a choice of texts such as ``api|web``.
    prefix : str
        What every text begins with that it matches, as far as that is plain to see.

    Raises
    ------
    RegexpError

    Examples
    --------
    >>> Regexp("web-[0-9]+").matches("web-12"), Regexp("web").matches("web-12")
    (True, False)
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        if len(pattern) > _LONGEST:
            raise RegexpError(f"a pattern of {len(pattern)} characters is too long; at most {_LONGEST}")
        translated = "".join(_translated(pattern))
        # By itself first: a parenthesis too many must not close the one of the anchors.
        for text in (translated, f"^(?:{translated})$"):
            try:
                schema = core_schema.str_schema(pattern=text, regex_engine="rust-regex", strict=True)
                validator = SchemaValidator(schema)
            except (SchemaError, UnicodeEncodeError) as error:
                raise RegexpError(f"not a regular expression: {_reason(str(error))}") from None
        self.literals, self.prefix = _plain_parts(pattern)
        self.matches = validator.isinstance_python
        """Whether a text matches."""


def _translated(pattern: str) -> Iterator[str]:
    """Yield `pattern` piece by piece as the engine writes what RE2 means."""
    at, in_class = 0, False
    while at < len(pattern):
        letter, after = pattern[at], pattern[at + 1 : at + 2]
        step = 1
        if letter == "\\":
            if after == "Q":
                end = pattern.find("\\E", at + 2)
                quoted = pattern[at + 2 : end if end >= 0 else len(pattern)]
                step = len(quoted) + (4 if end >= 0 else 2)
                yield "".join("\\" + one if one in _PUNCTUATION else one for one in quoted)
            else:
                step = 2
                yield letter + after if after not in _CLASSES or (in_class and after in "bB") else _CLASSES[after]
        elif in_class:
            posix = _POSIX.match(pattern, at) if letter == "[" else None
            if posix is not None:
                step = len(posix[0])
                yield posix[0]
            elif letter == "]":
                in_class = False
                yield letter
            else:
                # A class within a class and the operations of sets are not in RE2: there these are letters.
                doubled = letter in "&~" and letter == after
                yield "\\" + letter if letter == "[" or doubled else letter
        elif letter == "[":
            in_class = True
            opening = re.compile(r"\[\^?\]?").match(pattern, at)
            text = letter if opening is None else opening[0]
            step = len(text)
            # A bracket that comes first is a letter.
            yield text.replace("]", "\\]")
        elif letter == "{" and _REPETITION.match(pattern, at) is None:
            yield "\\{"
        else:
            yield letter
        at += step


def _plain_parts(pattern: str) -> tuple[tuple[str, ...] | None, str]:
    """Return the texts of a pattern that is only a choice of texts; else what comes before anything else."""
    texts, current, at = [], "", 0
    while at < len(pattern):
        letter, after = pattern[at], pattern[at + 1 : at + 2]
        if letter == "\\" and after in _PUNCTUATION:
            letter, at = after, at + 1
        elif letter == "|":
            texts.append(current)
            current, at = "", at + 1
            continue
        elif letter in _META:
            # What is repeated may come no times at all.
            known = current[:-1] if letter in "*?{" else current
            return None, "" if "|" in pattern else known
        current, at = current + letter, at + 1
    return (*texts, current), "" if texts else current


def _reason(text: str) -> str:
    """Return what the engine says was wrong, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = next((line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")), "")
    if said:
        return said
    return "it is too large" if "size limit" in text else "it cannot be compiled"
