"""``anomaly-exporter rules export``: the learned profile as rules of Prometheus."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from exporter.cli.exit_codes import BAD, GOOD, USAGE, complain, exit_code
from exporter.config.load import load
from exporter.config.plan import QueryPlan
from exporter.errors import PrometheusError
from exporter.evaluation.sources import Sources
from exporter.prometheus import PrometheusApi
from exporter.rule_export import Profile, as_rules, profile_of
from exporter.schedule import wall_clock
from exporter.suggest.measure import STEP, read

__all__ = ["add_parser", "export"]

_ABOUT = """\
Reads the history of every query of a configuration, learns it as the daemon does, and writes recording and alert rules
with the band of every series at every hour of the week. They alert while no exporter judges the query.

  anomaly-exporter rules export --config.file=config.yaml --output=anomaly.rules.yml
  promtool check rules anomaly.rules.yml
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``rules``."""
    rules = subparsers.add_parser("rules", help="write what was learned as rules of Prometheus", allow_abbrev=False)
    actions = rules.add_subparsers(title="commands", metavar="export", required=True)
    parser = actions.add_parser(
        "export",
        help="write the bands of every hour of the week as recording and alert rules",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config.file", dest="config_file", metavar="FILE", type=Path, required=True, help="configuration file")
    add("--query", metavar="NAME", action="append", help="only this query; may be repeated (default: all)")
    add("--output", metavar="FILE", type=Path, help="file to write; overwritten (default: standard output)")
    add("--always", action="store_true", help="alert also while an exporter judges the query")
    parser.set_defaults(run=export)


def export(args: argparse.Namespace, *, clock: Callable[[], float] = wall_clock) -> int:
    """Write the rules; returns the exit code."""
    return exit_code(partial(_export, args, clock()))


def _export(args: argparse.Namespace, now: float) -> int:
    config = load(args.config_file).config
    plans = {plan.name: plan for plan in config.plans()}
    if missing := [name for name in args.query or () if name not in plans]:
        names = ", ".join(sorted(plans))
        return complain([f"--query: there is no query {name!r}; there are: {names}" for name in missing], USAGE)
    end = math.floor(now / STEP) * STEP
    profiles: list[Profile] = []
    code = GOOD
    with closing(Sources(config.servers, PrometheusApi)) as sources:
        for name in args.query or plans:
            try:
                result = _profile(sources.apis[plans[name].source], plans[name], end)
            except PrometheusError as error:
                result = f"{error.url}: {error.message}"
            if isinstance(result, str):
                code = complain([f"{name}: {result}"], BAD)
            else:
                profiles.append(result)
    if not profiles:
        return complain(["no rules: nothing is known of any query"], BAD)
    text = as_rules(profiles, always=args.always)
    if args.output is None:
        sys.stdout.write(text)
        return code
    try:
        args.output.write_text(text, encoding="utf-8")
    except OSError as error:
        return complain([f"{args.output}: {error.strerror}"], USAGE)
    return code


def _profile(api: PrometheusApi, plan: QueryPlan, end: float) -> Profile | str:
    """Return the profile of a query, or why there is none."""
    history = read(api, plan, end, now=end)
    if history.trouble:
        return history.trouble
    labels = [json.loads(key) for key in history.keys]
    if any("query" in each for each in labels):
        return "its series have a label `query`, which the rules need; take another name with label_replace()"
    for each in labels:
        each.pop("__name__", None)
    if len({json.dumps(each, sort_keys=True) for each in labels}) < len(labels):
        return "its series differ in their name alone, which rules drop"
    profile = profile_of(plan, labels, history.values, end=end, step=STEP)
    return "there is less than three days of history" if profile is None else profile
