"""The text of a drill-down: which label values carry the change of an aggregate, and what is left without them."""

from __future__ import annotations

from collections.abc import Mapping

from exporter.alerting.explanation.formatting import Unit, format_numbers
from exporter.alerting.explanation.why_input import CarriedChange, DrillDownInput

__all__ = ["drill_down"]

_BALANCED = 0.2
"""Share of what moved by which the whole changes at least; below it, some went to others."""


def drill_down(source: DrillDownInput) -> str:
    """Return a line for each set of label values that carries the change, and one for the rest.

    >>> canary = CarriedChange({"version": "1.4.2"}, -31.0, 34.0, 3.0)
    >>> print(drill_down(DrillDownInput(("version",), 8, (canary,), -34.0, 35.0, 34.0, "per_second")))
    version=1.4.2 carries 91 % of the change: 3/s of the 34/s expected
    without it 34/s of the 35/s expected
    >>> bad = CarriedChange({"version": "1.4.2"}, 12.0, 0.005, 0.12)
    >>> print(drill_down(DrillDownInput(("version",), 8, (bad,), 12.5, 0.005, 0.006, "ratio", ratio=True)))
    version=1.4.2 carries 96 % of the change: 12 % instead of 0.5 %
    without it 0.6 % instead of 0.5 %
    >>> drill_down(DrillDownInput(("version", "zone"), 8))
    'no value of version or zone carries the change: it is spread over 8 combinations'
    """
    if source.failed:
        return f"not known: {source.failed}"
    if not source.carriers:
        names = " or ".join(source.labels)
        return f"no value of {names} carries the change: it is spread over {source.leaves} combinations"
    moved = sum(abs(carrier.change) for carrier in source.carriers)
    whole = source.change if abs(source.change) >= _BALANCED * moved else None
    lines = [_line(carrier, whole, source) for carrier in source.carriers]
    rest = _compared(source.rest_now, source.rest_before, source.unit, ratio=source.ratio)
    return "\n".join([*lines, f"without {'it' if len(lines) == 1 else 'them'} {rest}"])


def _line(carrier: CarriedChange, whole: float | None, source: DrillDownInput) -> str:
    text = _compared(carrier.now, carrier.before, source.unit, ratio=source.ratio)
    share = "" if whole is None else f" carries {100 * carrier.change / whole:.0f} % of the change"
    return f"{_named(carrier.values)}{share}: {text}"


def _named(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" if value else f"without {name}" for name, value in values.items())


def _compared(now: float, before: float, unit: Unit | None, *, ratio: bool) -> str:
    texts = format_numbers([now, before], unit)
    return f"{texts[0]} instead of {texts[1]}" if ratio else f"{texts[0]} of the {texts[1]} expected"
