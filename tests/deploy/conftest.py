"""The servers of the integration tests."""

from tests.integration.conftest import prometheus, run_alertmanager, run_prometheus, stack

__all__ = ["prometheus", "run_alertmanager", "run_prometheus", "stack"]
