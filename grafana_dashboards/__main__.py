"""Write every dashboard as JSON beside the code that makes it."""

from __future__ import annotations

from pathlib import Path

from grafana_dashboards import anomalies, exporter, service
from grafana_dashboards.panels import as_json

__all__ = ["render", "write"]

FOLDER = Path(__file__).parent


def render() -> dict[str, str]:
    """Return the text of every file, by its name."""
    dashboards = {"anomalies": anomalies, "exporter": exporter, "service": service}
    return {f"{name}.json": as_json(module.dashboard()) for name, module in dashboards.items()}


def write() -> None:
    """Write the files."""
    for name, text in render().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    write()
