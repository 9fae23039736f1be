"""The entries of ``alertmanagers:``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from exporter.http_client.settings import HttpSettings, HttpUrl
from exporter.settings import Duration

__all__ = ["AlertmanagerSettings"]


_ENDPOINT = re.compile(r"/api/v[12](?:/(?:alerts|silences?|status))?/?$")


def _base(url: str) -> str:
    """Return the base of a URL that was copied from a request."""
    return _ENDPOINT.sub("", url)


class AlertmanagerSettings(HttpSettings):
    """One Alertmanager. Every one of them gets every alert; never put a load balancer in between."""

    url: Annotated[HttpUrl, AfterValidator(_base)] = Field(
        description="Base URL, with the path prefix if there is one. `/api/v2` and `/api/v2/alerts` at its end are "
        "left out.",
    )
    timeout: Duration = Field(10.0, gt=0, description="Total deadline of one request.")
    batch_size: int = Field(256, ge=1, le=1024, description="Alerts in one request.")
    utf8_labels: bool = Field(
        False, description="Send label names outside `[a-zA-Z_][a-zA-Z0-9_]*` (Alertmanager 0.27 and newer)."
    )
