"""Rendering of charts, in a worker process as well. Nothing heavy is imported at module level."""

from __future__ import annotations

import gc

from exporter.charts.chart import Chart, ChartStyle

__all__ = ["preload", "render"]


def render(chart: Chart, style: ChartStyle) -> bytes:
    """Draw a chart and return the file."""
    from exporter.charts.drawing import draw  # Slow to import.

    return draw(chart, style)


def preload() -> None:
    """Import matplotlib, which the first chart would have to wait for."""
    gc.disable()  # What an import makes stays: collecting garbage meanwhile only takes time.
    from exporter.charts import drawing  # noqa: F401 - slow to import.

    gc.enable()
