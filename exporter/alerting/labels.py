"""What an alert may carry: labels, annotations and links that every Alertmanager takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from exporter.alerting.alert import Alert, AlertState
from exporter.alerting.settings import AlertSettings

__all__ = ["alert_labels", "bounded_annotations", "is_link", "validate"]

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
# A tab and a line feed are ordinary in a text that people read.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LINK = re.compile(r"https?://[A-Za-z0-9._~:\[\]-]+(?:[/?#](?:[!$&-;=?-Z_a-z~#\[\]]|%[0-9A-Fa-f]{2})*)?")

_LONGEST_LABEL = 2048
_LONGEST_ANNOTATION = 4096
_LONGEST_LINK = 8192


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
    """Return the identity of the alert of a series, of a thing of a group, or of a storm.

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
    clean = ((name, _bounded(_SURROGATE.sub("\ufffd", value), _LONGEST_LABEL)) for name, value in labels.items())
    return dict(sorted((name, value) for name, value in clean if value and _is_name(name, utf8=utf8)))


def bounded_annotations(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations that can be sent: at most 4 KiB each, valid UTF-8, no control characters.

    What cannot be in any annotation is left out: empty texts, and names outside ``[a-zA-Z_][a-zA-Z0-9_]*``.
    """
    clean = ((name, _bounded(_CONTROL.sub("\ufffd", text), _LONGEST_ANNOTATION)) for name, text in annotations.items())
    return {name: text for name, text in clean if text and _is_name(name, utf8=False)}


def is_link(url: str) -> bool:
    """Return whether Alertmanager takes `url` as a ``generatorURL``: absolute, http or https, at most 8 KiB."""
    return len(url) <= _LONGEST_LINK and _LINK.fullmatch(url) is not None


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
            if not _is_name(name, utf8=utf8):
                faults.append(f"invalid {kind} name {name!r}")
            if _SURROGATE.search(value):
                faults.append(f"the value of {kind} {name!r} is not valid UTF-8")
    return tuple(faults)


def _is_name(name: str, *, utf8: bool) -> bool:
    return _NAME.fullmatch(name) is not None or (utf8 and bool(name) and not _SURROGATE.search(name))


def _bounded(text: str, longest: int) -> str:
    """Cut `text` to at most `longest` bytes of UTF-8, between characters, and show that it was cut."""
    # Counting bytes costs an encoding; almost no text is long enough to need it.
    if len(text) * 4 <= longest:
        return text
    raw = text.encode()
    if len(raw) <= longest:
        return text
    return raw[: longest - 3].decode(errors="ignore") + "\u2026"
