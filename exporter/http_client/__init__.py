"""HTTP requests to Prometheus and Alertmanager: deadlines, TLS, credentials, and errors without secrets."""

from exporter.http_client.client import USER_AGENT, Client, HttpResponse, http_date
from exporter.http_client.errors import Fault
from exporter.http_client.settings import HttpSettings

__all__ = ["USER_AGENT", "Client", "Fault", "HttpResponse", "HttpSettings", "http_date"]
