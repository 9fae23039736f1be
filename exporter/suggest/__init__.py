"""A first configuration for a Prometheus: what it has, what is worth learning, and what that costs."""

from __future__ import annotations

__all__: list[str] = []
