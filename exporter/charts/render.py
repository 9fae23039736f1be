"""Drawing, in a process of its own. It imports no engine, so that it begins sooner and takes less memory."""

from __future__ import annotations

import gc

from exporter.charts.chart import Chart, Look

__all__ = ["picture", "prepare"]


def picture(chart: Chart, look: Look) -> bytes:
    """Draw a chart."""
    from exporter.charts.drawing import draw  # An extra, and slow to import.

    return draw(chart, look)


def prepare() -> None:
    """Do what the first chart would have to wait for."""
    gc.disable()  # What an import makes stays, so looking through it again and again only takes time.
    from exporter.charts import drawing  # noqa: F401 - an extra, and slow to import.

    gc.enable()
