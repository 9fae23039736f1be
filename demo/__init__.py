"""A real Prometheus and Alertmanager, four weeks of history, and an anomaly that starts by itself."""
