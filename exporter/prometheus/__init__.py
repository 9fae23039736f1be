"""Client of the Prometheus query API: responses as arrays of samples."""

from exporter.prometheus.answer_budget import AnswerBudget
from exporter.prometheus.api import PrometheusApi
from exporter.prometheus.frame import Frame, HistoryChunk
from exporter.prometheus.part_sizes import PartSizes
from exporter.prometheus.unreadable import LeftOut

__all__ = ["AnswerBudget", "Frame", "HistoryChunk", "LeftOut", "PartSizes", "PrometheusApi"]
