"""Whether the servers that we depend on, and the store, are well: read from the program's own metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry

from exporter.config.model import Config
from exporter.web.pages.models import ComponentHealth
from exporter.web.pages.rendering import ago

__all__ = ["health"]

_AM = "anomaly_exporter_alertmanager_"
_SOURCE_UP = "anomaly_exporter_source_up"
_NAMES = (
    _SOURCE_UP,
    f"{_AM}up",
    f"{_AM}dirty",
    f"{_AM}last_success_timestamp_seconds",
    "anomaly_exporter_store_recovered",
    "anomaly_exporter_store_errors_total",
)


def health(
    registry: CollectorRegistry, config: Config, *, size: int, asked: bool, at: float
) -> Sequence[ComponentHealth]:
    """Return how the servers and the store are.

    Parameters
    ----------
    size : int
        Of the store, bytes.
    asked : bool
        Whether Prometheus was asked anything so far.
    at : float, Unix seconds
    """
    values = _values(registry)
    found = [
        ComponentHealth("Prometheus", config.prometheus.url, bool(values.get((_SOURCE_UP, ""))) if asked else None)
    ]
    for one in config.alertmanagers:
        up = values.get((f"{_AM}up", one.url))
        last = values.get((f"{_AM}last_success_timestamp_seconds", one.url)) or 0.0
        waiting = int(values.get((f"{_AM}dirty", one.url)) or 0)
        # Before the first request it is neither: an Alertmanager is only asked when there is something to say.
        well = None if up is None or (not up and not last and not waiting) else bool(up)
        said = (
            "nothing to send so far" if well is None else f"took alerts {ago(last, at)}" if last else "takes no alerts"
        )
        if waiting:
            said += f", {waiting} waiting"
        found.append(ComponentHealth("Alertmanager", one.url, well, said))
    if not config.alertmanagers:
        found.append(ComponentHealth("Alertmanager", "none configured", None, "alerts are only shown"))
    failed = values.get(("anomaly_exporter_store_errors_total", "")) or 0.0
    recovered = values.get(("anomaly_exporter_store_recovered", "")) or 0.0
    said = f"{size / 1e6:.1f} MB"
    if recovered:
        said += ", begun afresh after damage at this start"
    if failed:
        said += f", {failed:.0f} failed operations since the start"
    found.append(ComponentHealth("Store", "", not failed and not recovered, said))
    return found


def _values(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
    """Return the samples by name and Alertmanager; where a metric has other labels, their sum."""
    wanted: Iterable[str] = _NAMES
    found: dict[tuple[str, str], float] = {}
    for family in registry.restricted_registry(wanted).collect():
        for sample in family.samples:
            key = (sample.name, sample.labels.get("alertmanager", ""))
            found[key] = found.get(key, 0.0) + sample.value
    return found
