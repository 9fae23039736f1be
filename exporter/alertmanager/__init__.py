"""Delivery of alerts to every Alertmanager, and the silences that are in them."""

from exporter.alertmanager.board import AlertBoard
from exporter.alertmanager.keep import Made
from exporter.alertmanager.metrics import AlertmanagerMetrics, SilenceMetrics
from exporter.alertmanager.senders import Senders, connect_to
from exporter.alertmanager.settings import AlertmanagerSettings, SilenceSettings
from exporter.alertmanager.silences import Silence, SilenceBook
from exporter.alertmanager.standing import Inhibition, Silencing, Told, told_alertnames
from exporter.alertmanager.watch import SilenceWatch

__all__ = [
    "AlertBoard",
    "AlertmanagerMetrics",
    "AlertmanagerSettings",
    "Inhibition",
    "Made",
    "Senders",
    "Silence",
    "SilenceBook",
    "SilenceMetrics",
    "SilenceSettings",
    "SilenceWatch",
    "Silencing",
    "Told",
    "connect_to",
    "told_alertnames",
]
