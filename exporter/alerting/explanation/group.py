"""A group's alert in words: which thing, and how much each metric has to do with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exporter.alerting.explanation.formatting import format_instant, format_span
from exporter.alerting.explanation.links import chart_links
from exporter.alerting.explanation.template import expand
from exporter.alerting.labels import bounded_annotations

__all__ = ["MetricShare", "explain_group"]

_SMALLEST = 0.05
"""Part of the score below which a metric is not in the summary."""


@dataclass(frozen=True, slots=True)
class MetricShare:
    """What one metric of a thing has to do with its score.

    Attributes
    ----------
    query : str
    share : float
        Its part in the score, 0 to 1.
    z : float
        Standard deviations from the mean of this time of the week; NaN where the metric is missing.
    growth : float
        ln(observed / expected); infinite or NaN where it has no meaning.
    """

    query: str
    share: float
    z: float
    growth: float


def explain_group(
    group: str,
    labels: Mapping[str, str],
    thing: Mapping[str, str],
    metrics: Sequence[MetricShare],
    *,
    score: float,
    since: float,
    at: float,
    external_url: str,
    templates: Mapping[str, str],
) -> dict[str, str]:
    """Return the annotations of one anomalous thing.

    Parameters
    ----------
    group : str
    labels : mapping
        Of the alert.
    thing : mapping
        The labels that make the thing.
    metrics : sequence of MetricShare
    score : float
        0 to 1.
    since, at : float, Unix seconds
        The beginning of the anomaly, and now.
    external_url : str
        Where people reach this exporter; the chart is that of the metric with the largest share.
    templates : mapping
        The user's annotations; they win. They may use ``{{ group }}``, ``query`` (the metric with the largest share),
        ``score`` and ``labels.NAME``.

    Examples
    --------
    >>> found = explain_group("api", {}, {"pod": "a"}, [MetricShare("cpu", 0.3, 2.5, 0.0), MetricShare(
    ...     "latency", 0.7, -4.0, -0.7)], score=0.8, since=0.0, at=720.0, external_url="http://x",
    ...     templates={})
    >>> found["summary"]
    'The metrics of pod=a (api) do not go together: latency 70%, cpu 30%'
    >>> found["lasted"], found["chart_url"]
    ('12 min', 'http://x/graph?query=latency&pod=a&from=-10800&to=720')
    >>> print(found["metrics"])
    latency: 70% of the score, 4.0 standard deviations below its mean, 0.50 times what is expected
    cpu: 30% of the score, 2.5 standard deviations above its mean, 1.00 times what is expected
    """
    ranked = sorted(metrics, key=lambda metric: (-metric.share, metric.query))
    name = " ".join(f"{label}={value}" for label, value in sorted(thing.items()))
    blamed = ", ".join(f"{metric.query} {metric.share:.0%}" for metric in ranked if metric.share >= _SMALLEST)
    worst = ranked[0].query if ranked else ""
    chart, image = chart_links(external_url, worst, thing, since=since, at=at)
    built = {
        "summary": f"The metrics of {f'{name} ({group})' if name else group} do not go together: {blamed}",
        "metrics": "\n".join(_line(metric) for metric in ranked),
        "score": f"{score:.2f}",
        "since": format_instant(since),
        "lasted": format_span(at - since) if at > since else "",
        "chart_url": chart,
        "chart_image": image,
    }
    variables = {"group": group, "query": worst, "score": built["score"]}
    built |= {name: expand(template, variables, labels) for name, template in templates.items()}
    return bounded_annotations(built)


def _line(metric: MetricShare) -> str:
    if math.isnan(metric.z):
        return f"{metric.query}: missing"
    told = f"{metric.query}: {metric.share:.0%} of the score"
    if math.isfinite(metric.z):
        told += f", {abs(metric.z):.1f} standard deviations {'above' if metric.z >= 0 else 'below'} its mean"
    if math.isfinite(metric.growth) and abs(metric.growth) < 20.0:
        told += f", {math.exp(metric.growth):.2f} times what is expected"
    return told
