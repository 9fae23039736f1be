"""HTTP requests to Prometheus and Alertmanager: deadlines, TLS, credentials, and errors without secrets."""
