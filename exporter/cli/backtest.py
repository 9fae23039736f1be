"""``anomaly-exporter backtest``: replays a range of the past and reports the alerts it would have raised."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.cli.exit_codes import BAD, GOOD, exit_code
from exporter.cli.incident_flags import add_query_and_incidents
from exporter.cli.workers_flag import add_workers
from exporter.errors import UsageError

if TYPE_CHECKING:
    from exporter.backtest.incidents import Incident
    from exporter.backtest.replay import Write
    from exporter.backtest.replay_result import ReplayResult, TimeSpan
    from exporter.backtest.watcher import Watcher
    from exporter.config.model import Config
    from exporter.prometheus import AnswerBudget, PrometheusApi
    from exporter.prometheus.settings import PrometheusSettings
    from exporter.worker_pool import WorkerPool

__all__ = ["add_parser", "run"]

# Imports happen in the functions, so that `--help` is quick.


_ABOUT = """\
Replays the history that Prometheus has through the exporter's own engine and alerts, on a simulated clock: what would
have been said, and whom it would have woken. Nothing is sent, and nothing is written but the files that are asked for.
"""
_MORE = """\
Times: 2026-03-01T09:00:00Z, Unix seconds, now-7d, or just 7d (ago).

examples:
  anomaly-exporter backtest --config.file config.yaml --from 28d
  anomaly-exporter backtest --config.file new.yaml --compare config.yaml --from 28d --incidents outages.csv
  anomaly-exporter backtest --config.file new.yaml --against-alerts '{severity="page"}' --max-alerts-per-week 2

