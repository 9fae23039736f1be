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
        help="CSV file of real incidents: start,end and optionally name, query and other labels")  # fmt: skip
    add("--against-alerts", metavar="MATCHERS",
        help="take past ALERTS of the first source as real incidents, such as '{alertname=~\"Api.*\"}'")  # fmt: skip
    add("--warning-time", metavar="DURATION", default="30m",
        help="an alert this long before an incident still counts as its warning (default: %(default)s)")  # fmt: skip
