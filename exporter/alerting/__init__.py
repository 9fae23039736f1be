"""From anomalies to alerts: state machine, storms, root causes, labels, and explanations. Pure."""

from exporter.alerting.state_machine import DuplicateAlert, collect, evaluate, hold, restore, withdraw

__all__ = ["DuplicateAlert", "collect", "evaluate", "hold", "restore", "withdraw"]
