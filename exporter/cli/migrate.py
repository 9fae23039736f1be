"""``anomaly-exporter migrate``: a configuration from the file of another anomaly detector."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import yaml

from exporter.cli.exit_codes import BAD, GOOD, USAGE, complain, exit_code
from exporter.errors import ConfigError, UsageError

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``migrate``."""
    migrate = subparsers.add_parser(
        "migrate",
        help="convert a file of vmanomaly or promql-anomaly-detection",
        description="Writes a configuration that watches what a configuration of vmanomaly, or recording rules of "
        "promql-anomaly-detection, watched. What cannot be converted, or means something else, is named on standard "
        "error and in comments of the file.",
        epilog="Exit codes: 0 written; 1 written, but something in it has to be changed before it can be loaded; "
        "2 the file or the command line cannot be used.",
        allow_abbrev=False,
    )
    migrate.add_argument("file", metavar="FILE", type=Path, help="the file to convert")
    migrate.add_argument("--output", metavar="FILE", type=Path, help="file to write (default: standard output)")
    migrate.add_argument("--prometheus.url", dest="prometheus", metavar="URL", default="http://localhost:9090",
        help="Prometheus to ask, if the file names none (default: %(default)s)")  # fmt: skip
    migrate.add_argument("--alertmanager.url", dest="alertmanager", metavar="URL", default="http://localhost:9093",
        help="Alertmanager to send to, if the file names none (default: %(default)s)")  # fmt: skip
    migrate.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Convert the file; returns the exit code."""
    return exit_code(partial(_migrate, args), prefix=f"{args.file}: ", failed=USAGE)


def _migrate(args: argparse.Namespace) -> int:
    from exporter.config.load import load_text
    from exporter.migrate import convert
    from exporter.yaml_reader import read_text

    try:
        data = yaml.safe_load(read_text(args.file))
    except yaml.YAMLError as error:
        raise UsageError(f"no YAML: {error}") from None
    conversion = convert(data, prometheus=args.prometheus, alertmanager=args.alertmanager)
    text = conversion.as_yaml()
    if args.output is None:
        sys.stdout.write(text)
    else:
        try:
            args.output.write_text(text, encoding="utf-8")
        except OSError as error:
            return complain([f"{args.output}: {error.strerror}"], USAGE)
    sys.stderr.write("".join(f"{args.file}: {note}\n" for note in conversion.notes))
    try:
        load_text(text, args.output or Path("config.yaml"))
    except ConfigError as error:
        return complain(error.lines(), BAD)
    return GOOD
