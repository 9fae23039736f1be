"""What was found for each query, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np

from exporter.settings import format_duration
from exporter.tune.search import Outcome, Tuned
from exporter.tune.tried_settings import TriedSettings

__all__ = ["as_text", "changes"]


def changes(tuned: Tuned) -> dict[str, tuple[str, str]]:
    """Return the fields that differ, with their values before and after, as they are written in a configuration."""
    names = (field.name for field in fields(TriedSettings))
    pairs = ((name, getattr(tuned.before, name), getattr(tuned.after, name)) for name in names)
    return {name: (_written(name, old), _written(name, new)) for name, old, new in pairs if old != new}


def as_text(results: Sequence[Tuned]) -> str:
    """Return a paragraph for each query."""
    return "\n".join("\n".join(_lines(tuned)) for tuned in results) + "\n"


def _lines(tuned: Tuned) -> Iterator[str]:
    name, different = tuned.plan.name, changes(tuned)
    if not different:
        yield f"{name}: no change; {_sentence(tuned.unseen[0])}"
        if not tuned.searched[0].leads and tuned.searched[0].incidents:
            yield f"  none of {tuned.searched[0].incidents} incidents raised an alert in the weeks that were searched"
        return
    what = ", ".join(f"{field.rstrip('_')}: {old} -> {new}" for field, (old, new) in different.items())
    yield f"{name}: {what}"
    yield f"  before: {_sentence(tuned.unseen[0])}"
    yield f"  after:  {_sentence(tuned.unseen[1])}"
    before, after = (len(outcome.leads) for outcome in tuned.unseen)
    if after < before:
        yield f"  {before - after} of the incidents that the search had not seen would be missed"
    seen = tuned.searched
    yield f"  chosen on {seen[0].weeks:.1f} weeks before: {seen[0].alerts} -> {seen[1].alerts} alerts"


def _sentence(outcome: Outcome) -> str:
    low, high = outcome.interval if outcome.weeks else (0.0, 0.0)
    alerts = f"{outcome.a_week:.1f} alerts a week ({low:.1f} to {high:.1f}) in {outcome.weeks:.1f} unseen weeks"
    if not outcome.incidents:
        return alerts
    incidents = f"{len(outcome.leads)} of {outcome.incidents} incidents"
    if not outcome.leads:
        return f"{alerts}, {incidents}"
    lead = float(np.median(outcome.leads))
    when = "before" if lead >= 0.0 else "after"
    return f"{alerts}, {incidents}, {format_duration(abs(round(lead)))} {when} they began (median)"


def _written(name: str, value: object) -> str:
    return format_duration(value) if name == "for_" and isinstance(value, float) else f"{value}"
