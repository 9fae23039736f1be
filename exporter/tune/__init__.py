"""Proposed settings of queries, chosen on one part of the past and reported on another."""

from exporter.tune.edit import with_settings
from exporter.tune.evidence import Evidence, evidence_of
from exporter.tune.report import as_text
from exporter.tune.search import Goal, Outcome, Tuned, tune
from exporter.tune.tried_settings import TriedSettings

__all__ = [
    "Evidence",
    "Goal",
    "Outcome",
    "TriedSettings",
    "Tuned",
    "as_text",
    "evidence_of",
    "tune",
    "with_settings",
]
