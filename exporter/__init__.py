"""Learns what is normal for every listed PromQL series and says so to Prometheus and Alertmanager."""

__all__ = ["__version__"]

__version__ = "0.1.0"
