"""The HTTP server: management endpoints, ``/metrics``, the API and the pages."""

from exporter.web.connection import Limits
from exporter.web.routes import Site, build_app, path_prefixes
from exporter.web.server import WebServer, is_loopback
from exporter.web.web_config import WebConfigFile, load_web_config

__all__ = [
    "Limits",
    "Site",
    "WebConfigFile",
    "WebServer",
    "build_app",
    "is_loopback",
    "load_web_config",
    "path_prefixes",
]
