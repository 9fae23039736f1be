"""A user's annotation: text with ``{{ name }}`` in it, and nothing else.

There is no expression, no format directive and no second pass: a value is put in as it is, whatever it looks like,
because label values come from anybody who can expose a metric.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping

from exporter.alerting.explanation.registry import VARIABLES
from exporter.alerting.identity import plain_labels

__all__ = ["check", "check_names", "expand", "fill"]

_LONGEST_NAME = 80
_OTHER_WAYS = {"$value": "observed", "value": "observed", "$labels": "labels.NAME", "labels": "labels.NAME"}
"""How the templates of Prometheus' own rules say it."""


_INDEXED = re.compile(r"""labels\[(?P<quote>['"])(?P<name>[^'"]+)(?P=quote)\]""")


def _label(name: str) -> str | None:
    """Return the label that ``labels.NAME`` or ``labels['NAME']`` means; None where it is another variable."""
    indexed = _INDEXED.fullmatch(name)
    if indexed is not None:
        return indexed["name"]
    return name.removeprefix("labels.") if name.startswith("labels.") else None


def check(template: str) -> str:
    """Return `template` if it can be expanded.

    Raises
    ------
    ValueError
        With the first thing that is wrong with it.

    >>> check("{{ $labels.instance }}")
    Traceback (most recent call last):
    ValueError: unknown variable '$labels.instance'; did you mean 'labels.instance'?
    """
    for name, _ in _parts(template.split("{{")[1:]):
        if name is None:
            raise ValueError("{{ without }}; a variable is written {{ observed }}")
        if _label(name) or (name.startswith("context.") and not name.endswith(".")):
            continue
        if name not in VARIABLES:
            shown = name[:_LONGEST_NAME]
            raise ValueError(f"unknown variable {shown!r}; {_advice(shown)}")
    return template


def check_names(template: str, names: Collection[str]) -> str:
    """Return a text with ``{{ name }}`` and ``{{ labels.NAME }}`` in it, where it has no other names.

    Raises
    ------
    ValueError
    """
    for name, _ in _parts(template.split("{{")[1:]):
        if name is None:
            raise ValueError("{{ without }}; a variable is written {{ value }}")
        if name not in names and not _label(name):
            listed = ", ".join([*names, "labels.NAME"])
            raise ValueError(f"unknown variable {name[:_LONGEST_NAME]!r}; known are {listed}")
    return template


def fill(template: str, variables: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Expand a template that `check_names` takes."""
    return expand(template, variables, labels)


def expand(template: str, variables: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Replace every ``{{ name }}`` by `variables[name]` and every ``{{ labels.NAME }}`` by that label.

    ``{{ context.NAME }}`` is what was asked when the alert fired. It is empty before, and so is a label that the alert
    does not have, as in Prometheus. A template that cannot be expanded
    becomes a text that says why, so that the alert is sent all the same; `check` finds it in the configuration.

    >>> expand("{{ observed }} on {{ labels.host }}", {"observed": "7"}, {"host": "{{ observed }}"})
    '7 on {{ observed }}'
    >>> expand("{{ labels['service.name'] }}", {}, {"service.name": "cart"})
    'cart'
    >>> expand("{{ $value }}", {"observed": "7"}, {})
    '<error expanding template: unknown variable "$value"; known: observed, labels.NAME>'
    """
    first, *rest = template.split("{{")
    texts = [first]
    for name, literal in _parts(rest):
        if name is None:
            return "<error expanding template: {{ without }}>"
        if (label := _label(name)) is not None:
            value = labels.get(label) or plain_labels(labels).get(label, "")
        elif name.startswith("context."):
            value = variables.get(name.removeprefix("context."), "")
        elif name in variables:
            value = variables[name]
        else:
            names = ", ".join([*variables, "labels.NAME"])
            return f'<error expanding template: unknown variable "{name[:_LONGEST_NAME]}"; known: {names}>'
        texts += [value, literal]
    return "".join(texts)


def _parts(pieces: list[str]) -> Iterator[tuple[str | None, str]]:
    """Yield what follows each ``{{``: the name inside, None where it is not closed, and the text behind it."""
    for piece in pieces:
        inside, closed, literal = piece.partition("}}")
        yield (inside.strip() if closed else None), literal


def _advice(name: str) -> str:
    if name.startswith("$labels."):
        return f"did you mean {name.removeprefix('$')!r}?"
    near = _OTHER_WAYS.get(name) or next(iter(difflib.get_close_matches(name, VARIABLES, n=1)), None)
    return f"did you mean {near!r}?" if near else f"known are {', '.join(VARIABLES)} and labels.NAME"
