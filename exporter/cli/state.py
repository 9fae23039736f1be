"""``anomaly-exporter state``: moves what was learned to another state directory."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from exporter.cli.exit_codes import GOOD, exit_code
from exporter.schedule import wall_clock

__all__ = ["add_parser", "run"]

_ABOUT = """\
Writes what was learned of every query and series to one file, also while the daemon runs, or takes it from there.
Alerts, events and feedback are not part of it.

  anomaly-exporter state export --storage.path=data/ learned.archive
  anomaly-exporter state import --storage.path=new/ learned.archive

Exit codes: 0 good; 1 the file or the directory could not be written or read; 2 wrong usage.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``state``."""
    state = subparsers.add_parser(
        "state",
        help="export learned state to a file, or import it",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = state.add_subparsers(title="actions", metavar="export|import", required=True, dest="action")
    for name, about in (("export", "write a file"), ("import", "take a file over, while no daemon uses the directory")):
        action = actions.add_parser(name, help=about, allow_abbrev=False)
        add = action.add_argument
        add("file", metavar="FILE", type=Path, help="archive to write or read")
        add("--storage.path", dest="storage_path", metavar="DIR", type=Path, default=Path("data/"),
            help="directory of the state (default: %(default)s)")  # fmt: skip
        add("--query", action="append", metavar="NAME", help="only this query; may be repeated")
    state.set_defaults(run=run)


def run(args: argparse.Namespace, *, clock: Callable[[], float] = wall_clock) -> int:
    """Export or import; returns the exit code."""
    return exit_code(partial(_move, args, clock), prefix="anomaly-exporter state: ")


def _move(args: argparse.Namespace, clock: Callable[[], float]) -> int:
    from exporter.store import Store
    from exporter.store.archive import export_state, import_state

    if args.action == "export":
        moved = export_state(args.storage_path, args.file, args.query)
    else:
        with Store.open(args.storage_path, clock=clock) as store:
            moved = import_state(args.file, store.learned_arrays, args.query)
    for each in moved:
        until = datetime.fromtimestamp(each.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        kept = "" if each.taken else "; what is here is as new and stays"
        sys.stdout.write(f"{each.name}: {each.series} series, until {until}{kept}\n")
    return GOOD
