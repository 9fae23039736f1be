"""Incidents, from a file or from past alerts of Prometheus, matched with the alerts of a replay."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TextIO

import numpy as np

from exporter.backtest.recorder import RecordedAlert
from exporter.engine.series import labels_of
from exporter.errors import UsageError
from exporter.prometheus import PrometheusApi
from exporter.web.pages.urls import parse_instant

__all__ = ["Incident", "IncidentMatch", "match", "past_alerts", "read_incidents"]

_STEP, _TIMEOUT = 60.0, 120.0
"""Seconds: how finely past alerts are read, and how long one request may take."""
_JOINED = 300.0
"""Seconds between two alerts of the same name that still belong to the same incident."""
_MANY = 100
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that should have been notified, from `start` to `end`, Unix seconds.

    Attributes
    ----------
    name : str
        May be empty.
    query : str
        Only alerts of this query can match it; empty: all can.
    labels : mapping
        An alert with another value of one of these labels does not match.
    """

    start: float
    end: float
    name: str = ""
    query: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def is_met_by(self, alert: RecordedAlert) -> bool:
        """Return whether an alert matches by its query and labels, at any time."""
        own = alert.labels
        return self.query in ("", own.get("query", "")) and all(
            own.get(name, value) == value for name, value in self.labels.items()
        )


@dataclass(frozen=True, slots=True)
class IncidentMatch:
    """The alerts that match an incident.

    Attributes
    ----------
    alert : RecordedAlert or None
        The first that was notified; None: the incident was missed.
    others : int
        How many more there were.
    lead : float or None, seconds
        From the alert to the beginning of the incident; negative where it came late.
    already_firing : bool
        The alert fired before it could count as a warning, so nobody may have related it to the incident.
    """

    incident: Incident
    alert: RecordedAlert | None = None
    others: int = 0
    lead: float | None = None
    already_firing: bool = False


def match(
    incidents: Sequence[Incident], alerts: Sequence[RecordedAlert], *, ahead: float, end: float
) -> list[IncidentMatch]:
    """Return the match of each incident.

    Parameters
    ----------
    alerts : sequence of ToldAlert
        Those that were not notified are left out.
    ahead : float, seconds
        How long before an incident an alert counts as a warning of it.
    end : float, Unix seconds
        The end of the replay.
    """
    matches = []
    for incident in incidents:
        begin = incident.start - ahead
        near = [
            (alert.notified_at, number, alert)
            for number, alert in enumerate(alerts)
            if alert.notified_at is not None
            and alert.notified_at <= incident.end
            and (end if alert.resolved_at is None else alert.resolved_at) >= begin
            and incident.is_met_by(alert)
        ]
        # An alert that fires for days matches incidents that begin meanwhile only if no other alert does.
        near.sort(key=lambda entry: (entry[0] < begin, entry[0]))
        if near:
            notified, _, alert = near[0]
            matches.append(IncidentMatch(incident, alert, len(near) - 1, incident.start - notified, notified < begin))
        else:
            matches.append(IncidentMatch(incident))
    return matches


def read_incidents(file: Path) -> list[Incident]:
    """Read a CSV file with the columns start and end, optionally name, query, and one per label.

    Raises
    ------
    UsageError
        It cannot be used; says every line that is wrong.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = list(_rows(text))
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(f"{file}: {getattr(fault, 'strerror', None) or fault}") from None
    except csv.Error as fault:
        raise UsageError(f"{file}: not CSV: {fault}") from None
    if not rows:
        raise UsageError(f"{file}:1: no header: the first line names the columns, start and end at least")
    (line, header), *others = rows
    header = [name.strip() for name in header]
    wrong = [f"{file}:{line}: no column {name!r}" for name in ("start", "end") if name not in header]
    twice = {name for name in header if header.count(name) > 1}
    wrong += [f"{file}:{line}: two columns {name!r}" for name in sorted(twice)]
    if wrong:
        raise UsageError("\n".join(wrong))
    incidents = []
    for line, row in others:
        try:
            incidents.append(_incident(header, row))
        except ValueError as fault:
            wrong.append(f"{file}:{line}: {fault}")
    if len(wrong) > _SHOWN:
        wrong = [*wrong[:_SHOWN], f"{file}: and {len(wrong) - _SHOWN} lines more"]
    if wrong:
        raise UsageError("\n".join(wrong))
    return sorted(incidents, key=lambda incident: incident.start)


def _rows(text: TextIO) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text, strict=True)
    for row in reader:
        if any(cell.strip() for cell in row) and not row[0].lstrip().startswith("#"):
            yield reader.line_num, row


def _incident(header: Sequence[str], row: Sequence[str]) -> Incident:
    if len(row) != len(header):
        raise ValueError(f"{len(row)} cells, and {len(header)} columns")
    cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    start, end = _instant("start", cells.pop("start")), _instant("end", cells.pop("end"))
    if end < start:
        raise ValueError("it ends before it starts")
    name, query = cells.pop("name", ""), cells.pop("query", "")
    return Incident(start, end, name, query, {label: value for label, value in cells.items() if value})


def _instant(name: str, text: str) -> float:
    try:
        at = math.nan if text.startswith("now") else parse_instant(text, 0.0)
    except ValueError:
        at = math.nan
    if not math.isfinite(at):
        raise ValueError(f"{name}: not a time: {text[:60]!r}; write 2026-03-01T09:00:00Z or Unix seconds")
    return at


def past_alerts(api: PrometheusApi, matchers: str, start: float, end: float) -> list[Incident]:
    """Return when alerts of Prometheus fired; those of one name that touch are one incident.

    Parameters
    ----------
    matchers : str
        Such as ``{alertname=~"Api.*"}``.

    Raises
    ------
    PrometheusError
    """
    inner = matchers.strip().removeprefix("ALERTS").strip().removeprefix("{").removesuffix("}").strip().rstrip(",")
    expr = f'ALERTS{{alertstate="firing"{"," if inner else ""}{inner}}}'
    spans: dict[str, list[tuple[float, float]]] = {}
    running: dict[tuple[str, bytes], list[float]] = {}
    for block in api.history(expr, start, end, _STEP, timeout=_TIMEOUT, series=_MANY):
        for column, key in enumerate(block.keys):
            name = dict(labels_of(key)).get("alertname", "")
            times = block.times[np.flatnonzero(~np.isnan(block.values[:, column]))]
            running.setdefault((name, key), []).extend(times.tolist())
    for (name, _), instants in running.items():
        begin = instants[0] if instants else 0.0
        for at, after in pairwise([*instants, math.inf]):
            if after - at > _JOINED:
                spans.setdefault(name, []).append((begin, at))
                begin = after
    incidents = [Incident(begin, until, name) for name, own in spans.items() for begin, until in _joined(own)]
    return sorted(incidents, key=lambda incident: (incident.start, incident.name))


def _joined(spans: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(spans):
        if joined and begin - joined[-1][1] <= _JOINED:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((begin, end))
    return joined
