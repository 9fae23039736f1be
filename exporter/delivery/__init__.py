"""Delivery of alerts to every Alertmanager: snapshots, resend policy, requests, and their outcomes."""

from exporter.delivery.alert_snapshot import AlertSnapshots
from exporter.delivery.discovery import Discovery, DiscoveryState
from exporter.delivery.metrics import AlertmanagerMetrics
from exporter.delivery.receiver_clock import ReceiverClock, ReceiverClocks
from exporter.delivery.senders import Senders, connect_to
from exporter.delivery.settings import AlertmanagerEntry, AlertmanagerSettings

__all__ = [
    "AlertSnapshots",
    "AlertmanagerEntry",
    "AlertmanagerMetrics",
    "AlertmanagerSettings",
    "Discovery",
    "DiscoveryState",
    "ReceiverClock",
    "ReceiverClocks",
    "Senders",
    "connect_to",
]
