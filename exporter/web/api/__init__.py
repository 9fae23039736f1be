"""``/api/v1``: Prometheus' envelope around endpoints that check and document themselves.

An endpoint is a declaration (`Endpoint`). It checks the parameters of a request, decides whether authentication is
needed, and is what the OpenAPI document at ``/api/v1/openapi.json`` is generated from.
"""

from exporter.web.api.anomalies import anomaly_endpoints
from exporter.web.api.baseline import baseline_endpoint
from exporter.web.api.canaries import canaries_endpoint
from exporter.web.api.endpoint import ApiRequest, Endpoint, Instant, NoParameters
from exporter.web.api.envelope import ApiError, ErrorType
from exporter.web.api.events import event_endpoints
from exporter.web.api.github import github_endpoint
from exporter.web.api.routes import add_endpoints, status_endpoints
from exporter.web.api.series import series_endpoint
from exporter.web.api.shadows import shadows_endpoint
from exporter.web.api.what_if import what_if_endpoint

__all__ = [
    "ApiError",
    "ApiRequest",
    "Endpoint",
    "ErrorType",
    "Instant",
    "NoParameters",
    "add_endpoints",
    "anomaly_endpoints",
    "baseline_endpoint",
    "canaries_endpoint",
    "event_endpoints",
    "github_endpoint",
    "series_endpoint",
    "shadows_endpoint",
    "status_endpoints",
    "what_if_endpoint",
]
