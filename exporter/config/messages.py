"""Diagnostics, and the errors of pydantic as plain sentences.

A sentence repeats the value that was typed, but never that of a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import ErrorDetails

from exporter.settings import format_duration, parse_duration
from exporter.yaml_reader import Loc

__all__ = ["Diagnostic", "SectionFields", "closest", "duplicates", "sentence"]

_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")
_SHOWN = 60
"""Characters of a value that are repeated."""

_KINDS: Mapping[str, str] = {
    "string_type": "must be text",
    "string_sub_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of a sensible size",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of fields to values",
    "model_attributes_type": "must be a mapping of fields to values",
    "path_type": "must be the name of a file",
    "byte_size": "must be a size, such as 64MiB",
    "byte_size_unit": "must be a size in B, KiB, MiB, GiB, KB, MB or GB, such as 64MiB",
    "finite_number": "must be a finite number",
}


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A message about a location of the file; a warning where the file can be used all the same.

    `item` is the location of another item of a list, whose path the message begins with.
    """

    loc: Loc
    message: str
    warning: bool = False
    at_key: bool = False
    item: Loc = ()


@dataclass(frozen=True, slots=True)
class SectionFields:
    """The fields of a section, and by field name the sub-sections that have such a field; for "did you mean"."""

    fields: tuple[str, ...] = ()
    below: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def duplicates(named: Iterable[tuple[Loc, str]], message: Callable[[str], str]) -> Iterator[Diagnostic]:
    """Yield a diagnostic for every name that an earlier item has; `message` gets the path of that item."""
    first: dict[str, Loc] = {}
    for loc, name in named:
        if name in first:
            section, index = first[name][:2]
            yield Diagnostic(loc, message(f"{section}[{index}]"), item=(section, index))
        else:
            first[name] = loc


def sentence(error: ErrorDetails, value: object, written: str | None, *, section: SectionFields, secret: bool) -> str:
    """Return an error as a sentence.

    Parameters
    ----------
    error : ErrorDetails
        Of pydantic, without input.
    value : object
        The value in the file.
    written : str or None
        Its source text, where YAML reads something else than text.
    section : SectionFields
        The section of the field.
    secret : bool
        Whether the value must not be repeated.
    """
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "this field is required"
    if kind == "extra_forbidden":
        return _unknown(str(error["loc"][-1]), section)
    if kind == "value_error":
        return str(context["error"])
    if kind == "union_tag_invalid":
        expected = str(context["expected_tags"]).replace("'", "").split(", ")
        tag = str(context["tag"])
        return f"must be one of {', '.join(expected)}; got {tag[:_SHOWN]!r}{closest(tag, expected)}"
    if kind == "union_tag_not_found":
        return f"the field {str(context['discriminator']).strip(chr(39))!r} is required"
    if kind == "literal_error":
        expected = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
        hint = closest(value, expected) if isinstance(value, str) else ""
        return f"must be {context['expected']}{_got(value, written, secret=secret)}{hint}"
    if kind in _KINDS:
        advice = ", so put it in quotes" if kind == "string_type" and written and not secret else ""
        if kind in ("int_type", "float_type") and isinstance(value, str) and _EXPONENT.fullmatch(value):
            advice = f"; YAML 1.1 reads {value} as text, so write it out, or with a point and a sign: 1.5e+3"
        return _KINDS[kind] + _got(value, written, secret=secret) + advice
    return _bound(kind, context, value) or error["msg"]


def closest(name: str, candidates: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest of `candidates`, or nothing.

    >>> closest("quorom", ["quorum", "detectors"])
    "; did you mean 'quorum'?"
    """
    near = difflib.get_close_matches(name.lower(), list(candidates), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _unknown(name: str, section: SectionFields) -> str:
    if name in section.below:
        return f"unknown field here; it belongs under {' or '.join(section.below[name])}"
    return f"unknown field{closest(name, section.fields)}"


def _bound(kind: str, context: Mapping[str, Any], value: object) -> str | None:
    bounds = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
    words = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
    if kind in bounds:
        name = bounds[kind]
        return f"must be {words[name]} {_limit(context[name], value)}"
    if kind in ("too_short", "string_too_short"):
        return "must not be empty" if context["min_length"] == 1 else f"needs at least {context['min_length']}"
    if kind in ("too_long", "string_too_long"):
        return f"has more than {context['max_length']}"
    return None


def _limit(limit: float, value: object) -> str:
    """Write a bound as the value was written: a duration for a duration."""
    try:
        parse_duration(value)
    except ValueError:
        return str(limit) if isinstance(limit, int) else f"{limit:g}"
    return format_duration(limit)


def _got(value: object, written: str | None, *, secret: bool) -> str:
    if value is None:
        return "; it is empty"
    if isinstance(value, dict):
        return "; got a mapping"
    if isinstance(value, list):
        return "; got a list"
    if secret:
        return "; put it in quotes"
    if isinstance(value, bool):
        return f"; YAML reads {written} as a boolean"
    if isinstance(value, (int, float)):
        return f"; got the number {written}"
    shown = str(value)
    return f"; got the text {shown[:_SHOWN]!r}{'...' if len(shown) > _SHOWN else ''}"
