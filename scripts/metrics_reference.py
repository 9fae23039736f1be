"""Write docs/metrics.md from the instruments (``make reference``)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric

from exporter.delivery import AlertmanagerMetrics, Discovery
from exporter.exposition.families import FAMILIES
from exporter.exposition.selfmetrics import SelfMetrics
from exporter.remote_write import RemoteWriteMetrics
from exporter.silences import SilenceMetrics

__all__ = ["render"]

_HEAD = """# Metrics

<!-- Written by `make reference` from the instruments. Do not edit by hand. -->

## Scores

Every row keeps the labels of its source series, `job` and `instance` included (set `honor_labels: true` where
Prometheus scrapes it), without `__name__`, and has a label `query`. They are those of its alert: see
[which series an alert is about](alerts.md#which-series-an-alert-is-about). A series without `job` or `instance` has
them empty, so that Prometheus does not add those of the exporter. What cannot be said is absent, never 0; a series
that is gone disappears with the next
evaluation; when a query fails, all of its rows disappear. No row has a timestamp.

| metric | meaning |
| --- | --- |
"""

_OWN = """
## The exporter itself

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""

_TAIL = """
The label `state` of `anomaly_exporter_series` is one of

| state | meaning |
| --- | --- |
| `scored` | judged, and old enough to alert |
| `warming_up` | judged or not, but younger than `baseline.min_history` |
| `no_data` | known, and without a sample in the newest answer; all series while the query fails |
| `masked` | under a silence or a calendar entry |
| `over_limit` | refused because of `max_series` |

`python_*` and `process_*` are those of every Python client.
"""


def render() -> str:
    """Return the text of docs/metrics.md."""
    registry = CollectorRegistry()
    SelfMetrics(registry)
    AlertmanagerMetrics(registry)
    RemoteWriteMetrics(registry)
    Discovery(registry)
    SilenceMetrics(registry)
    scores = "".join(f"| `{name}` | {text} |\n" for name, text in FAMILIES.items())
    return _HEAD + scores + _OWN + "".join(sorted(_rows(registry))) + _TAIL


def _rows(registry: CollectorRegistry) -> Iterator[str]:
    # The instruments of a registry are known by name; their labels only by the instrument.
    for collector in {id(item): item for item in registry._names_to_collectors.values()}.values():  # noqa: SLF001
        names = ", ".join(f"`{name}`" for name in getattr(collector, "_labelnames", ()))
        for family in collector.describe() if hasattr(collector, "describe") else ():
            if family.name.startswith("anomaly_exporter_"):
                yield f"| `{_name(family)}` | {family.type} | {names} | {family.documentation} |\n"


def _name(family: Metric) -> str:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    return family.name + suffix


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else "docs/metrics.md").write_text(render(), encoding="utf-8")
