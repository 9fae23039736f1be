"""Evaluation contexts for tests: what a test does not give has no effect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

from exporter.alerting.settings import AlertingSettings
from exporter.correlation.co_occurrence import CoOccurrence
from exporter.correlation.root_causes import RootCauses
from exporter.evaluation.admission import Admission
from exporter.evaluation.context import EvaluationContext, EvaluationSettings, Ports
from exporter.exposition import SelfMetrics
from exporter.suppression.active_events import ActiveEvents
from exporter.suppression.sample_masks import SampleMasks

__all__ = ["context_of"]


def context_of(**given: Any) -> EvaluationContext:
    """Return a context with some ports and settings, by the names of their fields."""
    settings: dict[str, Any] = {
        "alerting": AlertingSettings(),
        "external_labels": {},
        "source_url": "http://prometheus",
        "query_offset": 0.0,
        "checkpoint_interval": 300.0,
        "external_url": "",
    }
    settings |= {name: given.pop(name) for name in settings.keys() & given.keys()}
    ports: dict[str, Any] = {
        "api": None,
        "connect": None,
        "clock": None,
        "store": None,
        "exposition": None,
        "alert_snapshots": SimpleNamespace(open_alerts=lambda besides: 0),
        "metrics": None,
        "admission": Admission(lambda: (), SelfMetrics(CollectorRegistry())),
        "masks": SampleMasks(ActiveEvents(), settings["external_labels"]),
        "feedback": None,
        "groups": SimpleNamespace(
            wants=lambda query: False,
            past_due=lambda query: False,
            add_history=None,
            add=lambda *_: None,
            loads=lambda *_: None,
        ),
        "on_verdict": lambda *_: None,
        "co_occurrence": CoOccurrence(),
        "root_causes": RootCauses(),
    }
    return EvaluationContext(Ports(**ports | given), EvaluationSettings(**settings))
