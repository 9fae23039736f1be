"""Delivery of alerts to every Alertmanager."""

from exporter.alertmanager.board import AlertBoard
from exporter.alertmanager.metrics import AlertmanagerMetrics
from exporter.alertmanager.senders import Senders
from exporter.alertmanager.settings import AlertmanagerSettings

__all__ = ["AlertBoard", "AlertmanagerMetrics", "AlertmanagerSettings", "Senders"]
