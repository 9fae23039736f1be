"""The command line: no command runs the daemon."""

from __future__ import annotations

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run `anomaly-exporter`; returns the exit code."""
    raise NotImplementedError(argv)
