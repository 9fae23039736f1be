"""Which command is meant."""

from __future__ import annotations

import argparse

from exporter import __version__
from exporter.cli import check, run

__all__ = ["main", "parser"]

GOOD, PROBLEM, USAGE = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(
        prog="anomaly-exporter",
        description="Learns what is normal for every listed PromQL series, serves scores and bands on /metrics, "
        "and pushes explained alerts to Alertmanager. Without a command it runs as a daemon.",
        epilog="Exit codes: 0 good, 1 a problem was found, 2 wrong usage.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"anomaly-exporter {__version__}")
    run.add_flags(top)
    top.set_defaults(run=run.run)
    check.add_parser(top.add_subparsers(title="commands", metavar="COMMAND"))
    return top


def main(argv: list[str] | None = None) -> int:
    """Run `anomaly-exporter`; returns the exit code."""
    args = parser().parse_args(argv)
    code: int = args.run(args)
    return code
