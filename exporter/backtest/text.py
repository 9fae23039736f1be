"""A report as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

from exporter.backtest.recorder import RecordedAlert
from exporter.backtest.report import BacktestReport
from exporter.backtest.tables import (
    Table,
    alert_row,
    heading,
    incident_table,
    notes,
    only_in,
    query_table,
    verdicts,
)
from exporter.hidden_text import escape_control

__all__ = ["to_text"]

_WIDTH = 100
_LONGEST_CELL = 44
_MOST = 50
"""Alerts that are listed; HTML and JSON have all."""


def to_text(report: BacktestReport) -> str:
    """Write a report; at most 100 columns unless names are very long."""
    lines = [*_wrapped(heading(report)), "", *_table(query_table(report))]
    noisy = [(query.name, query.noisiest) for query in report.new.counted if query.alerts > 1]
    if noisy:
        lines += ["", "Noisiest"]
        lines += [f"  {count:4d}  {name}  {_cut(labels)}" for name, noisiest in noisy for labels, count in noisiest]
    if report.old is None:
        lines += _alerts("Alerts", report, only_in(report.new, None))
    else:
        lines += _alerts("Alerts of the new one only", report, only_in(report.new, report.old))
        lines += _alerts("Alerts of the old one only", report, only_in(report.old, report.new))
    if report.new.met:
        lines += ["", "Incidents", *(f"  {line}" for line in _table(incident_table(report)))]
    elif report.incidents is not None:
        lines += ["", "There was no incident in this range."]
    remarks = list(notes(report))
    if remarks:
        lines += ["", "Notes", *(line for text in remarks for line in _wrapped(text, "  "))]
    lines += ["", *(line for text in verdicts(report) for line in _wrapped(text))]
    return "".join(f"{_clean(line).rstrip()}\n" for line in lines)


def _alerts(title: str, report: BacktestReport, alerts: Sequence[RecordedAlert]) -> Iterator[str]:
    if not alerts:
        return
    yield ""
    yield title
    for alert in alerts[:_MOST]:
        begin, lasted, name, labels = alert_row(alert, report)
        yield f"  {begin}  {lasted:>11}  {name}  {labels}"
        for text in (alert.summary, *alert.reasons.values()):
            for line in text.splitlines():
                yield from _wrapped(line, " " * 20)
    if len(alerts) > _MOST:
        yield f"  and {len(alerts) - _MOST} more, see --output.html or --format json"


def _table(table: Table) -> Iterator[str]:
    rows = [[name.upper() for name in table.head], *([_cut(cell) for cell in row] for row in table.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.head))]
    for row in rows:
        cells = zip(row, widths, table.sides, strict=True)
        yield "  ".join(cell.ljust(width) if side == "l" else cell.rjust(width) for cell, width, side in cells)


def _cut(cell: str) -> str:
    return cell if len(cell) <= _LONGEST_CELL else cell[: _LONGEST_CELL - 1] + "…"


def _wrapped(text: str, indent: str = "") -> Iterable[str]:
    return wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)


def _clean(line: str) -> str:
    # Labels are untrusted text: no control character of theirs reaches the terminal.
    return escape_control(line)
