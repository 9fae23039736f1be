"""Tables and sentences of a report, shared by text and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from exporter.alerting.explanation.formatting import format_span
from exporter.backtest.incidents import IncidentMatch
from exporter.backtest.recorder import RecordedAlert
from exporter.backtest.report import BacktestReport, ConfigReport, QueryReport, length, series_text

__all__ = ["Table", "alert_row", "only_in", "heading", "incident_table", "notes", "query_table", "verdicts"]

_YOUNG = 0.01
_FEW = 5
"""Incidents up to which unchanged ones are listed, too."""
_NONE = "-"
_WARNINGS = 3
"""Warnings of a query that are listed."""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; `sides` says where each column is aligned, `l` or `r`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    sides: str


def heading(report: BacktestReport) -> str:
    """Return what was replayed."""
    within, zone = report.within, report.zone
    files = report.new.config if report.old is None else f"{report.new.config} (new) against {report.old.config} (old)"
    return f"Backtest of {files}: {when(within.start, zone)} to {when(within.end, zone)} {zone}, {_length(report)}"


def _length(report: BacktestReport) -> str:
    return format_span(report.within.end - report.within.start)


def when(at: float, zone: str) -> str:
    """Write an instant by the wall clock of a zone."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def query_table(report: BacktestReport) -> Table:
    """Return the numbers of every query; with two configurations, the old number follows the new one in brackets."""
    head = ["query", "series", "samples", "anomalous", "alerts", "a week", "mean", "longest"]
    old = {} if report.old is None else {query.name: query for query in report.old.counted}
    new = {query.name: query for query in report.new.counted}
    names = dict.fromkeys([*new, *old])
    rows = []
    for name in names:
        cells = _cells(new.get(name))
        if report.old is not None:
            cells = [
                cell if cell == before else f"{cell} ({before})"
                for cell, before in zip(cells, _cells(old.get(name)), strict=True)
            ]
        rows.append([name, *cells])
    return Table(head, rows, "lrrrrrrr")


def _cells(query: QueryReport | None) -> list[str]:
    if query is None:
        return [_NONE] * 7
    share = _NONE if query.anomalous is None else f"{100 * query.anomalous:.2f} %"
    return [
        _NONE if query.series is None else str(query.series),
        _NONE if query.samples is None else str(query.samples),
        share,
        str(query.alerts),
        f"{query.per_week:.1f}",
        _span(query.mean),
        _span(query.longest),
    ]


def _span(seconds: float | None) -> str:
    return _NONE if seconds is None else format_span(seconds)


def alert_row(alert: RecordedAlert, report: BacktestReport) -> list[str]:
    """Return the cells of an alert: when, how long, which query, which series."""
    begin = alert.fired_at if alert.notified_at is None else alert.notified_at
    lasted = format_span(length(alert, report.within)) + (" +" if alert.resolved_at is None else "")
    marks = [text for text, here in (("silenced", alert.notified_at is None), ("effect", alert.is_effect)) if here]
    more = f" ({', '.join(marks)})" if marks else ""
    return [when(begin, report.zone), lasted, alert.name, (series_text(alert.labels) or "(no labels)") + more]


def only_in(result: ConfigReport, other: ConfigReport | None) -> list[RecordedAlert]:
    """Return the notified alerts that the other result does not have: none of the same labels at the same time."""
    if other is None:
        return list(result.notified)
    return [alert for alert in result.notified if not any(_is_same(alert, candidate) for candidate in other.notified)]


def _is_same(alert: RecordedAlert, other: RecordedAlert) -> bool:
    infinite = float("inf")
    return (
        alert.fingerprint == other.fingerprint
        and alert.fired_at <= (other.resolved_at or infinite)
        and other.fired_at <= (alert.resolved_at or infinite)
    )


def incident_table(report: BacktestReport) -> Table:
    """Return the incidents with their first alert."""
    head = ["incident", "length", "name", "lead", "found by"]
    if report.old is None:
        rows = [[*_incident(met, report), lead(met), _first_alert(met)] for met in report.new.met]
        return Table(head, rows, "llrrl".replace("rr", "lr"))
    pairs = zip(report.new.met, report.old.met, strict=True)
    rows = [[*_incident(met, report), lead(met), lead(before), _first_alert(met)] for met, before in pairs]
    return Table([*head[:3], "lead, new", "lead, old", "found by"], rows, "lllrrl")


