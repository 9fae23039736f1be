"""Matchers in Alertmanager's syntax: ``name="value"``, ``!=``, ``=~`` and ``!~``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from exporter.calendar.regexp import Regexp, RegexpError

__all__ = ["Matcher", "MatcherError", "all_match", "parse_matcher", "write_matchers"]

Operator = Literal["=", "!=", "=~", "!~"]

_QUOTED = r'"(?:[^"\\\n]|\\.)*"'
_SYNTAX = re.compile(
    rf"\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*|{_QUOTED})\s*(?P<operator>=~|!~|!=|=)\s*"
    rf'(?P<value>{_QUOTED}|[^\s"{{}},=~!][^"{{}},]*?|)\s*',
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_LONGEST = 4096


class MatcherError(ValueError):
    """A text that is not a matcher; it says what would be right."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label set. A label that is not there has an empty value, as everywhere in Prometheus.

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
    """Whether a value is the one named or fits the expression, whatever the operator makes of it."""

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
        """Return whether a value of the label fulfils it.

        >>> parse_matcher('job=~"api|web"').matches("web")
        True
        """
        return self.test(value) is not self.negative

    def __str__(self) -> str:
        name = self.name if re.fullmatch("[a-zA-Z_:][a-zA-Z0-9_:]*", self.name) else _quoted(self.name)
        return f"{name}{self.operator}{_quoted(self.value)}"


@lru_cache(maxsize=4096)
def parse_matcher(text: str) -> Matcher:
    r"""Read one matcher; quotes around the value may be left out where nothing in it needs them.

    Raises
    ------
    MatcherError

    >>> str(parse_matcher('instance =~ "db-[0-9]+"'))
    'instance=~"db-[0-9]+"'
    """
    if len(text) > _LONGEST:
        raise MatcherError(f"a matcher of {len(text)} characters is too long; at most {_LONGEST}")
    found = _SYNTAX.fullmatch(text)
    if found is None:
        raise MatcherError(f"not a matcher: {text[:60]!r}; write one such as 'query=\"cpu\"' or 'job=~\"api|web\"'")
    name = _plain(found["name"])
    if not name:
        raise MatcherError(f"a matcher without a label name: {text[:60]!r}")
    operator: Operator = found["operator"]  # type: ignore[assignment]  # The expression allows these four only.
    return Matcher(name, operator, _plain(found["value"]))


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Return whether a label set fulfils all of them.

    >>> all_match([parse_matcher("a=1"), parse_matcher("b!=2")], {"a": "1"})
    True
    """
    return all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)


def write_matchers(matchers: Sequence[Matcher]) -> str:
    """Write matchers for people: ``{query="cpu", job=~"api|web"}``."""
    return "{" + ", ".join(map(str, matchers)) + "}"


def _plain(text: str) -> str:
    if not text.startswith('"'):
        return text
    # An escape that has no meaning stays as it is, as in Alertmanager: patterns are full of them.
    known = {"n": "\n", '"': '"', "\\": "\\"}
    return _ESCAPE.sub(lambda found: known.get(found[1], found[0]), text[1:-1])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
