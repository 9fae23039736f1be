"""The exporter's own metrics as text, byte for byte as prometheus-client writes them.

With a dozen queries there are a thousand samples, and prometheus-client escapes every label again at every scrape. Name
and labels of a sample never change, so their text is cached.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from exporter.exposition.labels import row_prefix

__all__ = ["RegistryWriter"]

_SUFFIX = {"counter": "_total", "info": "_info"}
"""What the text format, which has no families, appends to the names."""


class RegistryWriter:
    """Writes a registry of counters, gauges, histograms and infos; one thread at a time."""

    def __init__(self) -> None:
        self._openings: dict[tuple[str, ...], str] = {}

    def write(self, registry: CollectorRegistry, *, openmetrics: bool) -> bytes:
        """Return all metrics as OpenMetrics, which ends the page, or in the older text format."""
        cached, used = self._openings, {}
        out: list[str] = []
        for metric in registry.collect():
            out.append(_head(metric, openmetrics=openmetrics))
            for sample in metric.samples:
                key = (sample.name, *sample.labels.values())
                opening = used[key] = cached.get(key) or _opening(sample)
                out.append(f"{opening}{floatToGoString(sample.value)}\n")  # type: ignore[no-untyped-call]
        if openmetrics:
            out.append("# EOF\n")
        self._openings = used  # Drops labels that are gone.
        return "".join(out).encode()


def _head(metric: Metric, *, openmetrics: bool) -> str:
    name, kind, text = metric.name, metric.type, metric.documentation.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        text = text.replace('"', r"\"")
    else:
        name, kind = name + _SUFFIX.get(kind, ""), "gauge" if kind == "info" else kind
    unit = f"# UNIT {name} {metric.unit}\n" if openmetrics and metric.unit else ""
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{unit}"


def _opening(sample: Sample) -> str:
    """Return name and labels, up to the value."""
    if not sample.labels:
        return f"{sample.name} "
    return f"{sample.name}{{{row_prefix(sorted(sample.labels.items())).decode()}}} "
