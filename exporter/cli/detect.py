"""``anomaly-exporter detect``: scores for recorded samples, from a file or a pipe."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.cli.exit_codes import BAD, GOOD, USAGE, exit_code
from exporter.cli.workers_flag import add_workers
from exporter.errors import UsageError
from exporter.hidden_text import escape_control

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from exporter.config.model import Config
    from exporter.config.plan import QueryPlan
    from exporter.detect.recorded_series import RecordedSeries
    from exporter.detect.scoring import ScoredGroup
    from exporter.engine.engine import EngineSettings
    from exporter.engine.forecast.settings import ForecastSettings

__all__ = ["add_parser", "run"]

# Imports happen in the functions: this command often runs once per series, and `--help` of others does not need them.

ANOMALY = BAD
_OF_A_BYTE = 20
"""Bytes of memory that a byte of text takes: of a CSV with a column a series 19, of one with a label in each row 24."""

_ABOUT = """\
Judges every sample by what came before it, as the daemon would have, and writes the scores.
"""
_MORE = """\
Input: an answer of Prometheus' query_range (or its list of series, or [[timestamp, "value"], ...]); the text of
promtool query; CSV timestamp,value, or a table as Grafana and spreadsheets export it, with units; OpenMetrics,
/federate or promtool tsdb dump, with timestamps; InfluxDB's line protocol. Each may be compressed (gzip, zstd, bzip2,
xz). Timestamps are Unix seconds, milliseconds, ISO 8601 or 31.12.2026 14:05, in the zone that is written with them or
that of --timezone.

With --config.file and without --query, a series belongs to the query that its column (or its label query or __name__)
is named after, and the groups of the file are judged, too.

Output: CSV has a row a sample; JSON has the verdict on the newest sample, and every anomaly before it.

Exit codes: 0 good; 1 an anomaly was found and --fail-on-anomaly given; 2 the input, the configuration or the command
line cannot be used.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``detect``."""
    detect = subparsers.add_parser(
        "detect",
        help="score recorded samples",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = detect.add_argument
    add("file", nargs="?", metavar="FILE", help="recorded samples; - is standard input")
    add("--input", metavar="FILE", help="the same as FILE")
    add("--output", default="-", metavar="FILE", help="file to write; - is standard output (default)")
    add("--format", choices=("auto", "prometheus-json", "csv", "promtool", "openmetrics", "influx"), default="auto",
        dest="input_format", help="format of the input (default: %(default)s)")  # fmt: skip
    add("--output-format", choices=("auto", "csv", "json"), default="auto",
        help="format of the output; auto: CSV for a file named *.csv, else JSON (default: %(default)s)")  # fmt: skip
    add(
        "--rows", action="store_true", help="in JSON, also the verdict on every sample, with the votes of each detector"
    )
    add("--timezone", metavar="ZONE", dest="zone",
        help="time zone of timestamps without one, such as Europe/Berlin, and of the hours of the week "
        "unless --config.file is given (default: UTC)")  # fmt: skip
    add("--step", metavar="DURATION",
        help="time between samples, such as 1m (default: the median spacing of the first 200)")  # fmt: skip
    add("--config.file", dest="config_file", metavar="FILE", type=Path,
        help="take time zone, detectors, quorum, groups and the rest from the queries of this file")  # fmt: skip
    add("--query", metavar="NAME", help="take all series as series of this query")
    add("--peers", nargs="?", const="", metavar="LABELS",
        help="also judge each series beside its siblings: all of the file, or those with the same values of these "
        "labels, such as job,zone")  # fmt: skip
    add("--forecast", metavar="DURATION",
        help="write forecasts this far ahead, such as 1d, from the newest sample on, instead of scores")  # fmt: skip
    add("--limit", metavar="SIDE:VALUE",
        help="with --forecast, also when a limit is reached, such as above:0.95 (default: of the query)")  # fmt: skip
    add("--fail-on-anomaly", nargs="?", choices=("any", "newest"), const="any",
        help="exit with 1 if any sample is anomalous; =newest: if the newest one is")  # fmt: skip
    add_workers(add, "as many as there are cores; the series of a query are scored by one")
    detect.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score ``args.input``; returns the exit code. Problems go to standard error, one a line."""
    return exit_code(partial(_detect, args), failed=USAGE)


