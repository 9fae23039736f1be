"""The section ``rate_limit`` of the web configuration file: a token bucket for all requests together."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from exporter.settings import Section

__all__ = ["RateLimit", "TokenBucket"]

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


def _go_duration(value: object) -> object:
    """Parse a duration as Go writes it; a plain number counts nanoseconds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value * 1e-9
    if not isinstance(value, str):
        raise ValueError("not a duration; write one such as 100ms")  # noqa: TRY004
    text = value.strip()
    if text != "0" and (not text or _PART.sub("", text)):
        raise ValueError(f"not a duration: {value[:40]!r}; write one such as 100ms")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


class RateLimit(Section):
    """How many requests are answered."""

    interval: Annotated[float, BeforeValidator(_go_duration)] = Field(
        0.0, ge=0, description="Time between two requests; 0 is no limit."
    )
    burst: int = Field(0, ge=0, description="Requests that may come at once.")

    @model_validator(mode="after")
    def _check_burst(self) -> Self:
        if self.interval and not self.burst:
            raise ValueError("with a burst of 0 no request would ever be answered")
        return self


class TokenBucket:
    """Allows a burst of requests, and then one an interval. Used by one thread.

    Parameters
    ----------
    limit : RateLimit
    monotonic : callable
    """

    def __init__(self, limit: RateLimit, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self._monotonic = monotonic
        self._tokens = float(limit.burst)
        self._then = monotonic()

    def allow(self) -> bool:
        """Take a token; return whether there was one."""
        if not self.limit.interval:
            return True
        now = self._monotonic()
        self._tokens = min(float(self.limit.burst), self._tokens + (now - self._then) / self.limit.interval)
        self._then = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
