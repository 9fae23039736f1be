"""The texts of one anomalous entity of a group: which entity, and the part of each metric."""

from __future__ import annotations

import math

from exporter.alerting.explanation.formatting import format_lasted
from exporter.alerting.explanation.input import EntityInput, MetricShare
from exporter.alerting.explanation.links import chart_links

__all__ = ["chart", "lasted", "main_metric", "metrics", "summary"]

_SMALLEST = 0.05
"""Part of the score below which a metric is not in the summary."""
_MANY, _MANY_TIMES = 100.0, 1000.0
"""Standard deviations, and times what is expected, beyond which the number is no help."""


def summary(source: EntityInput) -> str:
    """Return one sentence: which entity, and the metrics with their part of the score."""
    name = " ".join(f"{label}={value}" for label, value in sorted(source.entity.items()))
    blamed = ", ".join(f"{metric.query} {metric.share:.0%}" for metric in source.metrics if metric.share >= _SMALLEST)
    text = f"The metrics of {f'{name} ({source.group})' if name else source.group} do not go together: {blamed}"
    # In a storm the duration is that of the storm.
    return f"{text}, for {lasted(source)}" if lasted(source) and not source.in_storm else text


def metrics(source: EntityInput) -> str:
    """Return a line for every metric, the largest share first."""
    return "\n".join(_line(metric) for metric in source.metrics)


def lasted(source: EntityInput) -> str:
    """Return for how long the entity is anomalous; empty in the first slot."""
    return format_lasted(source.since, source.at)


def main_metric(source: EntityInput) -> str:
    """Return the query with the largest share."""
    return source.metrics[0].query if source.metrics else ""


def chart(source: EntityInput) -> tuple[str, str]:
    """Return page and image of the metric with the largest share."""
    return chart_links(source.external_url, main_metric(source), source.entity, since=source.since, at=source.at)


def _line(metric: MetricShare) -> str:
    if math.isnan(metric.z):
        return f"{metric.query}: missing"
    line = f"{metric.query}: {metric.share:.0%} of the score"
    if math.isfinite(metric.z):
        count = f"{abs(metric.z):.1f}" if abs(metric.z) < _MANY else f"over {_MANY:.0f}"
        line += f", {count} standard deviations {'above' if metric.z >= 0 else 'below'} its mean"
    if math.isfinite(metric.growth):
        line += f", {_times(math.exp(min(metric.growth, 100.0)))} what is expected"
    return line


def _times(factor: float) -> str:
    if factor >= _MANY_TIMES:
        return f"over {_MANY_TIMES:.0f} times"
    return f"{factor:.2f} times" if factor >= 1.0 / _MANY else f"less than {1.0 / _MANY:g} times"
