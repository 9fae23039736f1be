"""The page that says what other settings would have made of the alerts of a query."""

from __future__ import annotations

import yaml

from exporter.alerting.explanation.formatting import format_span
from exporter.settings import format_duration
from exporter.web.api.what_if import OtherSettings, WhatIf, WhatIfOutcome
from exporter.web.pages.incident_models import WhatIfPage
from exporter.web.pages.models import Viewer
from exporter.web.pages.rendering import TEMPLATES

__all__ = ["sentence", "what_if_page"]


def what_if_page(page: WhatIfPage, viewer: Viewer) -> str:
    """Return the HTML."""
    outcomes = [
        (named(each.settings), sentence(each), as_yaml(page.result.query, each)) for each in page.result.outcomes
    ]
    return TEMPLATES.render(
        "what_if.html", page=page, outcomes=outcomes, summary=_summary(page.result), viewer=viewer, assets=viewer.assets
    )


def named(settings: OtherSettings) -> str:
    """Write settings as a configuration has them.

    >>> named(OtherSettings(min_deviation=0.05, for_=600.0))
    'min_deviation: 0.05, for: 10m'
    """
    return ", ".join(f"{name}: {value}" for name, value in _fields(settings).items())


def _fields(settings: OtherSettings) -> dict[str, float | int | str]:
    fields: dict[str, float | int | str | None] = {
        "min_deviation": settings.min_deviation,
        "min_relative_deviation": settings.min_relative_deviation,
        "quorum": settings.quorum,
        "for": None if settings.for_ is None else format_duration(settings.for_),
    }
    return {name: value for name, value in fields.items() if value is not None}


def sentence(outcome: WhatIfOutcome) -> str:
    """Say what settings would have made of the alerts."""
    text = f"{outcome.gone} of {outcome.alerts} alerts would not have been"
    if outcome.false_alarms:
        text += f", among them {outcome.false_alarms_gone} of {outcome.false_alarms} false alarms"
    if not outcome.confirmed:
        return f"{text}; none of them was confirmed by anybody."
    kept = outcome.confirmed - outcome.confirmed_gone
    if outcome.confirmed_gone:
        text += f"; {outcome.confirmed_gone} of {outcome.confirmed} confirmed incidents would have been missed"
    elif outcome.confirmed_later_seconds:
        later = format_span(outcome.confirmed_later_seconds)
        text += f"; all {kept} confirmed incidents would have come, the latest {later} later"
    else:
        text += f"; all {kept} confirmed incidents would have come as early"
    return f"{text}."


def as_yaml(query: str, outcome: WhatIfOutcome) -> str:
    """Return the settings as YAML for the configuration."""
    fields = _fields(outcome.settings)
    waits, quorum = fields.pop("for", None), fields.pop("quorum", None)
    entry: dict[str, object] = {"name": query, **fields}
    if quorum is not None:
        entry["detection"] = {"quorum": quorum}
    if waits is not None:
        entry["alert"] = {"for": waits}
    text: str = yaml.safe_dump({"queries": [entry]}, sort_keys=False, allow_unicode=True)
    return text


def _summary(result: WhatIf) -> str:
    if not result.alerts:
        return "No alert of this query fired in the last 30 days."
    text = f"{result.followed} of its {result.alerts} alerts of the last 30 days can be followed sample by sample."
    if result.followed < result.alerts:
        text += " The others are not over, older than the verdicts that are kept, of a series that is gone, or of many."
    return text
