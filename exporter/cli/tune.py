"""``anomaly-exporter tune``: proposes settings of queries against incidents and a number of alerts."""

from __future__ import annotations

import argparse
import difflib
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.cli.exit_codes import BAD, GOOD, exit_code
from exporter.cli.incident_flags import add_query_and_incidents
from exporter.cli.workers_flag import add_workers
from exporter.errors import UsageError

if TYPE_CHECKING:
    from exporter.config.plan import QueryPlan
    from exporter.evaluation.sources import Sources
    from exporter.prometheus import PrometheusApi
    from exporter.suggest.measure import History
    from exporter.tune import Goal, Tuned
    from exporter.worker_pool import WorkerPool

__all__ = ["add_parser", "run"]

_ABOUT = """\
Reads the history of every query, judges it once, and tries other settings on it: direction, smallest deviations,
quorum and for. Proposed is what raises fewer alerts and finds as many incidents. What it is worth is reported on weeks
that the search has not seen.
"""
_MORE = """\
examples:
  anomaly-exporter tune --config.file config.yaml --incidents outages.csv
  anomaly-exporter tune --config.file config.yaml --against-alerts '{alertname="SLOBurn"}' --output tune.patch
  anomaly-exporter tune --config.file config.yaml --alerts-per-week 2

Exit codes: 0 good; 1 Prometheus did not answer, or nothing could be judged; 2 wrong usage, or a file cannot be used.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``tune``."""
    parser = subparsers.add_parser(
        "tune",
        help="propose settings that raise fewer alerts and find the same incidents",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config.file", dest="config_file", metavar="FILE", type=Path, default=Path("config.yaml"),
        help="configuration to start from (default: %(default)s)")  # fmt: skip
    add_query_and_incidents(parser)
    add("--alerts-per-week", metavar="N", type=float, help="alerts a week of a query that are few enough")
    add("--output", metavar="FILE", type=Path, help="write the patch of the configuration there (default: print it)")
    add_workers(add)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, clock: Callable[[], float] | None = None) -> int:
    """Search and report; returns the exit code. Problems go to standard error, one a line."""
    from exporter.schedule import wall_clock

    return exit_code(partial(_tune, args, (clock or wall_clock)()), prefix="anomaly-exporter tune: ")


def _tune(args: argparse.Namespace, now: float) -> int:
    from exporter.backtest.incidents import past_alerts, read_incidents
    from exporter.cli.progress import progress
    from exporter.config.load import load
    from exporter.evaluation.sources import Sources
    from exporter.prometheus import PrometheusApi
    from exporter.settings import parse_duration
    from exporter.suggest.measure import STEP
    from exporter.tune import Goal, as_text
    from exporter.worker_pool import open_pool

    if args.incidents is not None and args.against_alerts is not None:
        raise UsageError("--incidents and --against-alerts: choose one")
    if args.incidents is None and args.against_alerts is None and args.alerts_per_week is None:
        raise UsageError("what is good is not known: give --incidents, --against-alerts or --alerts-per-week")
    config = load(args.config_file).config
    plans = {plan.name: plan for plan in config.plans()}
    if unknown := [name for name in args.query or () if name not in plans]:
        raise UsageError(f"--query: there is no query {unknown[0]!r}; there are: {', '.join(sorted(plans))}")
    try:
        ahead = parse_duration(args.warning_time)
    except ValueError as error:
        raise UsageError(f"--warning-time: {error}") from None
    end = math.floor(now / STEP) * STEP
    incidents = [] if args.incidents is None else read_incidents(args.incidents)
    with closing(Sources(config.servers, PrometheusApi)) as sources:
        if args.against_alerts is not None:
            longest = max(plan.baseline.window for plan in plans.values())
            incidents = past_alerts(sources.apis[sources.default], args.against_alerts, end - longest, end)
        if not incidents and args.alerts_per_week is None:
            raise UsageError("there are no incidents in the time of the history; give --alerts-per-week")
        goal = Goal(incidents, args.alerts_per_week, ahead)
        with open_pool(args.workers) as pool, progress("queries", len(args.query or plans)) as done:
            results = _results(sources, [plans[name] for name in args.query or plans], goal, end, pool, done)
    if not results:
        return BAD
    sys.stdout.write(as_text(results))
    return _write_patch(args, results)


def _results(
    sources: Sources, plans: Sequence[QueryPlan], goal: Goal, end: float, pool: WorkerPool, done: Callable[[], None]
) -> list[Tuned]:
    def histories() -> Iterator[tuple[History, Goal, float]]:
        # Read here, one after the other: the server is asked as often as by one process.
        for plan in plans:
            yield _read(sources.apis[plan.source], plan, end), goal, end

    results = []
    for plan, proposed in zip(plans, pool.map(_tuned, histories()), strict=True):
        done()
        if isinstance(proposed, str):
            sys.stderr.write(f"{plan.name}: {proposed}\n")
        else:
            results.append(proposed)
    return results


def _read(api: PrometheusApi, plan: QueryPlan, end: float) -> History:
    from exporter.errors import PrometheusError
    from exporter.suggest.measure import History, read

    try:
        return read(api, plan, end, now=end)
    except PrometheusError as error:
        return History.none(plan, f"{error.url}: {error.message}")


def _tuned(task: tuple[History, Goal, float]) -> Tuned | str:
    """Return what is proposed for the query of a history, or why nothing is: the task of a worker."""
    from exporter.suggest.measure import STEP
    from exporter.tune import evidence_of, tune

    history, goal, end = task
    labels = [json.loads(key) for key in history.keys]
    evidence = evidence_of(history.plan, labels, history.values, end=end, step=STEP)
    if evidence is None:
        return history.trouble or "there is no history"
    return tune(evidence, goal) or "no series is old enough to alert"


def _write_patch(args: argparse.Namespace, results: Sequence[Tuned]) -> int:
    from exporter.tune import with_settings

    old = args.config_file.read_text(encoding="utf-8")
    new, by_hand = with_settings(old, args.config_file, results)
    if by_hand:
        names = ", ".join(by_hand)
        sys.stderr.write(f"to be changed by hand, because they are not a line each in this file: {names}\n")
    name = str(args.config_file)
    lines = difflib.unified_diff(old.splitlines(keepends=True), new.splitlines(keepends=True), name, name)
    patch = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    if args.output is None:
        sys.stdout.write(f"\n{patch}" if patch else "")
        return GOOD
    try:
        args.output.write_text(patch, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{args.output}: {error.strerror}") from None
    return GOOD
