"""A report in words: tables and sentences that the text and the HTML share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from exporter.alerting.explanation.formatting import format_span
from exporter.backtest.incidents import IncidentMatch
from exporter.backtest.recorder import RecordedAlert
from exporter.backtest.report import BacktestReport, ConfigReport, QueryReport, length, series_text

__all__ = ["Table", "alert_row", "alerts_of_one", "heading", "incident_table", "notes", "query_table", "verdicts"]

_YOUNG = 0.01
_FEW = 5
"""Incidents of which it is said, too, that nothing changes."""
_NONE = "-"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; `sides` says where each column is aligned, `l` or `r`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    sides: str


def heading(report: BacktestReport) -> str:
    """Say what was replayed."""
    within, zone = report.within, report.zone
    files = report.new.config if report.old is None else f"{report.new.config} (new) against {report.old.config} (old)"
    return f"Backtest of {files}: {when(within.start, zone)} to {when(within.end, zone)} {zone}, {_length(report)}"


def _length(report: BacktestReport) -> str:
    return format_span(report.within.end - report.within.start)


def when(at: float, zone: str) -> str:
    """Write an instant by the wall clock of a zone."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def query_table(report: BacktestReport) -> Table:
    """Return the figures of every query; with two configurations, the old figure stands behind the new one."""
    head = ["query", "series", "samples", "anomalous", "alerts", "a week", "mean", "longest"]
    old = {} if report.old is None else {one.name: one for one in report.old.counted}
    names = dict.fromkeys([*(one.name for one in report.new.counted), *old])
    new = {one.name: one for one in report.new.counted}
    rows = []
    for name in names:
        cells = _cells(new.get(name))
        if report.old is not None:
            cells = [
                one if one == other else f"{one} ({other})"
                for one, other in zip(cells, _cells(old.get(name)), strict=True)
            ]
        rows.append([name, *cells])
    return Table(head, rows, "lrrrrrrr")


def _cells(one: QueryReport | None) -> list[str]:
    if one is None:
        return [_NONE] * 7
    share = _NONE if one.anomalous is None else f"{100 * one.anomalous:.2f} %"
    return [
        _NONE if one.series is None else str(one.series),
        _NONE if one.samples is None else str(one.samples),
        share,
        str(one.alerts),
        f"{one.per_week:.1f}",
        _span(one.mean),
        _span(one.longest),
    ]


def _span(seconds: float | None) -> str:
    return _NONE if seconds is None else format_span(seconds)


def alert_row(alert: RecordedAlert, report: BacktestReport) -> list[str]:
    """Return what a list says of an alert: when, how long, of what query, of which series."""
    told = alert.fired_at if alert.told_at is None else alert.told_at
    lasted = format_span(length(alert, report.within)) + (" +" if alert.resolved_at is None else "")
    marks = [text for text, here in (("silenced", alert.told_at is None), ("effect", alert.is_effect)) if here]
    more = f" ({', '.join(marks)})" if marks else ""
    return [when(told, report.zone), lasted, alert.name, (series_text(alert.labels) or "(no labels)") + more]


def alerts_of_one(of: ConfigReport, other: ConfigReport | None) -> list[RecordedAlert]:
    """Return the told alerts of a side that the other does not have: none of the same labels at the same time."""
    if other is None:
        return list(of.told)
    return [alert for alert in of.told if not any(_is_same(alert, one) for one in other.told)]


def _is_same(one: RecordedAlert, other: RecordedAlert) -> bool:
    infinite = float("inf")
    return (
        one.fingerprint == other.fingerprint
        and one.fired_at <= (other.resolved_at or infinite)
        and other.fired_at <= (one.resolved_at or infinite)
    )


def incident_table(report: BacktestReport) -> Table:
    """Return how every incident was found."""
    head = ["incident", "length", "name", "lead", "found by"]
    if report.old is None:
        rows = [[*_incident(met, report), lead(met), _found_by(met)] for met in report.new.met]
        return Table(head, rows, "llrrl".replace("rr", "lr"))
    pairs = zip(report.new.met, report.old.met, strict=True)
    rows = [[*_incident(met, report), lead(met), lead(before), _found_by(met)] for met, before in pairs]
    return Table([*head[:3], "lead, new", "lead, old", "found by"], rows, "lllrrl")


def _incident(met: IncidentMatch, report: BacktestReport) -> list[str]:
    one = met.incident
    return [when(one.start, report.zone), format_span(one.end - one.start), one.name or one.query or _NONE]


def lead(met: IncidentMatch) -> str:
    """Write a lead time."""
    if met.lead is None:
        return "missed"
    if met.standing:
        return "fired before"
    if abs(met.lead) < 1.0:
        return "at once"
    return f"{format_span(abs(met.lead))} {'early' if met.lead > 0 else 'late'}"


def _found_by(met: IncidentMatch) -> str:
    if met.alert is None:
        return _NONE
    more = f", {met.others} more" if met.others else ""
    return f"{met.alert.name} {series_text(met.alert.labels)}{more}"


def verdicts(report: BacktestReport) -> Iterator[str]:
    """Yield what it comes to, in sentences."""
    new, old = report.new, report.old
    yield _spoken(report, new, "" if old is None else "new: ")
    if old is not None:
        yield _spoken(report, old, "old: ")
        yield _difference(len(new.told), len(old.told))
        for met, before in zip(new.met, old.met, strict=True):
            name = met.incident.name or when(met.incident.start, report.zone)
            if met.lead is not None and before.lead is not None and not met.standing and not before.standing:
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


def _spoken(report: BacktestReport, one: ConfigReport, begin: str) -> str:
    total = len(one.told)
    weekly = sum(counted.per_week for counted in one.counted)
    said = f"{begin}{_count(total, 'alert')} in {_length(report)}, {weekly:.1f} a week."
    if not one.met:
        return said
    found = len(one.met) - one.missed
    said += f" Found {found} of {_count(len(one.met), 'incident')}"
    if one.lead is not None:
        said += f", by median {format_span(abs(one.lead))} {'before' if one.lead > 0 else 'after'} the beginning"
    said += "."
    if one.precision is not None:
        said += f" {one.useless} of {_count(total, 'alert')} met no incident (precision {100 * one.precision:.0f} %)."
    return said


def notes(report: BacktestReport) -> Iterator[str]:
    """Yield what has to be known to trust the figures."""
    if report.old is not None:
        yield "Figures in brackets are those of the old configuration, where they differ."
    for one in (report.new, report.old):
        if one is None:
            continue
        begin = "" if report.old is None else f"{'new' if one is report.new else 'old'}: "
        for counted in one.counted:
            if counted.samples == 0:
                yield f"{begin}{counted.name}: no samples in this range; is the expression right?"
            elif counted.empty and counted.slots:
                share = 100 * counted.empty / counted.slots
                yield (
                    f"{begin}{counted.name}: {counted.empty} of {counted.slots} slots ({share:.1f} %) had no sample: "
                    "Prometheus has none there."
                )
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
        if one.suppressed:
            yield f"{begin}{one.suppressed} times an alert was held back because of alerting.max_alerts."
        for name, texts in one.warnings.items():
            yield f"{begin}{name}: Prometheus warns: {texts[0]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
