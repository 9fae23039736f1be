"""The numbers of a backtest report; text, HTML and JSON are made from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from exporter.backtest.incidents import Incident, IncidentMatch, match
from exporter.backtest.recorder import RecordedAlert, ScoreCounts
from exporter.backtest.replay_result import ReplayResult, TimeSpan
from exporter.engine.series import Labels

__all__ = ["QueryReport", "ReportLimits", "BacktestReport", "ConfigReport", "broken", "side", "to_json", "series_text"]

WEEK = 7 * 86400.0
_NOISIEST = 3
_OWN = frozenset({"alertname", "query", "group", "incident", "incident_role"})


@dataclass(frozen=True, slots=True)
class QueryReport:
    """The alerts and scores of one query or group. Lengths are seconds, shares 0 to 1; None: nothing to count.

    Attributes
    ----------
    alerts : int
        That would have been notified.
    silenced : int
        That no one would have been notified of, because of the calendar.
    effects : int
        Of `alerts`, those that follow from another alert.
    empty : int
        Slots without any sample.
    young : float
        Share of the scored samples whose series could not alert so far.
    anomalous : float
        Share of the samples that could have led to an alert.
    noisiest : tuple of (str, int)
        What alerted most, and how often.
    """

    name: str
    alerts: int
    silenced: int
    effects: int
    per_week: float
    mean: float | None
    longest: float | None
    noisiest: tuple[tuple[str, int], ...]
    series: int | None = None
    slots: int | None = None
    empty: int | None = None
    samples: int | None = None
    young: float | None = None
    anomalous: float | None = None


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """The result of one configuration.

    Attributes
    ----------
    config : str
        Its file, as the user named it.
    met : tuple of Met
        One for every incident.
    useless : int
        Alerts that met no incident.
    """

    config: str
    counted: tuple[QueryReport, ...]
    alerts: tuple[RecordedAlert, ...]
    met: tuple[IncidentMatch, ...]
    useless: int
    suppressed: int
    warnings: Mapping[str, tuple[str, ...]]

    @property
    def notified(self) -> tuple[RecordedAlert, ...]:
        """The alerts that would have been notified."""
        return tuple(alert for alert in self.alerts if alert.notified_at is not None)

    @property
    def missed(self) -> int:
        """How many incidents no alert matches."""
        return sum(match.alert is None for match in self.met)

    @property
    def lead(self) -> float | None:
        """The median lead time, seconds; None where nothing was found."""
        leads = [entry.lead for entry in self.met if entry.lead is not None and not entry.already_firing]
        return median(leads) if leads else None

    @property
    def precision(self) -> float | None:
        """Share of the alerts that met an incident."""
        return 1.0 - self.useless / len(self.notified) if self.notified else None


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """The report of a backtest. `old` is there where two configurations are compared."""

    within: TimeSpan
    zone: str
    new: ConfigReport
    old: ConfigReport | None
    incidents: tuple[Incident, ...] | None
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportLimits:
    """Limits of the new configuration; None: no limit."""

    alerts_per_week: float | None = None
    missed: int | None = None
    lead: float | None = None


def side(config: str, outcome: ReplayResult, incidents: Sequence[Incident], *, ahead: float) -> ConfigReport:
    """Return the result of a replay; see `match` for `ahead`."""
    record, within = outcome.record, outcome.within
    counted = tuple(
        _count(name, [alert for alert in record.alerts if alert.name == name], record.scores.get(name), within)
        for name in (*(plan.name for plan in outcome.plans), *outcome.groups)
    )
    met = tuple(match(incidents, record.alerts, ahead=ahead, end=within.end))
    useless = 0
    for alert in record.alerts:
        if alert.notified_at is not None and incidents:
            useless += not any(entry.alert for entry in match(incidents, [alert], ahead=ahead, end=within.end))
    return ConfigReport(config, counted, tuple(record.alerts), met, useless, record.suppressed, outcome.warnings)


def _count(name: str, alerts: Sequence[RecordedAlert], scores: ScoreCounts | None, within: TimeSpan) -> QueryReport:
    notified = [alert for alert in alerts if alert.notified_at is not None]
    lengths = [length(alert, within) for alert in notified]
    noisiest = tuple(Counter(series_text(alert.labels) for alert in notified).most_common(_NOISIEST))
    counted = QueryReport(
        name,
        len(notified),
        len(alerts) - len(notified),
        sum(alert.is_effect for alert in notified),
        len(notified) * WEEK / (within.end - within.start),
        sum(lengths) / len(lengths) if lengths else None,
        max(lengths, default=None),
        noisiest,
    )
    if scores is None:
        return counted
    return replace(
        counted,
        series=scores.series,
        slots=scores.slots,
        empty=scores.empty,
        samples=scores.samples,
        young=scores.young / scores.scored if scores.scored else None,
        anomalous=scores.anomalous / scores.counted if scores.counted else None,
    )


def length(alert: RecordedAlert, within: TimeSpan) -> float:
    """Return for how long an alert fired, seconds; up to the end of the range where it goes on."""
    return (within.end if alert.resolved_at is None else alert.resolved_at) - alert.fired_at


def series_text(labels: Mapping[str, str] | Labels) -> str:
    """Write the labels that identify the series or storm.

    >>> series_text({"alertname": "AnomalyDetected", "query": "cpu", "host": "a"})
    'host=a'
    """
    return " ".join(f"{name}={value}" for name, value in sorted(dict(labels).items()) if name not in _OWN)


def broken(limits: ReportLimits, new: ConfigReport) -> tuple[str, ...]:
    """Return a sentence for every limit that does not hold."""
    sentences = []
    if limits.alerts_per_week is not None:
        sentences += [
            f"{query.name}: {query.per_week:.2f} alerts a week, {limits.alerts_per_week:g} at most"
            for query in new.counted
            if query.per_week > limits.alerts_per_week
        ]
    if limits.missed is not None and new.missed > limits.missed:
        sentences.append(f"{new.missed} incidents missed, {limits.missed} at most")
    if limits.lead is not None:
        late = [
            entry
            for entry in new.met
            if entry.lead is not None and not entry.already_firing and entry.lead < limits.lead
        ]
        sentences += [
            f"incident {entry.incident.name or entry.incident.query or 'without a name'}: "
            f"told {entry.lead:+.0f} s before it began, {limits.lead:+.0f} s at least"
            for entry in late
        ]
    return tuple(sentences)


def to_json(report: BacktestReport) -> dict[str, Any]:
    """Return the report as plain values. Times are Unix seconds, lengths seconds."""
    matched = report.incidents is not None
    whole: dict[str, Any] = {"from": report.within.start, "to": report.within.end}
    whole["new"] = _side_json(report.new, matched=matched)
    if report.old is not None:
        whole["old"] = _side_json(report.old, matched=matched)
    whole["limits_broken"] = list(report.broken)
    return whole


def _side_json(result: ConfigReport, *, matched: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "config": result.config,
        "queries": [{**asdict(counted), "noisiest": dict(counted.noisiest)} for counted in result.counted],
        "alerts": [_alert_json(alert) for alert in result.alerts],
        "suppressed": result.suppressed,
        "warnings": {name: list(texts) for name, texts in result.warnings.items()},
    }
    if matched:
        values["incidents"] = [
            {
                **asdict(met.incident),
                "found_by": None if met.alert is None else _alert_json(met.alert),
                "others": met.others,
                "lead": met.lead,
                "standing": met.already_firing,
            }
            for met in result.met
        ]
        values |= {"missed": result.missed, "median_lead": result.lead, "precision": result.precision}
    return values


def _alert_json(alert: RecordedAlert) -> dict[str, Any]:
    score = None if alert.score != alert.score else alert.score
    return {
        "query": alert.name,
        "labels": dict(alert.labels),
        "summary": alert.summary,
        "since": alert.since,
        "fired_at": alert.fired_at,
        "notified_at": alert.notified_at,
        "resolved_at": alert.resolved_at,
        "score": score,
        **alert.reasons,
    }
