"""The command line: dispatches to the commands."""

from __future__ import annotations

import sys
from types import ModuleType

from exporter import __version__
from exporter.cli.allocator import keep_freed_memory
from exporter.cli.command_parser import CommandParser, SubcommandParser

__all__ = ["main", "parser"]

COMMANDS = (
    "anomalies", "backtest", "check", "detect", "mcp", "migrate", "rules", "scale-hint", "schema", "state", "suggest",
    "tune",
)  # fmt: skip


def parser(command: str | None = None, *, daemon_alone: bool = False) -> CommandParser:
    """Return the parser of the whole command line, or of one command or the daemon alone."""
    top = CommandParser(
        prog="anomaly-exporter",
        description="Learns what is normal for every listed PromQL series, serves scores and bands on /metrics, "
        "and pushes explained alerts to Alertmanager. Without a command it runs as a daemon.",
        epilog="Exit codes: 0 good, 1 a problem was found, 2 wrong usage.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"anomaly-exporter {__version__}")
    if command is None:
        from exporter.cli import run

        run.add_flags(top)
        top.set_defaults(run=run.run)
    if daemon_alone:
        return top
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", dest="command", parser_class=SubcommandParser)
    for name in COMMANDS:
        if command in (None, name):
            _module_of(name).add_parser(subparsers)
    return top


def _module_of(name: str) -> ModuleType:
    """Import the module of a command, and no other: `detect` starts without the web server and the HTTP client."""
    command: ModuleType
    if name == "anomalies":
        from exporter.cli import anomalies as command
    elif name == "backtest":
        from exporter.cli import backtest as command
    elif name == "check":
        from exporter.cli import check as command
    elif name == "detect":
        from exporter.cli import detect as command
    elif name == "mcp":
        from exporter.cli import mcp as command
    elif name == "migrate":
        from exporter.cli import migrate as command
    elif name == "rules":
        from exporter.cli import rules as command
    elif name == "schema":
        from exporter.cli import schema as command
    elif name == "state":
        from exporter.cli import state as command
    elif name == "suggest":
        from exporter.cli import suggest as command
    elif name == "tune":
        from exporter.cli import tune as command
    else:
        from exporter.cli import scale_hint as command
    return command


def main(argv: list[str] | None = None) -> int:
    """Run `anomaly-exporter`; returns the exit code."""
    keep_freed_memory()
    words = sys.argv[1:] if argv is None else argv
    command = words[0] if words and words[0] in COMMANDS else None
    if command is None and not {"-h", "--help"} & set(words):
        # The modules of the commands take half of the time of a start.
        daemon = parser(daemon_alone=True)
        args, rest = daemon.parse_known_args(words)
        if rest and rest[0] in COMMANDS:
            daemon.error(f"flags of the daemon do not go with a command; begin with: {daemon.prog} {rest[0]}")
        if rest:
            daemon.unknown(rest, COMMANDS)
    else:
        args = parser(command).parse_args(words)
    code: int = args.run(args)
    return code
