"""Flags of commands that hold alerts of the past against incidents."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_query_and_incidents"]


def add_query_and_incidents(parser: argparse.ArgumentParser) -> None:
    """Add the choice of queries, and where incidents come from."""
    add = parser.add_argument
    add("--query", action="append", metavar="NAME", help="only this query; may be repeated")
    add("--incidents", metavar="FILE", type=Path,
        help="CSV of what really happened: start,end and, if wanted, name, query and any other label")  # fmt: skip
    add("--against-alerts", metavar="MATCHERS",
        help="take past ALERTS of the first source for what really happened, as '{alertname=~\"Api.*\"}'")  # fmt: skip
    add("--warning-time", metavar="DURATION", default="30m",
        help="an alert so long before an incident is a warning of it (default: %(default)s)")  # fmt: skip