def _detect(args: argparse.Namespace) -> int:
    if (args.file is None) == (args.input is None):
        raise UsageError("which samples? anomaly-exporter detect FILE; - is standard input")
    args.input = args.input or args.file
    zone = _zone(args.zone)
    given = _duration("--step", args.step)
    ahead = _duration("--forecast", args.forecast)
    if args.limit is not None and ahead is None:
        raise UsageError("--limit is about forecasts: give --forecast, such as --forecast=1d")
    config = _config(args.config_file, args.query)
    settings = _settings(config, args, zone)
    if args.limit is not None:
        settings = replace(settings, forecast=_limited(settings.forecast, args.limit))
    most = _room()
    data = _read(args.input, most)

    from exporter.detect.output import is_anomaly_now, to_csv, to_json
    from exporter.detect.reader import read
    from exporter.detect.scoring import detect_step, score_series

    series = read(data, args.input_format, source=_name(args.input), zone=zone, most=most)
    for each in series:
        for line in each.warning.splitlines():
            sys.stderr.write(f"{_name(args.input)}: {escape_control(line)}\n")
    step = given or detect_step(series)
    as_csv = args.output_format == "csv" or (args.output_format == "auto" and args.output.lower().endswith(".csv"))
    if args.rows and (as_csv or ahead is not None):
        raise UsageError("--rows is for scores as JSON: a CSV has a row a sample")
    if ahead is not None:
        from exporter.detect.forecasting import forecast_series, forecasts_to_csv, forecasts_to_json

        forecasts = forecast_series(series, settings, step, ahead)
        _write(args.output, forecasts_to_csv(forecasts) if as_csv else forecasts_to_json(forecasts, settings))
        return GOOD
    groups: Sequence[ScoredGroup] = ()
    if config is None or args.query is not None or len(config.queries) == 1:
        scored = score_series(series, settings, step)
    else:
        from exporter.detect.group_scoring import score_queries
        from exporter.worker_pool import open_pool

        plans = {plan.name: plan for plan in config.plans()}
        with open_pool(args.workers) as pool:
            scored, groups = score_queries(_of_queries(series, plans, args), plans, config.groups, step, pool)
    _write(args.output, to_csv(scored, groups) if as_csv else to_json(scored, step, groups, every=args.rows))
    if args.fail_on_anomaly == "newest":
        return ANOMALY if is_anomaly_now(scored, step, groups) else GOOD
    if args.fail_on_anomaly == "any":
        anomalous = any(each.anomalous.any() for each in scored) or any(each.anomalous.any() for each in groups)
        return ANOMALY if anomalous else GOOD
    return GOOD


def _of_queries(
    series: Sequence[RecordedSeries], plans: Mapping[str, QueryPlan], args: argparse.Namespace
) -> list[RecordedSeries]:
    """Return the series that are named after a query; others are left out, and standard error says so."""
    from exporter.detect.group_scoring import QUERY_LABELS, query_of
    from exporter.detect.recorded_series import format_labels

    chosen = [each for each in series if query_of(each) in plans]
    if not chosen:
        raise UsageError(
            f"{args.config_file} has several queries, and no series of {_name(args.input)} is named after one "
            f"(label {' or '.join(QUERY_LABELS)}); choose one with --query: {', '.join(plans)}"
        )
    for each in series:
        if query_of(each) not in plans:
            what = format_labels(each.labels)
            sys.stderr.write(f"{_name(args.input)}: {what} is named after no query of {args.config_file}: left out\n")
    return chosen


def _zone(name: str | None) -> ZoneInfo:
    from zoneinfo import ZoneInfo

    from exporter.settings import check_timezone

    try:
        return ZoneInfo("UTC" if name is None else check_timezone(name))
    except ValueError as error:
        raise UsageError(f"--timezone: {error}") from None


def _config(file: Path | None, query: str | None) -> Config | None:
    if file is None:
        if query is not None:
            raise UsageError("--query names a query of --config.file, which is missing")
        return None
    from exporter.config.load import load

    config = load(file).config
    names = [each.name for each in config.queries]
    if query is not None and query not in names:
        raise UsageError(f"{file} has no query {query!r}; it has: {', '.join(names)}")
    return config


