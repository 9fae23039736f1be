"""The labels of an alert, and what an Alertmanager would refuse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from exporter.alerting.alert import Alert, AlertState
from exporter.alerting.limits import MAX_LABEL, bounded, is_name, valid_text
from exporter.alerting.settings import AlertSettings

__all__ = ["alert_labels", "validate"]


def alert_labels(
    series_labels: Mapping[str, str],
    query: str,
    settings: AlertSettings,
    external_labels: Mapping[str, str],
    *,
    utf8: bool = False,
    kind: Literal["query", "group"] = "query",
    storm: str = "",
) -> dict[str, str]:
    """Return the identity of the alert of a series, of an entity of a group, or of a storm.

    Parameters
    ----------
    series_labels : mapping
        As the source gave them. ``__name__`` and other names that start with ``__`` are left out; ``alertname``,
        ``query`` and other names that the exporter uses become ``exported_<name>``.
    query : str
        Name of the query.
    settings : AlertSettings
        Its `labels` win over those of the series; an empty one removes the label of the series.
    external_labels : mapping
        Added where no such label is.
    utf8 : bool
        Keep names outside ``[a-zA-Z_][a-zA-Z0-9_]*``; only if every Alertmanager takes them.
    kind : "query" or "group"
        What `query` is the name of, and the label that has it.
    storm : str
        Which storm it is; empty for everything else.

    Returns
    -------
    dict
        Sorted by name; no value is empty or longer than 2 KiB, all of it is valid UTF-8.

    Examples
    --------
    >>> alert_labels({"__name__": "up", "query": "x"}, "cpu", AlertSettings(), {"cluster": "a"})
    {'alertname': 'AnomalyDetected', 'cluster': 'a', 'exported_query': 'x', 'query': 'cpu'}
    """
    own = {"alertname": settings.alertname, kind: query}
    # Empty where it is not set: no series can look as if it had been.
    own |= {"storm": storm, "incident": "", "incident_role": ""}
    series = {name: value for name, value in series_labels.items() if value and not name.startswith("__")}
    labels: dict[str, str] = {}
    for name, value in series.items():
        free = name
        # As Prometheus does on a scrape: again and again, until nothing else has the name.
        while free in own or (free != name and (free in series or free in settings.labels)):
            free = "exported_" + free
        labels[free] = value
    labels |= settings.labels
    labels |= own
    labels = {name: value for name, value in labels.items() if value}
    labels |= {name: value for name, value in external_labels.items() if name not in labels}
    clean = ((name, bounded(value, MAX_LABEL)) for name, value in labels.items())
    return dict(sorted((name, value) for name, value in clean if value and is_name(name, utf8=utf8)))


def validate(alert: Alert, *, utf8: bool = False) -> tuple[str, ...]:
    """Return why an Alertmanager would refuse this alert; empty if it would take it.

    Parameters
    ----------
    utf8 : bool
        Whether this Alertmanager takes label names outside ``[a-zA-Z_][a-zA-Z0-9_]*``.
    """
    faults = []
    if alert.fired_at is None:
        faults.append("start time missing")
    elif alert.state is AlertState.RESOLVED and alert.resolved_at is not None and alert.resolved_at < alert.fired_at:
        faults.append("start time must be before end time")
    labels = {name: value for name, value in alert.labels.items() if value}
    if not labels:
        faults.append("at least one label pair required")
    for kind, pairs in (("label", labels), ("annotation", alert.annotations)):
        for name, value in pairs.items():
            if not is_name(name, utf8=utf8):
                faults.append(f"invalid {kind} name {name!r}")
            if not valid_text(value):
                faults.append(f"the value of {kind} {name!r} is not valid UTF-8")
    return tuple(faults)
