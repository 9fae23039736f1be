"""Whether an answer is whole. Every relative of Prometheus has a mark of its own for one that is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

__all__ = ["Marks", "incomplete", "notes_of", "text_of", "texts_of"]

# VictoriaMetrics has a field, M3 a header, Thanos a warning; proxies have headers of their own.
_MARK = re.compile(r"partial|incomplete|truncated|results?-?limited", re.I)
_FALSE = frozenset({"", "0", "false", "no", "none", "null"})
_PARTIAL_CONTENT = 206
# Remarks on the expression, and how Prometheus says that there are more of them than it lists.
_ON_THE_EXPRESSION = re.compile(r"PromQL (?:info|warning)\b|\d+ more (?:info|warning) annotations omitted")


class Marks(Struct, kw_only=True):
    """The fields of an answer, in any dialect, that may say that it is not whole."""

    warnings: object = None
    error: object = None
    isPartial: object = None  # noqa: N815 - VictoriaMetrics' name. Those below are of proxies.
    is_partial: object = None
    partial: object = None
    partialResponse: object = None  # noqa: N815
    partial_response: object = None
    incomplete: object = None
    truncated: object = None

    def notes(self) -> tuple[str, ...]:
        """Return the warnings of an answer that has data; every other mark is one more."""
        marks = [f"the answer is marked as incomplete ({name})" for name in _FIELDS if _is_set(getattr(self, name))]
        errors = [f"the answer has an error beside its data: {text}" for text in texts_of(self.error)]
        return (*texts_of(self.warnings), *marks, *errors)


_FIELDS = ("isPartial", "is_partial", "partial", "partialResponse", "partial_response", "incomplete", "truncated")


def text_of(value: object) -> str:
    """Return a text as it is, and anything else as JSON.

    >>> text_of("store s1 is down"), text_of({"store": 1}), text_of(None)
    ('store s1 is down', '{"store":1}', '')
    """
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def texts_of(value: object) -> tuple[str, ...]:
    """Return the texts of a field that should be a list of texts, and in some dialects is none.

    >>> texts_of(["a", {"b": 1}]), texts_of("a"), texts_of(False), texts_of([])
    (('a', '{"b":1}'), ('a',), (), ())
    """
    if isinstance(value, list):
        return tuple(map(text_of, value))
    return (text_of(value),) if value and _is_set(value) else ()


def notes_of(status: int, headers: Mapping[str, str], marks: Marks) -> tuple[str, ...]:
    """Return the warnings of a response; each other mark that it is not whole is one more."""
    notes = list(marks.notes())
    for name, text in headers.items():
        if name.lower() == "warning":
            notes.append(f"a cache or proxy warns: {text}")
        elif _MARK.search(name) and _is_set(text):
            notes.append(f"the answer is marked as incomplete ({name}: {text})")
    if status == _PARTIAL_CONTENT:
        notes.append("the answer is marked as incomplete (HTTP 206)")
    return tuple(notes)


def incomplete(warnings: Iterable[str]) -> bool:
    """Return whether series may be missing in an answer with these warnings: not all are about that.

    >>> incomplete(["PromQL warning: bucket label is missing"]), incomplete(["store s1 did not answer"])
    (False, True)
    """
    return any(not _ON_THE_EXPRESSION.match(warning) for warning in warnings)


def _is_set(value: object) -> bool:
    return str(value).strip().lower() not in _FALSE
