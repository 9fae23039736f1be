"""State that outlives the process: alerts, audit, deliveries and learned arrays in SQLite, verdicts in files."""

from exporter.store.alerts import DeliveryLog
from exporter.store.audit import AuditCursor, AuditPage
from exporter.store.episodes import (
    EpisodeChange,
    EpisodeCursor,
    EpisodeFilter,
    EpisodeLog,
    EpisodePage,
)
from exporter.store.errors import StoreError, StoreReason
from exporter.store.events import CreatedSilence, EventLog, SilenceLog
from exporter.store.feedback_rows import PendingFeedback, SilenceComment
from exporter.store.kept_verdicts import KeptVerdicts
from exporter.store.learned_arrays import LearnedState
from exporter.store.opening import Recovery
from exporter.store.rows import AuditEntry, Delivery
from exporter.store.store import Store
from exporter.store.verdict_files import ChunkHeader
from exporter.store.verdict_log import VerdictLog

__all__ = [
    "AuditCursor",
    "AuditEntry",
    "AuditPage",
    "ChunkHeader",
    "CreatedSilence",
    "Delivery",
    "DeliveryLog",
    "EpisodeChange",
    "EpisodeCursor",
    "EpisodeFilter",
    "EpisodeLog",
    "EpisodePage",
    "EventLog",
    "KeptVerdicts",
    "LearnedState",
    "PendingFeedback",
    "Recovery",
    "SilenceComment",
    "SilenceLog",
    "Store",
    "StoreError",
    "StoreReason",
    "VerdictLog",
]
