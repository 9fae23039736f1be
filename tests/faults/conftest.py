"""The servers of the integration tests, as fixtures."""

from __future__ import annotations

from tests.integration.conftest import (
    alertmanager,
    prometheus,
    run_alertmanager,
    run_cluster,
    run_prometheus,
    stack,
    webhook,
)

__all__ = ["alertmanager", "prometheus", "run_alertmanager", "run_cluster", "run_prometheus", "stack", "webhook"]