Exit codes: 0 good; 1 a limit is exceeded, or Prometheus did not answer; 2 the command line or a file cannot be used.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``backtest``."""
    parser = subparsers.add_parser(
        "backtest",
        help="replay the history of Prometheus: who would have been alerted, when, and of what",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config.file", dest="config_file", metavar="FILE", type=Path, default=Path("config.yaml"),
        help="configuration to try (default: %(default)s)")  # fmt: skip
    add("--compare", metavar="FILE", type=Path, help="configuration to compare it with, such as the current one")
    add("--from", dest="start", metavar="TIME", default="7d",
        help="begin of the replay (default: 7d, which is seven days ago)")  # fmt: skip
    add("--to", dest="end", metavar="TIME", default="now", help="end of the replay (default: %(default)s)")
    add_query_and_incidents(parser)
    add("--format", choices=("text", "json"), default="text", dest="form",
        help="format of the report on standard output (default: %(default)s)")  # fmt: skip
    add("--output.html", dest="html", metavar="FILE", type=Path, help="write the report with charts as one HTML file")
    add("--output.openmetrics", dest="openmetrics", metavar="FILE", type=Path,
        help="write all scores and bands, for promtool tsdb create-blocks-from openmetrics")  # fmt: skip
    limits = parser.add_argument_group("limits", "For the configuration to try; exit code 1 if one is exceeded.")
    limit = limits.add_argument
    limit("--max-alerts-per-week", metavar="N", type=float, help="at most so many alerts a week of any query")
    limit("--max-missed", metavar="N", type=int, help="at most so many incidents without an alert")
    limit("--min-lead-time", metavar="DURATION",
          help="every incident that is found must be alerted this long before it begins; "
          "--min-lead-time=-5m: five minutes late at most")  # fmt: skip
    add_workers(add)
    add("--log.level", dest="log_level", choices=("debug", "info", "warning", "error"), default="error",
        help="level of the log on standard error (default: %(default)s)")  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, *, clock: Callable[[], float] | None = None) -> int:
    """Replay and report; returns the exit code. Problems go to standard error, one a line."""
    from exporter.log import set_up
    from exporter.schedule import wall_clock

    set_up(args.log_level, "logfmt")
    return exit_code(partial(_backtest, args, (clock or wall_clock)()), prefix="anomaly-exporter backtest: ")


def _backtest(args: argparse.Namespace, now: float) -> int:
    from exporter.backtest.chart_windows import ChartWindows
    from exporter.backtest.html import to_html
    from exporter.backtest.incidents import past_alerts, read_incidents
    from exporter.backtest.openmetrics import written
    from exporter.backtest.report import BacktestReport, ReportLimits, broken, side, to_json
    from exporter.backtest.text import to_text
    from exporter.cli.replay_progress import replay_progress
    from exporter.config.load import load
    from exporter.worker_pool import open_pool

    if args.incidents is not None and args.against_alerts is not None:
        raise UsageError("--incidents and --against-alerts: choose one")
    has_incidents = args.incidents is not None or args.against_alerts is not None
    ahead = _duration("--warning-time", args.warning_time)
    lead = None if args.min_lead_time is None else _duration("--min-lead-time", args.min_lead_time, signed=True)
    limits = ReportLimits(args.max_alerts_per_week, args.max_missed, lead)
    if not has_incidents and (limits.missed is not None or limits.lead is not None):
        raise UsageError("--max-missed and --min-lead-time need --incidents or --against-alerts")
    within = _within(args.start, args.end, now)
    files = [args.config_file] if args.compare is None else [args.config_file, args.compare]
    configs = [load(file).config for file in files]
    chosen = _chosen(configs, args.query)
    incidents: list[Incident] = [] if args.incidents is None else read_incidents(args.incidents)
    if args.against_alerts is not None:
        api = _connect(configs[0].servers[configs[0].default_source])
        try:
            incidents = past_alerts(api, args.against_alerts, within.start, within.end)
        finally:
            api.close()
    incidents = [each for each in incidents if each.start <= within.end and each.end >= within.start]

    if args.html is not None:
        _check_writable(args.html)
    sides, windows = [], [ChartWindows() for _ in configs]
    with ExitStack() as stack:
        pool = stack.enter_context(open_pool(args.workers))
        bars = stack.enter_context(replay_progress(len(configs)))
        page = None if args.openmetrics is None else stack.enter_context(written(args.openmetrics))
        for file, config, bar, window in zip(files, configs, bars, windows, strict=True):
            watchers = [bar] if args.html is None else [bar, window]
            outcome = _replay(config, within, chosen, watchers, page if config is configs[0] else None, pool)
            sides.append(side(str(file), outcome, incidents, ahead=ahead))
    report = BacktestReport(
        within,
        configs[0].global_.timezone,
        sides[0],
        sides[1] if len(sides) > 1 else None,
        tuple(incidents) if has_incidents else None,
        broken(limits, sides[0]),
    )
    if args.html is not None:
        chart_data = {key: value for window in windows for key, value in window.windows.items()}
        args.html.write_text(to_html(report, chart_data), encoding="utf-8", errors="replace")
    text = to_text(report) if args.form == "text" else json.dumps(to_json(report), indent=2) + "\n"
    sys.stdout.write(text)
    sys.stdout.flush()
    return BAD if report.broken else GOOD


def _within(start: str, end: str, now: float) -> TimeSpan:
    from exporter.backtest.replay_result import TimeSpan

    within = TimeSpan(_instant("--from", start, now), _instant("--to", end, now))
    if within.start >= within.end:
        raise UsageError("--from must be before --to")
    if within.end > now:
        raise UsageError("--to lies in the future")
    return within


def _instant(flag: str, text: str, now: float) -> float:
    from exporter.settings import parse_duration
    from exporter.web.pages.urls import parse_instant

    try:
        return parse_instant(text, now)
    except ValueError:
        pass
    try:
        return now - parse_duration(text.removeprefix("-"))
    except ValueError:
        raise UsageError(
            f"{flag}: not a time: {text!r}; write 2026-03-01T09:00:00Z, Unix seconds, now-7d or 7d"
        ) from None


def _duration(flag: str, text: str, *, signed: bool = False) -> float:
    from exporter.settings import parse_duration

    sign = -1.0 if signed and text.startswith("-") else 1.0
    try:
        return sign * parse_duration(text[1:] if sign < 0 else text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None


def _chosen(configs: list[Config], names: list[str] | None) -> frozenset[str] | None:
    if names is None:
        return None
    names_of_queries = {query.name for config in configs for query in config.queries}
    for name in names:
        if name not in names_of_queries:
            raise UsageError(f"--query: no query {name!r}; there are: {', '.join(sorted(names_of_queries))}")
    return frozenset(names)


def _check_writable(file: Path) -> None:
    """Raise UsageError now, not when the work is done."""
    try:
        file.open("ab").close()
    except OSError as fault:
        raise UsageError(f"{file}: {fault.strerror or fault}") from None


def _replay(
    config: Config,
    within: TimeSpan,
    chosen: frozenset[str] | None,
    watchers: Sequence[Watcher],
    page: Write | None,
    pool: WorkerPool,
) -> ReplayResult:
    from exporter.backtest.replay import replay
    from exporter.prometheus import AnswerBudget

    most = config.limits.max_memory
    connect = partial(_connect, budget=None if most is None else AnswerBudget(lambda: float(most)))
    return replay(
        config, within, only=chosen, connect=connect, sleep=pool.sleep, watchers=watchers, page=page, pool=pool
    )


def _connect(server: PrometheusSettings, budget: AnswerBudget | None = None) -> PrometheusApi:
    from exporter.http_client import USER_AGENT
    from exporter.prometheus import PrometheusApi

    return PrometheusApi(server, user_agent=f"{USER_AGENT} backtest", budget=budget)