def _settings(config: Config | None, args: argparse.Namespace, zone: ZoneInfo) -> EngineSettings:
    """Return the settings of all series, where they are of one query."""
    from exporter.engine.engine import EngineSettings
    from exporter.engine.settings import BaselineSettings, DetectionSettings

    if config is None:
        settings = EngineSettings(zone=zone, baseline=BaselineSettings(), detection=DetectionSettings())
        return settings if args.peers is None else _with_peers(settings, args.peers)
    if args.peers is not None:
        raise UsageError("--peers: write `peers` into the query of the configuration instead")
    from exporter.config.engine_settings import engine_settings

    plans = {plan.name: plan for plan in config.plans()}
    if args.query is None and len(plans) > 1 and args.forecast is not None:
        raise UsageError(f"{args.config_file} has several queries; choose one with --query: {', '.join(plans)}")
    return engine_settings(plans[args.query] if args.query is not None else next(iter(plans.values())))


def _with_peers(settings: EngineSettings, labels: str) -> EngineSettings:
    """Return settings with the siblings of ``--peers``."""
    from pydantic import ValidationError

    from exporter.engine.peers.settings import PeerSettings

    try:
        peers = PeerSettings(by=tuple(label.strip() for label in labels.split(",") if label.strip()))
    except ValidationError:
        raise UsageError(f"--peers: write labels such as job,zone; got {labels!r}") from None
    return replace(settings, peers=peers, detection=settings.detection.with_peers())


def _duration(flag: str, text: str | None) -> float | None:
    if text is None:
        return None
    from exporter.engine.forecast.settings import LONGEST
    from exporter.settings import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from None
    if seconds <= 0.0:
        raise UsageError(f"{flag}: must be longer than 0")
    if flag == "--forecast" and seconds > LONGEST:
        raise UsageError("--forecast: must be at most 7d")
    return seconds


def _limited(forecast: ForecastSettings | None, text: str) -> ForecastSettings:
    """Return forecasts with the limit of ``--limit``."""
    import math

    from exporter.engine.forecast.settings import ForecastSettings, LimitSettings

    side, colon, number = text.partition(":")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if side not in ("above", "below") or not colon or not math.isfinite(value):
        raise UsageError(f"--limit: write above:VALUE or below:VALUE, such as above:0.95; got {text!r}")
    base = forecast or ForecastSettings()
    limit = base.limit or LimitSettings(above=0.0)
    sides = {"above": None, "below": None, side: value}
    return base.model_copy(update={"limit": limit.model_copy(update=sides)})


def _name(file: str) -> str:
    return "standard input" if file == "-" else file


def _room() -> int:
    """Return how many bytes of text there is memory for."""
    from exporter.evaluation.memory_limits import address_space_limit, memory_limit

    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, address_space_limit() or machine, memory_limit() or machine) // _OF_A_BYTE


def _read(file: str, most: int) -> bytes:
    try:
        if file != "-":
            with Path(file).open("rb") as stream:
                # A pipe has no size; a file that is too large need not be read.
                large = os.fstat(stream.fileno()).st_size > most
                data = b"" if large else stream.read(most + 1)
        elif sys.stdin is None:
            raise UsageError("standard input: it is closed")
        else:
            if sys.stdin.isatty():
                sys.stderr.write("reading samples from the terminal; Ctrl-D ends them\n")
            large, data = False, sys.stdin.buffer.read(most + 1)
    except OSError as error:
        raise UsageError(f"{_name(file)}: {error.strerror or error}") from None
    if large or len(data) > most:
        from exporter.detect.reader import too_large

        raise UsageError(f"{_name(file)}: {too_large(most)}")
    return data


def _write(file: str, text: bytes) -> None:
    try:
        if file != "-":
            Path(file).write_bytes(text)
            return
        if sys.stdout is None:
            raise UsageError("standard output: it is closed; give --output")
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does. Python would complain when it flushes at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise UsageError(f"{'standard output' if file == '-' else file}: {error.strerror or error}") from None
