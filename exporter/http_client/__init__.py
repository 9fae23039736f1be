"""HTTP requests to Prometheus and Alertmanager: deadlines, TLS, credentials, and errors without secrets."""

from exporter.http_client.client import Answer, Client
from exporter.http_client.settings import HttpSettings

__all__ = ["Answer", "Client", "HttpSettings"]
