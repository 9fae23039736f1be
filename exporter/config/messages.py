"""What pydantic found wrong, as plain sentences.

Values are never repeated where a secret may stand; elsewhere what was typed helps to find the mistake.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import ErrorDetails

from exporter.settings import format_duration, parse_duration

__all__ = ["Section", "closest", "sentence"]

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
class Section:
    """What may stand beside a field, and in the sections below it; for "did you mean".

    `below` has the names of the sub-sections that know a field.
    """

    fields: tuple[str, ...] = ()
    below: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def sentence(error: ErrorDetails, value: object, written: str | None, *, section: Section, secret: bool) -> str:
    """Say what is wrong.

    Parameters
    ----------
    error : ErrorDetails
        Of pydantic, without input.
    value : object
        What stands there.
    written : str or None
        What was typed, where YAML made something else than text of it.
    section : Section
        The fields around the one concerned.
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


def closest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest of `known`, or nothing.

    >>> closest("quorom", ["quorum", "detectors"])
    "; did you mean 'quorum'?"
    """
    near = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _unknown(name: str, section: Section) -> str:
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
