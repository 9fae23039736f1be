"""The health of the servers we depend on and of the store, and upcoming events, for the front page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry

from exporter.calendar import Calendar, all_match
from exporter.config.model import Config
from exporter.delivery import DiscoveryState
from exporter.web.pages.models import ComponentHealth, EventRow
from exporter.web.pages.rendering import ago

__all__ = ["component_health", "events_between", "upcoming_events"]

_AM = "anomaly_exporter_alertmanager_"
_SOURCE_UP = "anomaly_exporter_source_up"
_RELOADED = "anomaly_exporter_config_last_reload_successful"
_RELOADED_AT = "anomaly_exporter_config_last_reload_success_timestamp_seconds"
_METRICS = (
    _SOURCE_UP,
    _RELOADED,
    _RELOADED_AT,
    f"{_AM}up",
    f"{_AM}dirty",
    f"{_AM}last_success_timestamp_seconds",
    "anomaly_exporter_store_recovered",
    "anomaly_exporter_store_errors_total",
)
_LOOKAHEAD = 7 * 86400.0
_MOST_EVENTS = 20


def component_health(
    registry: CollectorRegistry,
    config: Config,
    *,
    alertmanagers: Mapping[str, str | None],
    discovery: Sequence[DiscoveryState] = (),
    store_bytes: int,
    queried: bool,
    at: float,
) -> Sequence[ComponentHealth]:
    """Return the health of Prometheus, the Alertmanagers and the store, by the program's own metrics.

    The configuration is one of them while its file has a mistake and an older one is in force.

    Parameters
    ----------
    alertmanagers : mapping
        By URL: why an Alertmanager could not list its silences; None where it could.
    discovery : sequence of DiscoveryState
        What entries with `dns_sd` and `file_sd` stand for.
    queried : bool
        Whether Prometheus was queried so far.
    at : float, Unix seconds
    """
    values = _values(registry)
    components = []
    for name, server in config.servers.items():
        up = bool(values.get((_SOURCE_UP, name))) if queried else None
        components.append(ComponentHealth("Prometheus", server.url, up, name if config.sources else ""))
    components += [_alertmanager_health(values, url, trouble, at) for url, trouble in alertmanagers.items()]
    for source in discovery:
        detail = f"{source.targets} found" if source.trouble is None else f"{source.targets} known, {source.trouble}"
        healthy = source.trouble is None and source.targets > 0
        components.append(ComponentHealth("Alertmanagers", source.name, healthy, detail))
    if not config.alertmanagers:
        components.append(ComponentHealth("Alertmanager", "none configured", None, "alerts are only shown"))
    failed = values.get(("anomaly_exporter_store_errors_total", "")) or 0.0
    recovered = values.get(("anomaly_exporter_store_recovered", "")) or 0.0
    detail = f"{store_bytes / 1e6:.1f} MB"
    if recovered:
        detail += ", recovered after damage or loss"
    if failed:
        detail += f", {failed:.0f} failed operations since the start"
    components.append(ComponentHealth("Store", "", not failed and not recovered, detail))
    if values.get((_RELOADED_AT, "")) and not values.get((_RELOADED, "")):
        components.append(ComponentHealth("Configuration", "", False, "the file was refused, an older one is in force"))
    return components


def _alertmanager_health(
    values: dict[tuple[str, str], float], url: str, trouble: str | None, at: float
) -> ComponentHealth:
    up = values.get((f"{_AM}up", url))
    last = values.get((f"{_AM}last_success_timestamp_seconds", url)) or 0.0
    waiting = int(values.get((f"{_AM}dirty", url)) or 0)
    # Before the first request it is neither: an Alertmanager is only contacted when there is something to send.
    healthy = None if up is None or (not up and not last and not waiting) else bool(up)
    if healthy is None:
        detail = "nothing to send so far"
    else:
        detail = f"took alerts {ago(last, at)}" if last else "takes no alerts"
    if waiting:
        detail += f", {waiting} waiting"
    if trouble is not None:
        # Alerts are delivered all the same, so this says nothing of its health.
        detail += f"; cannot list its silences, those read before hold ({trouble})"
    return ComponentHealth("Alertmanager", url, healthy, detail)


def _values(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Return the samples by name and Alertmanager or source; where a metric has other labels, their sum."""
    values: dict[tuple[str, str], float] = {}
    for family in registry.restricted_registry(_METRICS).collect():
        for sample in family.samples:
            key = (sample.name, sample.labels.get("alertmanager") or sample.labels.get("source", ""))
            values[key] = values.get(key, 0.0) + sample.value
    return values


def upcoming_events(calendar: Calendar, at: float) -> Sequence[EventRow]:
    """Return the events of the next week, the next occasion of each, soonest first.

    Parameters
    ----------
    at : float, Unix seconds
    """
    rows: dict[str, EventRow] = {}
    # Only the next occasion: an hourly event would hide the others.
    for event in sorted(calendar.between(at, at + _LOOKAHEAD), key=lambda event: event.window.start):
        action = event.action if event.multiplier == 1.0 else f"{event.action} × {event.multiplier:g}"  # noqa: RUF001
        match = ", ".join(map(str, event.matchers))
        rows.setdefault(event.name, EventRow(event.name, event.window.start, event.window.end, action, match))
    return list(rows.values())[:_MOST_EVENTS]


def events_between(
    calendar: Calendar, labels: Mapping[str, str], start: float, end: float
) -> Sequence[tuple[float, float, str]]:
    """Return the known events that concern a series in a range of time: from, to, and name with action.

    Parameters
    ----------
    labels : mapping
        Of the series, and `query`.
    start, end : float, Unix seconds
    """
    return [
        (max(start, event.window.start), min(end, event.window.end), f"{event.name} ({event.action})")
        for event in calendar.between(start, end)
        if all_match(event.matchers, labels)
    ]
