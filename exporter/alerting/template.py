"""A user's annotation: text with ``{{ name }}`` in it, and nothing else.

There is no expression, no format directive and no second pass: a value is put in as it is, whatever it looks like,
because label values come from anybody who can expose a metric.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["expand"]

_LONGEST_NAME = 80


def expand(template: str, variables: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Replace every ``{{ name }}`` by `variables[name]` and every ``{{ labels.NAME }}`` by that label.

    A label that the alert does not have is an empty text, as in Prometheus. A template that cannot be expanded
    becomes a text that says why, so that the alert is sent all the same.

    >>> expand("{{ observed }} on {{ labels.host }}", {"observed": "7"}, {"host": "{{ observed }}"})
    '7 on {{ observed }}'
    >>> expand("{{ $value }}", {"observed": "7"}, {})
    '<error expanding template: unknown variable "$value"; known: observed, labels.NAME>'
    """
    first, *rest = template.split("{{")
    texts = [first]
    for part in rest:
        inside, closed, literal = part.partition("}}")
        if not closed:
            return "<error expanding template: {{ without }}>"
        name = inside.strip()
        if name.startswith("labels."):
            value = labels.get(name.removeprefix("labels."), "")
        elif name in variables:
            value = variables[name]
        else:
            known = ", ".join([*variables, "labels.NAME"])
            return f'<error expanding template: unknown variable "{name[:_LONGEST_NAME]}"; known: {known}>'
        texts += [value, literal]
    return "".join(texts)
