"""``anomaly-exporter check config FILE``: validates a file, and on request its expressions against Prometheus."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np

from exporter.alerting.labels import alert_labels
from exporter.cli.exit_codes import BAD, GOOD
from exporter.config.load import Loaded, load
from exporter.config.model import Config
from exporter.config.plan import QueryPlan
from exporter.correlation.canary_roles import CanaryRoles
from exporter.engine.series import Labels, SeriesTable, key_of, labels_of
from exporter.errors import ConfigError, PrometheusError, Reason
from exporter.evaluation.sources import Sources
from exporter.exposition import PageRows
from exporter.prometheus import Frame, PrometheusApi
from exporter.prometheus.settings import PrometheusSettings
from exporter.schedule import wall_clock

__all__ = ["add_parser", "nothing_compared", "run"]


_OF_THE_EXPRESSION = (Reason.BAD_DATA, Reason.EXECUTION)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``check`` with what it can check."""
    check = subparsers.add_parser("check", help="check a file without running anything")
    kinds = check.add_subparsers(dest="kind", required=True, metavar="config")
    config = kinds.add_parser("config", help="check a configuration file; exit code 1 if it has problems")
    config.add_argument("file", metavar="FILE", help="configuration file")
    config.add_argument(
        "--query-prometheus",
        action="store_true",
        help="also ask Prometheus to evaluate every expression and say how many series it gives",
    )
    config.set_defaults(run=run)


def run(
    args: argparse.Namespace,
    *,
    connect: Callable[[PrometheusSettings], PrometheusApi] = PrometheusApi,
    clock: Callable[[], float] = wall_clock,
) -> int:
    """Check ``args.file``; returns the exit code, 0 or 1.

    Problems and warnings go to standard error, one a line; results go to standard output.
    """
    try:
        loaded = load(args.file)
    except ConfigError as error:
        _print(sys.stderr.write, error.lines())
        return BAD
    _print(sys.stderr.write, _warnings(args.file, loaded))
    if args.query_prometheus and not _evaluate_all(loaded.config, connect, clock()):
        return BAD
    queries = _count(len(loaded.config.queries), "query", "queries")
    alertmanagers = _count(len(loaded.config.alertmanagers), "Alertmanager", "Alertmanagers")
    _print(sys.stdout.write, [f"SUCCESS: {args.file} is valid: {queries}, {alertmanagers}"])
    return GOOD


def _warnings(file: str, loaded: Loaded) -> Iterator[str]:
    for warning in loaded.warnings:
        where = f"{warning.file or file}:{warning.line}:{warning.column}"
        yield f"{where}: warning: {warning.path}: {warning.message}"


def _evaluate_all(config: Config, connect: Callable[[PrometheusSettings], PrometheusApi], at: float) -> bool:
    """Let the source of each query evaluate its expression; returns whether all could be evaluated."""
    plans = config.plans()
    needed = {plan.source for plan in plans}
    with closing(Sources({name: each for name, each in config.servers.items() if name in needed}, connect)) as sources:
        # Every query is evaluated, so that all faults are reported at once.
        answers = [_evaluate(plan, config, sources.apis[plan.source], at) for plan in plans]
    return all(answers)


def _evaluate(plan: QueryPlan, config: Config, prometheus: PrometheusApi, at: float) -> bool:
    try:
        frame = prometheus.instant(plan.expr, at, timeout=plan.timeout)
    except PrometheusError as error:
        # A message about the expression needs no address; an unreachable server does.
        where = "" if error.reason in _OF_THE_EXPRESSION else f"{error.url}: "
        _print(sys.stderr.write, [f"{plan.name}: {where}{error.message}"])
        return False
    series = len(frame.keys)
    _print(sys.stdout.write, [f"{plan.name}: {_count(series, 'series', 'series')}"])
    if series == 0:
        _print(sys.stderr.write, [f"{plan.name}: warning: no series now; is the expression right?"])
    elif series > plan.max_series:
        _print(sys.stderr.write, [f"{plan.name}: warning: only {plan.max_series} of these will be scored (max_series)"])
    warnings = [*frame.warnings, *_left_out(frame), *_collisions(plan, config, list(map(labels_of, frame.keys)))]
    warnings += nothing_compared(plan, frame.keys)
    _print(sys.stderr.write, [f"{plan.name}: warning: {warning}" for warning in warnings])
    _print(sys.stderr.write, [f"{plan.name}: {info}" for info in frame.infos])
    return True


def nothing_compared(plan: QueryPlan, keys: Sequence[bytes]) -> Iterator[str]:
    """Yield that the canary of a query has nothing to compare among series, which are JSON objects of labels."""
    if plan.canary is None:
        return
    table = SeriesTable(len(keys))
    table.find(keys)
    if CanaryRoles(plan.canary).assign(table, np.ones(table.size, np.bool_), 0.0).sides:
        return
    label = plan.canary.label
    what = "on both sides" if label is None else f"with two values of {label}"
    by = f" and the same {', '.join(plan.canary.by)}" if plan.canary.by else ""
    yield f"canary: there are no series {what}{by}, so nothing is compared now"


def _left_out(frame: Frame) -> Iterator[str]:
    """Yield what to know of rows that are not taken."""
    if frame.unreadable.rows:
        yield f"left out: {frame.unreadable}"
    if frame.own:
        rows = _count(frame.own, "row is a score", "rows are scores or metrics")
        yield f"left out: {rows} of this exporter itself; choose the metrics by name, so that it does not watch itself"


def _collisions(plan: QueryPlan, config: Config, series: list[Labels]) -> Iterator[str]:
    """Yield what to know of series that would have the same labels on the page, or one alert together."""
    table = SeriesTable(len(series))
    table.find(list(map(key_of, series)))
    rows = PageRows("query", plan.name)
    if shared := rows.claim(range(table.size), table):
        text = f"{_count(shared, 'series has', 'series have')} the same labels as others once names are rewritten"
        yield f"{text}; of these the page shows the worst sample, and they have one alert"
    if plan.alert is None:
        return
    external = config.global_.external_labels
    alerts = Counter(
        tuple(alert_labels(labels, plan.name, plan.alert, external, with_metric=rows.with_metric).items())
        for _, labels in table.items()
    )
    labels, most = max(alerts.items(), key=lambda item: item[1], default=((), 1))
    if most > 1:
        example = ", ".join(f"{name}={value}" for name, value in labels if name != "alertname")
        text = f"at most {_count(len(alerts), 'alert', 'alerts')} for {len(table)} series, because labels are the same"
        yield f"{text}: {most} series have {example}"


def _count(number: int, singular: str, plural: str) -> str:
    return f"{number} {singular if number == 1 else plural}"


def _print(write: Callable[[str], int], lines: Iterator[str] | list[str]) -> None:
    for line in lines:
        write(f"{line}\n")
