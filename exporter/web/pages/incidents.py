"""The pages about anomalies: their list, and one of them with everything that happened."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import urlencode

from exporter.web.pages.graph import FEEDBACK
from exporter.web.pages.incident_models import AnomaliesPage, AnomalyFilter, IncidentPage
from exporter.web.pages.models import Viewer
from exporter.web.pages.rendering import TEMPLATES

__all__ = ["LENGTHS", "STATUSES", "VERDICTS", "anomalies_page", "incident_page"]

STATUSES = (("", "all"), ("open", "open"), ("acknowledged", "acknowledged"), ("resolved", "resolved"))
VERDICTS = (("", "all"), *((value, value) for value, _ in FEEDBACK))
LENGTHS = ((1, "last day"), (7, "last 7 days"), (30, "last 30 days"), (90, "last 90 days"))
_KINDS = {"firing": "bad", "pending": "warn", "acknowledged": "warn", "resolved": "good"}
_ENTRY_KINDS = {**_KINDS, "change": "learning", "silence": "learning", "notification": "", "member": "warn"}


def anomalies_page(page: AnomaliesPage, filters: AnomalyFilter, viewer: Viewer) -> str:
    """Return the HTML."""
    return TEMPLATES.render(
        "anomalies.html",
        page=page,
        filters=filters,
        viewer=viewer,
        assets=viewer.assets,
        statuses=STATUSES,
        verdicts=VERDICTS,
        lengths=LENGTHS,
        first_url=_url(replace(filters, cursor="")),
        next_url=_url(replace(filters, cursor=page.next_cursor)),
    )


def _url(filters: AnomalyFilter) -> str:
    """Return the relative address of a page of the list.

    >>> _url(AnomalyFilter(query="a b", cursor="1.0,x"))
    'anomalies?query=a+b&days=7&cursor=1.0%2Cx'
    """
    parameters = {
        "query": filters.query,
        "status": filters.status,
        "verdict": filters.verdict,
        "text": filters.text,
        "days": str(filters.days),
        "fired": "" if filters.fired else "all",
        "cursor": filters.cursor,
    }
    return f"anomalies?{urlencode({name: value for name, value in parameters.items() if value})}"


def incident_page(page: IncidentPage, viewer: Viewer) -> str:
    """Return the HTML."""
    return TEMPLATES.render(
        "incident.html",
        page=page,
        viewer=viewer,
        assets=viewer.assets,
        feedback=FEEDBACK,
        kinds=_KINDS,
        entry_kinds=_ENTRY_KINDS,
    )
