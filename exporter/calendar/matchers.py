"""Matchers in Alertmanager's syntax: ``name="value"``, ``!=``, ``=~`` and ``!~``, with RE2 expressions.

RE2 matches in time that is linear in the text: a silence may hold any pattern, and Python's `re` can take for ever on
an innocent one such as ``(a+)+b``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import re2

__all__ = ["Matcher", "MatcherError", "Regexp", "RegexpError", "all_match", "parse_matcher"]

Operator = Literal["=", "!=", "=~", "!~"]

_QUOTED = r'"(?:[^"\\\n]|\\.)*"'
_SYNTAX = re.compile(
    rf"\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*|{_QUOTED})\s*(?P<operator>=~|!~|!=|=)\s*"
    rf'(?P<value>{_QUOTED}|[^\s"{{}},=~!][^"{{}},]*?|)\s*',
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LONGEST = 4096
"""Characters of a matcher or a pattern. Alertmanager has no limit, but no person writes more."""
_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False
_RE2_OPTIONS.never_capture = True
_PUNCTUATION = frozenset(r"\.+*?()|[]{}^$#&-~")
_META = frozenset(r"\.+*?()|[]{}^$")


class RegexpError(ValueError):
    """Not a regular expression; the text gives the reason."""


class Regexp:
    """A regular expression in RE2 syntax that has to match a whole text, as in Alertmanager.

    Parameters
    ----------
    pattern : str

    Attributes
    ----------
    literals : tuple of str or None
        All texts that it matches, where it is a plain choice such as ``api|web``.
    prefix : str
        A plain prefix of every text that it matches.

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
        try:
            # Matching bytes is three times as fast: no offsets are converted.
            self._fullmatch = re2.compile(pattern.encode(), _RE2_OPTIONS).fullmatch
        except UnicodeEncodeError:
            raise RegexpError("not a regular expression: it is not valid Unicode") from None
        except re2.error as error:
            raise RegexpError(f"not a regular expression: {error.args[0].decode(errors='replace')}") from None
        self.literals, self.prefix = _plain_parts(pattern)

    def matches(self, text: str) -> bool:
        """Return whether the whole of `text` matches."""
        try:
            return self._fullmatch(text.encode()) is not None
        except UnicodeEncodeError:
            return False


def _plain_parts(pattern: str) -> tuple[tuple[str, ...] | None, str]:
    """Return the texts of a pattern that is a plain choice of texts; else None and its plain prefix."""
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
            # What is repeated may occur zero times.
            prefix = current[:-1] if letter in "*?{" else current
            return None, "" if "|" in pattern else prefix
        current, at = current + letter, at + 1
    return (*texts, current), "" if texts else current


class MatcherError(ValueError):
    """Not a matcher; the text shows a valid one."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on one label. A missing label has an empty value, as everywhere in Prometheus.

    Raises
    ------
    MatcherError
        The value is not a regular expression where it has to be one.
    """

    name: str
    operator: Operator
    value: str
    regexp: Regexp | None = field(init=False, repr=False, compare=False, default=None)
    """Of ``=~`` and ``!~``."""
    test: Callable[[str], bool] = field(init=False, repr=False, compare=False, default=bool)
    """Whether a label value equals or matches `value`; `negative` is not applied."""

    def __post_init__(self) -> None:
        test: Callable[[str], bool] = self.value.__eq__
        if self.operator in ("=~", "!~"):
            try:
                regexp = Regexp(self.value)
            except RegexpError as error:
                raise MatcherError(str(error)) from None
            test = regexp.matches
            object.__setattr__(self, "regexp", regexp)
        object.__setattr__(self, "test", test)

    @property
    def negative(self) -> bool:
        """Whether it is one of ``!=`` and ``!~``."""
        return self.operator[0] == "!"

    def matches(self, value: str) -> bool:
        """Return whether a label with this value satisfies the matcher.

        >>> parse_matcher('job=~"api|web"').matches("web")
        True
        """
        return self.test(value) is not self.negative

    def __str__(self) -> str:
        name = self.name if re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", self.name) else _quoted(self.name)
        return f"{name}{self.operator}{_quoted(self.value)}"


@lru_cache(maxsize=4096)
def parse_matcher(text: str) -> Matcher:
    r"""Parse a matcher; quotes around the value may be left out where nothing in it needs them.

    Raises
    ------
    MatcherError

    >>> str(parse_matcher('instance =~ "db-[0-9]+"'))
    'instance=~"db-[0-9]+"'
    """
    if len(text) > _LONGEST:
        raise MatcherError(f"a matcher of {len(text)} characters is too long; at most {_LONGEST}")
    match = _SYNTAX.fullmatch(text)
    if match is None:
        raise MatcherError(f"not a matcher: {text[:60]!r}; write one such as 'query=\"cpu\"' or 'job=~\"api|web\"'")
    name = _unquoted(match["name"])
    if not name:
        raise MatcherError(f"a matcher without a label name: {text[:60]!r}")
    operator: Operator = match["operator"]  # type: ignore[assignment]  # The expression allows these four only.
    return Matcher(name, operator, _unquoted(match["value"]))


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Return whether a label set satisfies all matchers.

    >>> all_match([parse_matcher("a=1"), parse_matcher("b!=2")], {"a": "1"})
    True
    """
    return all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    # An escape that has no meaning stays as it is, as in Alertmanager: patterns are full of them.
    escapes = {"n": "\n", '"': '"', "\\": "\\"}
    return _ESCAPE.sub(lambda match: escapes.get(match[1], match[0]), text[1:-1])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
