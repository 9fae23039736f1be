"""Silences and alert status in every Alertmanager: read, reconciled with the calendar, and matched with alerts."""

from exporter.silences.alert_status import (
    AlertStatus,
    Inhibition,
    Muting,
    SentAlert,
    Silencing,
    firing_alertnames,
)
from exporter.silences.messages import Exchange, Message
from exporter.silences.metrics import SilenceMetrics
from exporter.silences.silence import Silence, SilenceIndex
from exporter.silences.watcher import SilenceWatcher

__all__ = [
    "AlertStatus",
    "Exchange",
    "Inhibition",
    "Message",
    "Muting",
    "SentAlert",
    "Silence",
    "SilenceIndex",
    "SilenceMetrics",
    "SilenceWatcher",
    "Silencing",
    "firing_alertnames",
]
