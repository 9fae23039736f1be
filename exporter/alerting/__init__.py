"""What becomes of an anomaly: the life of an alert, what it carries, and its explanation. Pure."""

from exporter.alerting.state_machine import DuplicateAlert, collect, evaluate, hold, restore, withdraw

__all__ = ["DuplicateAlert", "collect", "evaluate", "hold", "restore", "withdraw"]
