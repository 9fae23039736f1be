"""The page on which an expression is tried, and the reading of its form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import yaml

from exporter.alerting.budget import AlertBudget
from exporter.settings import parse_duration
from exporter.web.pages.explore_models import ExploreForm, ExplorePage
from exporter.web.pages.models import DisplayError, Viewer
from exporter.web.pages.rendering import TEMPLATES

__all__ = ["explore_page", "read_form"]

_DIRECTIONS = ("both", "above", "below")
_DAYS = (1, 3, 7, 14)
_LONGEST = 4000


def read_form(parameters: Mapping[str, str]) -> ExploreForm:
    """Read the parameters of a request.

    Raises
    ------
    DisplayError
        One of them makes no sense.
    """
    text = {name: value.strip()[:_LONGEST] for name, value in parameters.items()}

    def number(name: str) -> float | None:
        return float(text[name]) if text.get(name) else None

    try:
        waits = text.get("for") or "5m"
        parse_duration(waits)
        if text.get("budget"):
            AlertBudget.parse(text["budget"])
        quorum, days = int(text.get("quorum") or 0), int(text.get("days") or 7)
        deviation, relative = number("min_deviation"), number("min_relative_deviation")
    except ValueError as error:
        raise DisplayError(f"not a setting: {error}", 400) from None
    if days not in _DAYS:
        raise DisplayError(f"days: one of {', '.join(map(str, _DAYS))}", 400)
    detectors = tuple(part.strip() for part in text.get("detectors", "").split(",") if part.strip())
    return ExploreForm(
        expr=text.get("expr", ""),
        direction=text.get("direction") or "both",
        detectors=detectors,
        quorum=quorum or None,
        min_deviation=deviation,
        min_relative_deviation=relative,
        for_=waits,
        days=days,
        series=text.get("series", ""),
        budget=text.get("budget", ""),
    )


def explore_page(page: ExplorePage, viewer: Viewer) -> str:
    """Return the HTML."""
    return TEMPLATES.render(
        "explore.html",
        page=page,
        form=page.form,
        viewer=viewer,
        assets=viewer.assets,
        directions=_DIRECTIONS,
        days=_DAYS,
        address=_address(page.form),
        yaml=_as_yaml(page.form) if page.trial else "",
        budget=_budget(page),
    )


def _budget(page: ExplorePage) -> str:
    """Compare the alerts of the trial with the budget; empty without one."""
    if not page.form.budget or page.trial is None:
        return ""
    budget = AlertBudget.parse(page.form.budget)
    rate = len(page.trial.alerts) / page.form.days * budget.seconds / 86400.0
    return (
        f"At the default threshold this series alone has {rate:.1f} alerts a {budget.period}; a budget of {budget} is "
        "for all series of the query together, and sets the threshold by their history."
    )


def _address(form: ExploreForm) -> str:
    """Return the parameters of the form."""
    parameters = {
        "expr": form.expr,
        "direction": form.direction,
        "detectors": ",".join(form.detectors),
        "quorum": form.quorum,
        "min_deviation": form.min_deviation,
        "min_relative_deviation": form.min_relative_deviation,
        "for": form.for_,
        "days": form.days,
        "series": form.series,
        "budget": form.budget,
    }
    return urlencode({name: value for name, value in parameters.items() if value})


def _as_yaml(form: ExploreForm) -> str:
    """Return the query as YAML for the configuration."""
    entry: dict[str, Any] = {"name": "NAME", "expr": form.expr, "direction": form.direction}
    entry |= {name: getattr(form, name) for name in ("min_deviation", "min_relative_deviation") if getattr(form, name)}
    detection: dict[str, Any] = {"detectors": list(form.detectors)} if form.detectors else {}
    detection |= {"quorum": form.quorum} if form.quorum else {}
    entry |= {"detection": detection} if detection else {}
    entry["alert"] = {"for": form.for_} | ({"budget": form.budget} if form.budget else {})
    text: str = yaml.safe_dump({"queries": [entry]}, sort_keys=False, allow_unicode=True)
    return text
