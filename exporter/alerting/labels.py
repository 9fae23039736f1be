"""The labels of an alert, and what an Alertmanager would refuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exporter.alerting.alert import Alert, AlertState
from exporter.alerting.identity import Kind, clean_value, series_identity
from exporter.alerting.limits import bounded, is_name, valid_text
from exporter.alerting.settings import AlertSettings

__all__ = ["alert_labels", "former_alert_labels", "validate"]

_FORMER_LIMIT = 2048


def alert_labels(
    series: Iterable[tuple[str, str]],
    name: str,
    settings: AlertSettings,
    external_labels: Mapping[str, str],
    *,
    kind: Kind = "query",
    storm: str = "",
    with_metric: bool = False,
) -> dict[str, str]:
    """Return the labels of the alert of a series, of an entity of a group, or of a storm.

    Parameters
    ----------
    series : iterable of (name, value)
        Labels as the source gave them; they enter as `series_identity` has them.
    name : str
        Of the query or the group.
    settings : AlertSettings
        Its `labels` win over those of the series; an empty one removes the label of the series.
    external_labels : mapping
        Added where no such label is.
    kind : "query" or "group"
        What `name` is the name of, and the label that has it.
    storm : str
        Which storm it is; empty for everything else.
    with_metric : bool
        As of `series_identity`.

    Returns
    -------
    dict
        Sorted by name; names of any form, no value empty or longer than 2 KiB. See `plain_labels`.

    Examples
    --------
    >>> alert_labels([("__name__", "up"), ("query", "x")], "cpu", AlertSettings(), {"cluster": "a"})
    {'alertname': 'AnomalyDetected', 'cluster': 'a', 'exported_query': 'x', 'query': 'cpu'}
    """
    labels = dict(series_identity(series, kind, with_metric=with_metric))
    configured = {**settings.labels, "alertname": settings.alertname, kind: name, "storm": storm}
    labels |= {name: clean_value(value) for name, value in configured.items()}
    for external, value in external_labels.items():
        if not labels.get(external):
            labels[external] = clean_value(value)
    return dict(sorted((name, value) for name, value in labels.items() if value))


def former_alert_labels(
    series: Iterable[tuple[str, str]],
    name: str,
    settings: AlertSettings,
    external_labels: Mapping[str, str],
    kind: Kind,
) -> dict[str, str]:
    """Return the labels that versions up to 0.1 gave to the alert of a series: an open alert keeps them."""
    own = {"alertname": settings.alertname, kind: name, "storm": "", "incident": "", "incident_role": ""}
    pairs = {name: value for name, value in series if value and not name.startswith("__")}
    labels: dict[str, str] = {}
    for label, value in pairs.items():
        free = label
        while free in own or (free != label and (free in pairs or free in settings.labels)):
            free = "exported_" + free
        labels[free] = value
    labels |= settings.labels | own
    labels = {name: value for name, value in labels.items() if value}
    labels |= {name: value for name, value in external_labels.items() if name not in labels}
    return {name: bounded(value, _FORMER_LIMIT) for name, value in labels.items() if is_name(name, utf8=False)}


def validate(alert: Alert) -> tuple[str, ...]:
    """Return why an Alertmanager would refuse this alert; empty if it would take it.

    Label names of any form are sent as it takes them.
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
            if not is_name(name, utf8=kind == "label"):
                faults.append(f"invalid {kind} name {name!r}")
            if not valid_text(value):
                faults.append(f"the value of {kind} {name!r} is not valid UTF-8")
    return tuple(faults)
