"""State that outlives the process: alerts, their audit, deliveries, and learned arrays, in SQLite."""

from exporter.store.audit import AuditCursor, AuditPage
from exporter.store.episodes import EpisodeCursor, EpisodePage, Wanted
from exporter.store.events import EventLog
from exporter.store.faults import StoreError, StoreReason
from exporter.store.learned import Learned
from exporter.store.opening import Recovery
from exporter.store.people import Change, Lesson
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
    "Learned",
    "Lesson",
    "Recovery",
    "Store",
    "StoreError",
    "StoreReason",
    "Wanted",
]
