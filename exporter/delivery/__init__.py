"""Delivery of alerts to every Alertmanager: snapshots, resend policy, requests, and their outcomes."""

from exporter.delivery.alert_snapshot import AlertSnapshots
from exporter.delivery.metrics import AlertmanagerMetrics
from exporter.delivery.senders import Senders, connect_to
from exporter.delivery.settings import AlertmanagerSettings

__all__ = [
    "AlertSnapshots",
    "AlertmanagerMetrics",
    "AlertmanagerSettings",
    "Senders",
    "connect_to",
]
