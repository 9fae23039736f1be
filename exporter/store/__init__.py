"""State that outlives the process: alerts, their audit, deliveries, and learned arrays, in SQLite."""

from exporter.store.audit import AuditCursor, AuditPage
from exporter.store.episodes import EpisodeCursor, EpisodePage, Wanted
from exporter.store.errors import StoreError, StoreReason
from exporter.store.events import EventLog
from exporter.store.feedback import Change, PendingFeedback
from exporter.store.learned_arrays import LearnedState
from exporter.store.opening import Recovery
from exporter.store.rows import AuditEntry, Delivery
from exporter.store.store import Store

__all__ = [
    "AuditCursor",
    "AuditEntry",
    "AuditPage",
    "Change",
    "Delivery",
    "EpisodeCursor",
    "EpisodePage",
    "EventLog",
    "LearnedState",
    "PendingFeedback",
    "Recovery",
    "Store",
    "StoreError",
    "StoreReason",
    "Wanted",
]
