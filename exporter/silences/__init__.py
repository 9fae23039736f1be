"""Silences and alert status in every Alertmanager: read, kept as the calendar says, and matched with alerts."""

from exporter.silences.alert_status import Inhibition, Silencing, Told, told_alertnames
from exporter.silences.reconciler import Made
from exporter.silences.silence import Silence, SilenceIndex
from exporter.silences.watcher import SilenceWatcher

__all__ = [
    "Inhibition",
    "Made",
    "Silence",
    "SilenceIndex",
    "SilenceWatcher",
    "Silencing",
    "Told",
    "told_alertnames",
]
