"""``anomaly-exporter schema``: the JSON schema of the configuration file, for editors and CI."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from exporter.config.json_schema import config_schema, text_of

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``schema``."""
    schema = subparsers.add_parser(
        "schema",
        help="print the JSON schema of the configuration file",
        description="Prints the JSON schema of the configuration file. An editor with a YAML language server checks "
        "and completes a file that begins with: # yaml-language-server: $schema=FILE",
    )
    schema.add_argument("--output", metavar="FILE", help="file to write (default: standard output)")
    schema.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the schema; returns the exit code."""
    text = text_of(config_schema())
    if args.output is None:
        sys.stdout.write(text)
        return 0
    try:
        Path(args.output).write_text(text, encoding="utf-8")
    except OSError as error:
        sys.stderr.write(f"{args.output}: {error.strerror}\n")
        return 1
    return 0