def _incident(met: IncidentMatch, report: BacktestReport) -> list[str]:
    incident = met.incident
    name = incident.name or incident.query or _NONE
    return [when(incident.start, report.zone), format_span(incident.end - incident.start), name]


def lead(met: IncidentMatch) -> str:
    """Write a lead time."""
    if met.lead is None:
        return "missed"
    if met.already_firing:
        return "fired before"
    if abs(met.lead) < 1.0:
        return "at once"
    return f"{format_span(abs(met.lead))} {'early' if met.lead > 0 else 'late'}"


def _first_alert(met: IncidentMatch) -> str:
    if met.alert is None:
        return _NONE
    more = f", {met.others} more" if met.others else ""
    return f"{met.alert.name} {series_text(met.alert.labels)}{more}"


def verdicts(report: BacktestReport) -> Iterator[str]:
    """Yield the conclusions, in sentences."""
    new, old = report.new, report.old
    yield _conclusion(report, new, "" if old is None else "new: ")
    if old is not None:
        yield _conclusion(report, old, "old: ")
        yield _difference(len(new.notified), len(old.notified))
        for met, before in zip(new.met, old.met, strict=True):
            name = met.incident.name or when(met.incident.start, report.zone)
            if (
                met.lead is not None
                and before.lead is not None
                and not met.already_firing
                and not before.already_firing
            ):
                gained = met.lead - before.lead
                how = "earlier" if gained > 0 else "later"
                if abs(gained) >= 1.0:
                    yield f"{name}: told {format_span(abs(gained))} {how} by the new one."
                elif len(new.met) <= _FEW:
                    yield f"{name}: told at the same time by both."
            elif (met.alert is None) != (before.alert is None):
                yield f"{name}: found by the {'old' if met.alert is None else 'new'} one only."
    for text in report.broken:
        yield f"LIMIT BROKEN: {text}"


def _difference(new: int, old: int) -> str:
    if new == old:
        return "Both tell as many alerts."
    how = "more" if new > old else "fewer"
    return f"The new configuration tells {_count(abs(new - old), 'alert')} {how} than the old one."


def _conclusion(report: BacktestReport, result: ConfigReport, begin: str) -> str:
    total = len(result.notified)
    weekly = sum(query.per_week for query in result.counted)
    text = f"{begin}{_count(total, 'alert')} in {_length(report)}, {weekly:.1f} a week."
    if not result.met:
        return text
    matched = len(result.met) - result.missed
    text += f" Found {matched} of {_count(len(result.met), 'incident')}"
    if result.lead is not None:
        text += f", by median {format_span(abs(result.lead))} {'before' if result.lead > 0 else 'after'} the beginning"
    text += "."
    if result.precision is not None:
        percent = 100 * result.precision
        text += f" {result.useless} of {_count(total, 'alert')} met no incident (precision {percent:.0f} %)."
    return text


def notes(report: BacktestReport) -> Iterator[str]:
    """Yield what limits the numbers."""
    if report.old is not None:
        yield "Figures in brackets are those of the old configuration, where they differ."
    for result in (report.new, report.old):
        if result is None:
            continue
        begin = "" if report.old is None else f"{'new' if result is report.new else 'old'}: "
        for counted in result.counted:
            if counted.samples == 0:
                yield f"{begin}{counted.name}: no samples in this range; is the expression right?"
            elif counted.empty and counted.slots:
                share = 100 * counted.empty / counted.slots
                why = "see the warnings" if counted.name in result.warnings else "Prometheus has none there"
                slots = f"{counted.empty} of {counted.slots} slots ({share:.1f} %)"
                yield f"{begin}{counted.name}: {slots} had no sample that could be read: {why}."
            if counted.young is not None and counted.young > _YOUNG:
                share = 100 * counted.young
                yield (
                    f"{begin}{counted.name}: {share:.0f} % of the samples are of series too young to alert "
                    "(baseline.min_history): Prometheus has too little history before them."
                )
            if counted.silenced:
                yield f"{begin}{counted.name}: {_count(counted.silenced, 'alert')} more under silences of the calendar."
            if counted.effects:
                yield (
                    f"{begin}{counted.name}: {counted.effects} of its alerts follow from others "
                    '(incident_role="effect"), and are not told where Alertmanager inhibits them.'
                )
        if result.suppressed:
            yield f"{begin}{result.suppressed} times an alert was held back because of alerting.max_alerts."
        for name, texts in result.warnings.items():
            for text in texts[:_WARNINGS]:
                yield f"{begin}{name}: warning: {text}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
