"""The explanation of one alert: its built-in texts, and the user's templates, expanded when all texts are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from exporter.alerting.explanation.input import CanaryInput, EntityInput, ExplanationInput
from exporter.alerting.explanation.query import SeriesTexts
from exporter.alerting.explanation.registry import CANARY, ENTITY, SERIES, UNSENT, VARIABLES, Annotation, Source, build
from exporter.alerting.explanation.template import expand
from exporter.alerting.label_index import Labels
from exporter.alerting.limits import bounded_annotations

__all__ = ["Explanation", "explain_canary", "explain_entity", "explain_series", "unexplained"]

_EMPTY = dict.fromkeys(VARIABLES, "")


@dataclass(frozen=True, slots=True)
class Explanation:
    """What an alert says.

    Attributes
    ----------
    texts : mapping
        Built-in texts by name, those that are variables only among them.
    templates : mapping
        The user's annotations; they win over `texts`, and an empty one removes it.
    labels : mapping
        Of the alert, for ``{{ labels.NAME }}``.
    added : mapping
        Texts of the storm, the incident and the known event that the alert belongs to; they win over both.
    """

    texts: Mapping[str, str]
    templates: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, str] = field(default_factory=dict)

    def add(self, annotations: Iterable[Annotation[Source]], source: Source) -> Explanation:
        """Return the explanation with more texts; they are variables, too."""
        more = {name: text for name, text in build(annotations, source).items() if text}
        return replace(self, added={**self.added, **more})

    @property
    def annotations(self) -> dict[str, str]:
        """The annotations of the alert: none is empty or longer than 4 KiB.

        >>> cause = Explanation({"summary": "cpu is high"}, {"note": "{{ summary }}: {{ suspected_cause }}"},
        ...                     added={"suspected_cause": "disk"})
        >>> cause.annotations
        {'summary': 'cpu is high', 'note': 'cpu is high: disk', 'suspected_cause': 'disk'}
        """
        annotations = {name: text for name, text in self.texts.items() if name not in UNSENT}
        if self.templates:
            # Of a storm `summary` and `since` are those of its worst member here.
            variables = {**_EMPTY, **self.added, **self.texts}
            annotations |= {name: expand(text, variables, self.labels) for name, text in self.templates.items()}
        return bounded_annotations({**annotations, **self.added})


def explain_series(source: ExplanationInput, templates: Mapping[str, str]) -> Explanation:
    """Explain an anomalous series.

    >>> source = ExplanationInput("api_latency_p99", {}, {"instance": "a:9100"}, at=720.0, since=0.0, observed=0.93,
    ...     expected=0.21, lower=0.1, upper=0.35, score=0.97, unit="seconds", cast=3, quorum=3)
    >>> found = explain_series(source, {}).annotations
    >>> found["summary"]
    'api_latency_p99 of instance=a:9100 is 0.93 s, 4.4 times the expected 0.21 s (band 0.10 s to 0.35 s), for 12 min'
    >>> found["deviation"]
    '0.72 s above expected, 0.58 s above the band'
    """
    return Explanation(build(SERIES, SeriesTexts(source)), templates, source.labels)


def unexplained(name: str, labels: Mapping[str, str], series: Labels, templates: Mapping[str, str]) -> Explanation:
    """Return what an alert says whose explanation failed: what it is about, and what the user wrote.

    Parameters
    ----------
    name : str
        Of the query or group.
    labels : mapping
        Of the alert.
    series : sequence of pairs
        The labels of the series or entity.

    >>> unexplained("load", {}, (("__name__", "load"), ("instance", "a")), {"runbook_url": "http://wiki/load"}).annotations
    {'summary': 'load of instance=a is anomalous', 'runbook_url': 'http://wiki/load'}
    """
    of = ", ".join(f"{label}={value}" for label, value in series if label != "__name__")
    summary = f"{name} of {of} is anomalous" if of else f"{name} is anomalous"
    return Explanation({"summary": summary}, templates, labels)


def explain_entity(source: EntityInput, templates: Mapping[str, str]) -> Explanation:
    """Explain an anomalous entity of a group.

    >>> from exporter.alerting.explanation.input import MetricShare
    >>> metrics = (MetricShare("latency", 0.7, -4.0, -0.7), MetricShare("cpu", 0.3, 2.5, 0.0))
    >>> source = EntityInput("api", {}, {"pod": "a"}, metrics, score=0.8, since=0.0, at=720.0, external_url="http://x")
    >>> found = explain_entity(source, {}).annotations
    >>> found["summary"]
    'The metrics of pod=a (api) do not go together: latency 70%, cpu 30%, for 12 min'
    >>> found["lasted"], found["chart_url"]
    ('12 min', 'http://x/graph?query=latency&pod=a&from=-10800&to=720')
    >>> print(found["metrics"])
    latency: 70% of the score, 4.0 standard deviations below its mean, 0.50 times what is expected
    cpu: 30% of the score, 2.5 standard deviations above its mean, 1.00 times what is expected
    """
    return Explanation(build(ENTITY, source), templates, source.labels)


def explain_canary(source: CanaryInput, templates: Mapping[str, str]) -> Explanation:
    """Explain a candidate that differs from its baseline.

    >>> source = CanaryInput("latency", {}, {"service": "cart"}, "1.4.1", "version=1.4.2", 0.2, 0.23, 0.01, (20, 2),
    ...     since=50520.0, at=52000.0, p_value=4e-4, alpha=0.001, slots=25, zone="UTC", unit="seconds")
    >>> texts = explain_canary(source, {}).annotations
    >>> texts["summary"]
    'latency of service=cart: version=1.4.2 is 15 % above 1.4.1 since 14:02 (0.23 s against 0.20 s), p < 0.001'
    >>> print(texts["compared"])
    the mean of 2 series of version=1.4.2 with that of 20 of 1.4.1, in 25 slots; differences up to 10 ms do not count
    """
    return Explanation(build(CANARY, source), templates, source.labels)
