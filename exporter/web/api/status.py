"""``/api/v1/status``: the configuration in force, and versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from exporter.web.api.endpoint import Call, Endpoint, NoParameters

__all__ = ["status_endpoints"]


@dataclass(frozen=True, slots=True)
class ConfigText:
    """The configuration in force."""

    yaml: str


def status_endpoints(config: Callable[[], str], build: Mapping[str, str]) -> tuple[Endpoint[Any, Any], ...]:
    """Make the endpoints.

    Parameters
    ----------
    config : callable
        The configuration in force as YAML, its secrets shown as ``<secret>``.
    build : mapping
        Versions, by name.
    """

    def answer_config(_: Call[NoParameters, None]) -> ConfigText:
        return ConfigText(config())

    def answer_build(_: Call[NoParameters, None]) -> dict[str, str]:
        return dict(build)

    nothing = type(None)
    return (
        Endpoint(
            "GET",
            "/status/config",
            "The configuration in force as YAML, its secrets shown as <secret>.",
            answer_config,
            ConfigText,
            NoParameters,
            nothing,
        ),
        Endpoint(
            "GET",
            "/status/buildinfo",
            "Versions of the exporter and of what it computes with.",
            answer_build,
            dict[str, str],
            NoParameters,
            nothing,
        ),
    )
