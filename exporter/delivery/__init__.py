"""Delivery of alerts to every Alertmanager: what to send, when, and what the answer means."""

from exporter.delivery.alert_snapshot import AlertSnapshots
from exporter.delivery.metrics import AlertmanagerMetrics, SilenceMetrics
from exporter.delivery.senders import Senders, connect_to
from exporter.delivery.settings import AlertmanagerSettings, SilenceSettings

__all__ = [
    "AlertSnapshots",
    "AlertmanagerMetrics",
    "AlertmanagerSettings",
    "Senders",
    "SilenceMetrics",
    "SilenceSettings",
    "connect_to",
]
