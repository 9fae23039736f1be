"""Whether an answer is whole. Every relative of Prometheus has a mark of its own for one that is not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

__all__ = ["Marks", "incomplete", "notes_of"]

# VictoriaMetrics has a field, M3 a header, Thanos a warning; proxies have headers of their own.
_MARK = re.compile(r"partial|incomplete|truncated|results?-?limited", re.I)
_FALSE = frozenset({"", "0", "false", "no", "none", "null"})
_PARTIAL_CONTENT = 206
# Remarks on the expression, and how Prometheus says that there are more of them than it lists.
_ON_THE_EXPRESSION = re.compile(r"PromQL (?:info|warning)\b|\d+ more (?:info|warning) annotations omitted")


class Marks(Struct, kw_only=True):
    """The fields of an answer, in any dialect, that may say that it is not whole."""

    warnings: list[str] | None = None
    isPartial: object = None  # noqa: N815 - VictoriaMetrics' name. Those below are of proxies.
    partial: object = None
    incomplete: object = None
    truncated: object = None

    def notes(self) -> tuple[str, ...]:
        """Return the warnings; every other mark is one more."""
        names = ("isPartial", "partial", "incomplete", "truncated")
        marks = [f"the answer is marked as incomplete ({name})" for name in names if _is_set(getattr(self, name))]
        return (*(self.warnings or ()), *marks)


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
